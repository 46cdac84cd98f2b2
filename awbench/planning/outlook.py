"""What would decide a claim, and with which probability, simulated by the rules that judge it."""

from __future__ import annotations

from awbench.planning.deviations import deviations_of
from awbench.planning.outcomes import POWER, outcome, question_of_claim
from awbench.reference.load import References
from awbench.text import shown_probability
from awbench.verdicts.claims import JudgedClaim


def outlook(judged: JudgedClaim, references: References) -> str:
    """E.g. "6 runs of each network: a true claim is answered by then with 93% probability (deviation 0.10)".

    That is the first look by which an answer is likely (80 %), else the last. The deviation is that of the study's own
    runs, else the median of published ones. "" where no study is about it.
    """
    if judged.study is None:
        return ""
    if judged.size != "undecided":
        return "answered"
    going = [pair for pair in judged.comparisons if pair.going]
    if judged.claim.relation != "up_to" and all(pair.decided for pair in judged.comparisons):
        return "nothing: its pairs are answered, and not alike"
    if not going:
        return "no look is left: a new study, with more runs"
    question = question_of_claim(judged)
    last = question.design.looks[-1]
    found = deviations_of(judged.study.evidence, references, {})
    if found is None:
        return f"at most {last} runs of each network, its last look: nothing says how far runs lie apart"
    # The claim as a whole was looked at as often as the least of its pairs that go on.
    expected = outcome(question, "true", found.middle, min(pair.look for pair in going))
    deviation = f"deviation {found.middle:.2f}"
    if expected.surprising:
        return (
            f"at most {last} runs of each network, its last look: a true claim would be answered by now ({deviation})"
        )
    likely = (look for look in expected.looks if expected.answered_by(look) >= POWER)
    runs = next(likely, last)
    return (
        f"{runs} runs of each network{', the last look' if runs == last else ''}: a true claim is answered by then "
        f"with {shown_probability(expected.answered_by(runs))} probability ({deviation})"
    )
