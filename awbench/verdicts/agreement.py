"""Whether a measured accuracy or AP agrees with the published one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from awbench.reference.load import ReferenceNumber
from awbench.reference.source import Scatter
from awbench.verdicts.evidence import Measured

# Of the same weights evaluated elsewhere. Chosen: 25 of ImageNet's 50,000 images, which decoders and rounding may move.
_EVALUATION_TOLERANCE = {"percent": 0.05}
_LEVEL = 0.95


@dataclass(frozen=True)
class Agreement:
    """Attributes: status, and why, in words."""

    status: Literal["agrees", "differs", "undecided"]
    words: str


def judge(number: ReferenceNumber, measured: Measured, scatter: Sequence[Scatter]) -> Agreement:
    """Hold what was measured to what was published.

    Published weights evaluated here must give the published number within a tolerance. Of trainings, the published
    one is taken for one more draw from their distribution: it agrees if it lies in their prediction interval at 95 %,
    mean +- t * s * sqrt(1 + 1/n), with s from the runs where there are three or more, else from the references' reruns.
    Better than that differs too: too good is suspect.
    """
    difference = statistics.fmean(measured.values) - float(number.value)
    if measured.origin == "weights":
        tolerance = _tolerance(number, scatter)
        if tolerance is None:
            return Agreement("undecided", f"{difference:+.3f}; no tolerance is known for {number.metric}")
        return _agreement(difference, tolerance, number.unit, "the same weights")
    spread = _spread(number, measured, scatter)
    count = len(measured.values)
    if spread is None:
        words = f"{difference:+.3f}; the run-to-run spread is unknown: needs {3 - count} more run(s)"
        return Agreement("undecided", words)
    from scipy.stats import t

    deviation, freedom, origin = spread
    margin = float(t.ppf((1 + _LEVEL) / 2, freedom)) * deviation * math.sqrt(1 + 1 / count)
    return _agreement(difference, margin, number.unit, f"{count} run(s), spread {deviation:.3f} of {origin}")


def _agreement(difference: float, margin: float, unit: str, of: str) -> Agreement:
    inside = abs(difference) <= margin + 1e-9
    suspect = " (better than published: suspect)" if not inside and difference > 0 else ""
    words = (
        f"{difference:+.3f} {unit}, within +-{margin:.3f}"
        if inside
        else f"{difference:+.3f} {unit}, allowed +-{margin:.3f}"
    )
    return Agreement("agrees" if inside else "differs", f"{words}; {of}{suspect}")


def _tolerance(number: ReferenceNumber, scatter: Sequence[Scatter]) -> float | None:
    """The narrowest that a source states for evaluations of the metric, else ours."""
    stated = [float(s.tolerance) for s in scatter if s.metric == number.metric and s.of == "evaluation" and s.tolerance]
    return min(stated, default=_EVALUATION_TOLERANCE.get(number.unit))


def _spread(number: ReferenceNumber, measured: Measured, scatter: Sequence[Scatter]) -> tuple[float, int, str] | None:
    """(standard deviation of runs, its degrees of freedom, whose), or None."""
    if len(measured.values) >= 3:
        return statistics.stdev(measured.values), len(measured.values) - 1, "these runs"
    for known in scatter:
        if known.metric == number.metric.removesuffix("_error") and len(known.reruns) >= 3:
            reruns = [float(value) for value in known.reruns]
            return statistics.stdev(reruns), len(reruns) - 1, f"{known.what}"
    return None
