"""What would decide a claim, and with which probability, simulated by the rules that judge it."""

from __future__ import annotations

from awbench.planning.deviations import deviations_of
from awbench.planning.outcomes import outcome, question_of_claim
from awbench.reference.load import References
from awbench.text import shown_probability
from awbench.verdicts.claims import JudgedClaim


def outlook(judged: JudgedClaim, references: References) -> str:
    """E.g. "5 runs of each; a true claim is answered by then with 98%, by the last look with >99% (deviation 0.10)".

    The deviation is that of the study's own runs, else the median of published ones. "" where no study is about it.
    """
    if judged.study is None:
        return ""
    if judged.size != "undecided":
        return "answered"
    coming = [pair.next_look for pair in judged.comparisons if pair.next_look is not None]
    if not coming:
        return "no look is left: a new study, with more runs"
    found = deviations_of(judged.study.evidence, references, {})
    if found is None:
        return f"{min(coming)} runs of each"
    # The claim as a whole was looked at as often as its least pair.
    expected = outcome(question_of_claim(judged), "true", found.middle, min(pair.look for pair in judged.comparisons))
    if expected.surprising:
        return f"{min(coming)} runs of each; a true claim would be answered by now (deviation {found.middle:.2f})"
    soon, late = map(shown_probability, (expected.answered_by(min(coming)), expected.answered[-1]))
    return (
        f"{min(coming)} runs of each; a true claim is answered by then with {soon}, "
        f"by the last look with {late} (deviation {found.middle:.2f})"
    )
