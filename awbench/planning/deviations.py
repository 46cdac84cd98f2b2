"""How far runs lie apart that a study has still to make, and how well that is known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from awbench.reference.load import References
from awbench.reference.run_to_run import run_to_run
from awbench.verdicts.evidence import Evidence
from awbench.verdicts.runs import values_of

# Of own runs, what low and high enclose with this probability.
_CONFIDENCE = 0.8


@dataclass(frozen=True)
class Deviations:
    """The standard deviation between runs of one network, in the metric's unit. Attributes: origin, in words."""

    low: float
    middle: float
    high: float
    origin: str

    @property
    def values(self) -> dict[str, float]:
        """By its level; one alone where all are the same."""
        if self.low == self.high:
            return {"middle": self.middle}
        return {"low": self.low, "middle": self.middle, "high": self.high}


def deviations_of(evidence: Evidence, references: References, given: Mapping[str, float]) -> Deviations | None:
    """What is given, else between the study's own runs, else between runs of others; None where nobody says.

    Args:
        given: metric -> standard deviation.
    """
    study = evidence.study
    if study.metric in given:
        value = given[study.metric]
        return Deviations(value, value, value, "given with --deviation")
    return _own(evidence) or _published(references, study.dataset, study.metric)


def _own(evidence: Evidence) -> Deviations | None:
    """Pooled within the networks of the study; between the ends of the chi-squared interval."""
    metric = evidence.study.metric
    sides = [values_of(runs, metric) for runs in evidence.runs.values() if len(runs) > 1]
    freedom = sum(len(side) - 1 for side in sides)
    if not freedom:
        return None
    from scipy.special import chdtri

    variance = sum(statistics.variance(side) * (len(side) - 1) for side in sides) / freedom
    middle = max(math.sqrt(variance), evidence.study.facts.resolution)
    low, high = (middle * math.sqrt(freedom / chdtri(freedom, (1 - end * _CONFIDENCE) / 2)) for end in (1, -1))
    runs = sum(map(len, sides))
    return Deviations(
        float(low), middle, float(high),
        f"{runs} runs of this study, {freedom} degrees of freedom; low and high are its {_CONFIDENCE:.0%} interval",
    )  # fmt: skip


def _published(references: References, dataset: str, metric: str) -> Deviations | None:
    """Of published trainings that were repeated: the smallest, the median and the largest.

    Three reruns count too little to be here: torchvision's three, 0.26 apart, all lie below the published value and so
    are of another recipe.
    """
    found = run_to_run(references.run_to_run, dataset, metric)
    rows = [row.deviation for row in found if row.runs is not None and row.runs > 3]
    if not rows:
        return None
    origin = f"{len(rows)} published recipes, each run 4 times or more: the smallest, the median, the largest"
    return Deviations(min(rows), statistics.median(rows), max(rows), origin)
