"""A study judged: each comparison at its latest look, and each claim that comparisons answer.

All intervals of a question hold together at the level of the study: those of every look (`awbench.verdicts.looks`) and
of every pair that the question speaks of (Bonferroni). Whichever look an answer is taken from, it is wrong with at most
that probability, so a study may end as soon as it is answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from awbench.errors import UserError
from awbench.records import Record, Records
from awbench.records.settings import IMPORTED
from awbench.reference.source import Claim
from awbench.studies import GIVEN, Comparison, Study
from awbench.verdicts.answers import (
    Claimed,
    Gain,
    Size,
    answer_gain,
    answer_size,
    interval_of_maximum,
    is_compatible,
)
from awbench.verdicts.evidence import Evidence, gather_evidence
from awbench.verdicts.interval import Interval, gain_interval, runs_to_pool, simultaneous
from awbench.verdicts.looks import look_levels
from awbench.verdicts.runs import values_of

USUAL_LEVEL = 0.95


@dataclass(frozen=True)
class Look:
    """A comparison at a number of runs of both networks.

    Attributes:
        runs: of each; 0 before the first look.
        interval: None before the first look, and for single runs.
        alone: the same, not corrected for the other pairs of the question.
        gain, size: the answers; size is "undecided" without a claim.
    """

    runs: int = 0
    interval: Interval | None = None
    alone: Interval | None = None
    gain: Gain = "undecided"
    size: Size = "undecided"


@dataclass(frozen=True)
class JudgedComparison:
    """One network over another at the latest look that both have the runs for.

    Attributes:
        treated, baseline: the runs of that look, one a seed; before the first look all that there are.
        waiting: how many further runs of the two wait for the next look.
        looks: at so many runs of each network there is one.
        taken: the looks so far, each with the runs that it had.
        claimed: the claim's gain, None for a question of the study's own.
        about_claim: what is to be said of where the claim's gain was taken from; "" where that is no question.
    """

    study: Study
    comparison: Comparison
    treated: tuple[Record, ...]
    baseline: tuple[Record, ...]
    waiting: tuple[int, int]
    looks: tuple[int, ...]
    taken: tuple[Look, ...]
    claimed: Claimed | None
    about_claim: str = ""

    @property
    def look(self) -> int:
        """The number of the latest look, from 1; 0 before the first."""
        return len(self.taken)

    @property
    def latest(self) -> Look:
        """The latest look; before the first one that answers nothing."""
        return self.taken[-1] if self.taken else Look()

    @property
    def interval(self) -> Interval | None:
        return self.latest.interval

    @property
    def alone(self) -> Interval | None:
        return self.latest.alone

    @property
    def gain(self) -> Gain:
        return self.latest.gain

    @property
    def size(self) -> Size:
        return self.latest.size

    @property
    def decided(self) -> bool:
        """Whether more runs could not change what the study is about."""
        return (self.size if self.claimed else self.gain) != "undecided"

    @property
    def next_look(self) -> int | None:
        """Runs of each network at the next look; None after the last."""
        return self.looks[self.look] if self.look < len(self.looks) else None

    @property
    def going(self) -> bool:
        """Whether it gets further runs as long as its question is not answered."""
        return not self.decided and self.next_look is not None

    @property
    def compatible(self) -> bool | None:
        """Whether the publication, as one run of each, may well say what it says; None where that is not known."""
        if self.interval is None or self.claimed is None:
            return None
        return is_compatible(self.interval, (len(self.treated), len(self.baseline)), self.claimed.value)

    @property
    def caveats(self) -> list[str]:
        """What the answers rest on beyond the runs, in sentences."""
        found = []
        if self.study.backbones == GIVEN:
            found.append(
                "All runs start from given backbones: the run-to-run deviation of pre-training is not in the interval, "
                "so this is about these backbones alone."
            )
        if self.study.level < USUAL_LEVEL:
            found.append(f"The study's level is {self.study.level:.0%}, below the usual {USUAL_LEVEL:.0%}.")
        if self.about_claim:
            found.append(self.about_claim)
        if self.study.purpose == "confirmatory":
            for name in sorted({run.study[0] for run in self.baseline} - {self.study.name, ""}):
                found.append(
                    f"Runs of {self.comparison.over} were made for study {name}, maybe before this one was decided."
                )
        imported = [run for side in (self.treated, self.baseline) for run in side if run.kind == IMPORTED]
        for source in dict.fromkeys(run.settings.json_object["source"] for run in imported):
            found.append(f"Runs from {source} were imported: how they were made is only stated.")
        processors = [[_processor(run) for run in side] for side in (self.treated, self.baseline)]
        if self.interval and not imported and processors[0] != processors[1]:
            of_treated, of_baseline = (" and ".join(sorted(set(side))) for side in processors)
            found.append(
                f"The runs with the change were made on {of_treated}, those without it on {of_baseline}, "
                "not seed by seed on the same: how processors round is then part of the gain."
            )
        if self.interval and self.interval.floored:
            found.append("The run-to-run deviation is below the metric's resolution, which is taken instead.")
        return found


def _processor(run: Record) -> str:
    """The model that trained it; of a GPU's run the processor computes nothing, and all GPUs of a study are alike."""
    on_cpu = run.environment.get("training_device") == "cpu"
    return str(run.environment.get("cpu") or "an unknown processor") if on_cpu else "a GPU"


