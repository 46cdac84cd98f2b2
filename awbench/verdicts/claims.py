"""Claims, each judged by the study that is about it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from awbench.records import Records
from awbench.reference.load import References
from awbench.reference.source import Claim, Source
from awbench.studies import Study, load_studies
from awbench.verdicts.answers import Gain, Size
from awbench.verdicts.interval import Interval
from awbench.verdicts.runs import first_to_last
from awbench.verdicts.study import JudgedComparison, JudgedStudy, answer_claim, as_decided, judge_study


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, and the comparisons of the study that answers it.

    Attributes:
        claim: as the study has it, where one answers it.
        study: None where no study of those at hand is about it.
        interval: of the gain; of "up to" claims, of the largest gain over the pairs; None before the first look of any.
        gain, size: the answers.
        others: the answers of further studies about it, which change nothing of this one.
    """

    source: Source
    claim: Claim
    study: JudgedStudy | None
    comparisons: tuple[JudgedComparison, ...]
    interval: Interval | None
    gain: Gain
    size: Size
    others: tuple[JudgedClaim, ...] = ()

    @property
    def provenance(self) -> str:
        """How well the claim itself is known."""
        return self.claim.provenance or self.source.provenance or "unknown"

    @property
    def url(self) -> str:
        return self.claim.url or self.source.url

    def first_look(self, recorded: Mapping[int, int]) -> float:
        """When a comparison first had one, as the number of the run that it waited for; inf for none.

        Args:
            recorded: id of a record -> its number, in the order in which they were recorded.
        """
        looks = (
            max(recorded[id(run)] for side in (pair.treated, pair.baseline) for run in side[: pair.looks[0]])
            for pair in self.comparisons
            if pair.look
        )
        return min(looks, default=math.inf)


def judge_claims(records: Records, references: References, studies: Sequence[Study] | None = None) -> list[JudgedClaim]:
    """Every claim of the references, by the study that is about it.

    Of several the one answers it that had a look first, by the order in which runs were recorded, but the project's own
    before others; before any look the first. Which one that is never depends on what was measured. The others are
    listed.

    Args:
        studies: None for the project's own.
    """
    studies = load_studies() if studies is None else studies
    claims = [claim for _, claim in references.claims]
    judged = [judge_study(study, records, claims) for study in studies]
    kinds = {study.kind for study in studies}
    recorded = {id(run): number for kind in kinds for number, run in enumerate(first_to_last(records.of_kind(kind)))}
    return [_judge_claim(source, claim, judged, recorded) for source, claim in references.claims]


def _judge_claim(
    source: Source, claim: Claim, studies: Iterable[JudgedStudy], recorded: Mapping[int, int]
) -> JudgedClaim:
    found = []
    for study in studies:
        comparisons = tuple(pair for pair in study.comparisons if pair.comparison.claim == claim.id)
        if comparisons:
            decided = as_decided(study.study, claim)
            interval, gain, size = answer_claim(decided, comparisons, study.study.matters)
            found.append(JudgedClaim(source, decided, study, comparisons, interval, gain, size))
    if not found:
        return JudgedClaim(source, claim, None, (), None, "undecided", "undecided")

    def precedence(answer: JudgedClaim) -> tuple[bool, bool, float]:
        assert answer.study is not None
        first_look = answer.first_look(recorded)
        return math.isinf(first_look), not answer.study.study.is_of_the_project, first_look

    first, *others = sorted(found, key=precedence)
    return replace(first, others=tuple(others))
