"""Whether a measured accuracy or AP agrees with the published one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from awbench.reference.load import ReferenceNumber
from awbench.reference.source import RunToRun
from awbench.verdicts.deviation import RunToRunDeviation, rerun_deviation
from awbench.verdicts.measured import Evidence
from awbench.verdicts.statistics import LEVEL, student_t

# Of the same weights evaluated elsewhere. Chosen: 25 of ImageNet's 50,000 images, which decoders and rounding may move.
_EVALUATION_TOLERANCE = {"percent": 0.05}
_OWN_DEVIATION = 3  # so many runs say themselves how far they lie apart


@dataclass(frozen=True)
class Agreement:
    """Attributes: status, and why, in words."""

    status: Literal["agrees", "differs", "undecided"]
    words: str


def judge(
    number: ReferenceNumber, evidence: Evidence, run_to_run: Sequence[RunToRun], level: float = LEVEL
) -> Agreement:
    """Hold what was measured to what was published.

    Published weights evaluated here must give the published number within a tolerance, which is at least half a unit of
    its last printed digit. Of trainings, the published one is taken for one more draw from their distribution: it
    agrees if it lies in their prediction interval, mean +- t * s * sqrt(1 + 1/n), with s from the runs where there are
    three or more, else from the references' reruns. Better than that differs too: too good is suspect.

    Args:
        level: of the prediction interval; of several numbers each gets a higher one, so that all hold together.
    """
    difference = statistics.fmean(evidence.values) - float(number.value)
    if evidence.origin == "weights":
        tolerance = _tolerance(number, run_to_run)
        if tolerance is None:
            return Agreement("undecided", f"{difference:+.3f}; no tolerance is known for {number.metric}")
        return _agreement(number, difference, max(tolerance, half_unit(number.value)), "the same weights")
    runs, deviation = len(evidence.values), _deviation(number, evidence, run_to_run)
    if deviation is None:
        missing = _OWN_DEVIATION - runs
        return Agreement(
            "undecided", f"{difference:+.3f}; the run-to-run spread is unknown: needs {missing} more run(s)"
        )
    margin = student_t((1 + level) / 2, deviation.freedom) * deviation.deviation * math.sqrt(1 + 1 / runs)
    basis = f"{runs} run(s), spread {deviation.deviation:.3f} of {deviation.origin}"
    return _agreement(number, difference, max(margin, half_unit(number.value)), basis)


def half_unit(value: Decimal) -> float:
    """Half a unit of the last printed digit: what rounding may have taken away."""
    return 0.5 * 10.0 ** int(value.as_tuple().exponent)


def _agreement(number: ReferenceNumber, difference: float, margin: float, basis: str) -> Agreement:
    inside = abs(difference) <= margin + 1e-9
    better = difference < 0 if number.metric.endswith("_error") else difference > 0
    suspect = " (better than published: suspect)" if not inside and better else ""
    words = f"{difference:+.3f} {number.unit}, {'within' if inside else 'allowed'} +-{margin:.3f}; {basis}{suspect}"
    return Agreement("agrees" if inside else "differs", words)


def _tolerance(number: ReferenceNumber, run_to_run: Sequence[RunToRun]) -> float | None:
    """The narrowest that a source states for evaluations of the metric, else ours."""
    stated = [
        float(entry.tolerance)
        for entry in run_to_run
        if entry.metric == number.metric and entry.of == "evaluation" and entry.tolerance
    ]
    return min(stated, default=_EVALUATION_TOLERANCE.get(number.unit))


def _deviation(number: ReferenceNumber, evidence: Evidence, run_to_run: Sequence[RunToRun]) -> RunToRunDeviation | None:
    """Of these runs where they are enough, else of the first source with as many reruns; None where unknown."""
    if len(evidence.values) >= _OWN_DEVIATION:
        return RunToRunDeviation(statistics.stdev(evidence.values), len(evidence.values) - 1, "these runs")
    metric = number.metric.removesuffix("_error")
    for entry in run_to_run:
        if entry.metric == metric and len(entry.reruns) >= _OWN_DEVIATION:
            return rerun_deviation(entry)
    return None