@dataclass(frozen=True)
class JudgedStudy:
    """A study with its evidence and its comparisons. Attributes: answered, ids of the claims that are."""

    study: Study
    evidence: Evidence
    comparisons: tuple[JudgedComparison, ...]
    answered: frozenset[str]

    def runs_of(self, label: str) -> tuple[Record, ...]:
        """The runs of a network that were judged; of one that is only compared with, those of its first comparison."""
        for pair in self.comparisons:
            if label == pair.comparison.variant:
                return pair.treated
            if label == pair.comparison.over:
                return pair.baseline
        return ()

    @property
    def open(self) -> list[JudgedComparison]:
        """Comparisons whose question is not answered and that have a look to come; of a smoke test all that have one.

        The question of a pair that a claim is about is the claim: once that is answered, no run is made for the pair.
        """
        smoke = self.study.purpose == "smoke test"
        coming = [pair for pair in self.comparisons if pair.next_look is not None]
        return [pair for pair in coming if smoke or not self.is_answered(pair)]

    def is_answered(self, pair: JudgedComparison) -> bool:
        """By itself, or with the claim that it is about."""
        return pair.decided or pair.comparison.claim in self.answered


def judge_study(study: Study, records: Records, claims: Iterable[Claim] = ()) -> JudgedStudy:
    """Judge every comparison of a study.

    Args:
        claims: those that its comparisons may name.

    Raises:
        UserError: a comparison names a claim that is about another dataset, metric or pair, or its comparisons are not
            those that a claim names, each once.
    """
    _require_whole_claims(study, claims := list(claims))
    evidence = gather_evidence(study, records)
    known = {claim.id: as_decided(study, claim) for claim in claims}
    about = {claim.id: _about_claim(study, claim) for claim in claims}
    judged = tuple(
        replace(_judge(study, comparison, evidence, known), about_claim=about.get(comparison.claim, ""))
        for comparison in study.comparisons
    )
    of_claims = {
        id: [pair for pair in judged if pair.comparison.claim == id]
        for id in {pair.comparison.claim for pair in judged} & known.keys()
    }
    sizes = {id: answer_claim(known[id], pairs, study.matters)[2] for id, pairs in of_claims.items()}
    return JudgedStudy(study, evidence, judged, frozenset(id for id, size in sizes.items() if size != "undecided"))


def as_decided(study: Study, claim: Claim) -> Claim:
    """The claim as a study's file has it, whatever its own file says now."""
    decided = study.claims.get(claim.id)
    if decided is None or (claimed_gain(claim), claim.relation) == (
        Claimed(decided.delta, decided.margin), decided.relation,
    ):  # fmt: skip
        return claim
    delta, margin = (Decimal(str(value)) for value in (decided.delta, decided.margin))
    return claim.model_copy(update={"delta": delta, "margin": margin, "relation": decided.relation})


def _about_claim(study: Study, claim: Claim) -> str:
    decided, now = ((claimed_gain(each), each.relation.replace("_", " ")) for each in (as_decided(study, claim), claim))
    if study.claims.get(claim.id) is None:
        return f"What claim {claim.id} says is not in the study's file: a change of it since is not seen."
    if decided == now:
        return ""
    texts = [f"{gain.value:+g} within {gain.margin:g} ({relation})" for gain, relation in (decided, now)]
    return (
        f"Claim {claim.id} was {texts[0]} when the study was decided, and is judged as that; its file says {texts[1]}."
    )


def claimed_gain(claim: Claim) -> Claimed:
    """How far from the claimed gain still counts as it: as the claim's file says, else half the gain (chosen)."""
    margin = claim.margin if claim.margin is not None else abs(claim.delta) / 2
    return Claimed(float(claim.delta), float(margin))


