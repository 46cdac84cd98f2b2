"""Statistics of runs that differ by their seeds."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95  # of intervals, where nobody asks for another


@dataclass(frozen=True)
class Difference:
    """Mean difference of two groups of runs, with a confidence interval; the interval is nan below two runs each."""

    value: float
    low: float
    high: float
    level: float


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (nan for one value)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def welch_difference(treated: Sequence[float], baseline: Sequence[float], level: float = 0.95) -> Difference:
    """mean(treated) - mean(baseline), by Welch's t for unequal variances (Biometrika 34, 1947).

    Args:
        treated, baseline: one value a run.
        level: of the two-sided interval.
    """
    value = statistics.fmean(treated) - statistics.fmean(baseline)
    if min(len(treated), len(baseline)) < 2:
        return Difference(value, math.nan, math.nan, level)
    if len(set(treated)) == len(set(baseline)) == 1:  # no deviation at all: Welch's t is undefined
        return Difference(value, value, value, level)
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one group may have no deviation at all
        interval = ttest_ind(treated, baseline, equal_var=False).confidence_interval(level)
    return Difference(value, float(interval.low), float(interval.high), level)


def student_t(probability: float, freedom: int) -> float:
    """The quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(probability, freedom))
