"""Claims, each judged by the study that is about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from awbench.records import Records
from awbench.reference.load import References
from awbench.reference.source import Claim, Source
from awbench.studies import Study, load_studies
from awbench.verdicts.answers import Gain, Size
from awbench.verdicts.interval import Interval
from awbench.verdicts.study import JudgedComparison, JudgedStudy, answer_claim, judge_study


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, and the comparisons of the study that answers it.

    Attributes:
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

    @property
    def looked_at(self) -> bool:
        """Whether any comparison had its first look."""
        return any(pair.look for pair in self.comparisons)


def judge_claims(records: Records, references: References, studies: Sequence[Study] | None = None) -> list[JudgedClaim]:
    """Every claim of the references, by the study that is about it.

    Of several the first in the order of `studies` answers it that had a look, before any look the first; which one that
    is never depends on what was measured. The others are listed.

    Args:
        studies: None for the project's own.
    """
    studies = load_studies() if studies is None else studies
    claims = [claim for _, claim in references.claims]
    judged = [judge_study(study, records, claims) for study in studies]
    return [_judge_claim(source, claim, judged) for source, claim in references.claims]


def _judge_claim(source: Source, claim: Claim, studies: Iterable[JudgedStudy]) -> JudgedClaim:
    found = []
    for study in studies:
        comparisons = tuple(pair for pair in study.comparisons if pair.comparison.claim == claim.id)
        if comparisons:
            interval, gain, size = answer_claim(claim, comparisons, study.study.matters)
            found.append(JudgedClaim(source, claim, study, comparisons, interval, gain, size))
    if not found:
        return JudgedClaim(source, claim, None, (), None, "undecided", "undecided")
    first, *others = sorted(found, key=lambda answer: not answer.looked_at)
    return replace(first, others=tuple(others))