def answer_claim(
    claim: Claim, comparisons: Sequence[JudgedComparison], matters: float | None
) -> tuple[Interval | None, Gain, Size]:
    """Of a claim that speaks of several pairs: "equal" of each, "up to" of the largest gain, or of the largest loss."""
    intervals = [pair.interval for pair in comparisons if pair.interval]
    if not intervals:
        return None, "undecided", "undecided"
    if len(comparisons) == 1:
        return intervals[0], comparisons[0].gain, comparisons[0].size
    if len(intervals) < len(comparisons):
        return None, "undecided", "undecided"
    if claim.relation == "up_to":
        alone, loss = [pair.alone for pair in comparisons if pair.alone], claim.delta < 0
        if loss:
            intervals, alone = ([each.mirrored for each in side] for side in (intervals, alone))
        largest = interval_of_maximum(intervals, alone)
        largest = largest.mirrored if loss else largest
        return largest, answer_gain(largest, matters), answer_size(largest, claimed_gain(claim))
    gains, sizes = {pair.gain for pair in comparisons}, {pair.size for pair in comparisons}
    return (
        None,
        gains.pop() if len(gains) == 1 else "undecided",
        sizes.pop() if len(sizes) == 1 else "undecided",
    )


def _require_whole_claims(study: Study, claims: Iterable[Claim]) -> None:
    """A claim is about all its pairs, and about the largest gain among them or each, of one depth."""
    for claim in claims:
        compared = [pair for pair in study.comparisons if pair.claim == claim.id]
        pairs = [claim.pair_of(study.variant_of(pair.variant), study.variant_of(pair.over)) for pair in compared]
        for pair in claim.pairs if compared and None not in pairs else ():
            if pairs.count(pair) != 1:
                raise UserError(
                    f"study {study.name}: {pairs.count(pair) or 'no'} comparisons are {' over '.join(pair)} of claim "
                    f"{claim.id}; give one of each of its pairs: {', '.join(map(' over '.join, claim.pairs))}"
                )


def _claimed(study: Study, comparison: Comparison, claim: Claim | None) -> Claimed | None:
    """The gain that a comparison is held to; None where its claim is not among those at hand."""
    if claim is None:
        return None
    what, about = (study.dataset, study.metric), (claim.dataset_name, claim.metric)
    named = claim.pair_of(study.variant_of(comparison.variant), study.variant_of(comparison.over))
    if what != about or named is None:
        pair = f"{comparison.variant} over {comparison.over}, {study.metric} on {study.dataset}"
        raise UserError(
            f"study {study.name}: {pair}, is not what claim {claim.id} is about: {claim.variant} over {claim.over}, "
            f"{claim.metric} on {claim.dataset_name}; leave out 'claim', or compare what it names"
        )
    treated, baseline = (study.described_options[label] for label in (comparison.variant, comparison.over))
    if other := [name for name in treated.keys() & baseline.keys() if treated[name] != baseline[name]]:
        raise UserError(
            f"study {study.name}: {comparison.variant} and {comparison.over} have other {' and '.join(sorted(other))} "
            f"options, and claim {claim.id} is about what one has beside the other; give both the same"
        )
    return claimed_gain(claim)


def _judge(study: Study, comparison: Comparison, evidence: Evidence, claims: dict[str, Claim]) -> JudgedComparison:
    looks = study.looks_of(comparison)
    sides = [evidence.runs[label] for label in (comparison.variant, comparison.over)]
    look = sum(runs <= min(map(len, sides)) for runs in looks)
    # From the first look on no run beyond it is looked at, since the level counts looks. Before it nothing is answered.
    count = looks[look - 1] if look else None
    treated, baseline = (side[:count] for side in sides)
    waiting = (len(sides[0]) - len(treated), len(sides[1]) - len(baseline))
    claimed = _claimed(study, comparison, claims.get(comparison.claim))
    others = [
        values_of(runs[: runs_to_pool(looks)], study.metric)
        for label, runs in evidence.runs.items()
        if label not in (comparison.variant, comparison.over)
    ]

    def taken_at(number: int) -> Look:
        runs = looks[number - 1]
        x, y = (values_of(side[:runs], study.metric) for side in sides)
        interval, alone = (
            gain_interval(x, y, others, look_levels(level, looks)[number - 1], study.facts.resolution)
            for level in (simultaneous(study.level, pairs_of_question(study, comparison)), study.level)
        )
        gain = answer_gain(interval, study.matters) if interval else "undecided"
        return Look(
            runs, interval, alone, gain, answer_size(interval, claimed) if interval and claimed else "undecided"
        )

    taken = tuple(taken_at(number) for number in range(1, look + 1))
    return JudgedComparison(study, comparison, treated, baseline, waiting, looks, taken, claimed)


def pairs_of_question(study: Study, comparison: Comparison) -> int:
    """How many comparisons answer the same question, and are corrected for it.

    Those of one claim; of a study's own questions the primary ones, and the secondary ones; of a smoke test and of an
    exploration all.
    """
    if comparison.claim:
        return sum(pair.claim == comparison.claim for pair in study.comparisons)
    own = [pair for pair in study.comparisons if not pair.claim]
    return len(own) if study.purpose != "confirmatory" else sum(pair.role == comparison.role for pair in own)
