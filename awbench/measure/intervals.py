"""Distribution-free confidence intervals for times, which are skewed and have outliers."""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Interval:
    """An estimate and its two-sided confidence interval; low and high are infinite where the values are too few."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """high - low, as a fraction of the value."""
        return (self.high - self.low) / self.value


def median_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The median, and an interval between two order statistics (Conover, Practical Nonparametric Statistics, 3.2).

    Args:
        values: independent draws of any one distribution.
        level: the interval covers the true median at least this often.
    """
    ordered = sorted(values)
    rank = _rank_below_median(len(ordered), level)
    median = statistics.median(ordered)
    if rank is None:
        return Interval(median, -math.inf, math.inf)
    return Interval(median, ordered[rank], ordered[-1 - rank])


@functools.cache
def _rank_below_median(count: int, level: float) -> int | None:
    """The largest r with P(Binomial(count, 1/2) <= r) <= (1 - level) / 2, or None."""
    from scipy.stats import binom

    rank = int(binom.ppf((1 - level) / 2, count, 0.5)) - 1
    return rank if rank >= 0 else None


def signed_rank_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The Hodges-Lehmann estimate, and the interval that Wilcoxon's signed-rank test gives, exactly.

    The middle of all pairwise means: as robust as the median to a few disturbed values and, on undisturbed
    ones, nearly as narrow as Student's t (Hodges and Lehmann, Ann. Math. Statist. 34, 1963).

    Args:
        values: independent draws of distributions that are symmetric around one centre.
        level: the interval covers the centre at least this often.
    """
    means = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    rank = _signed_rank(len(values), level)
    centre = statistics.median(means)
    if rank is None:
        return Interval(centre, -math.inf, math.inf)
    return Interval(centre, means[rank], means[-1 - rank])


@functools.cache
def _signed_rank(count: int, level: float) -> int | None:
    """The largest r with P(W <= r) <= (1 - level) / 2 for the signed-rank statistic W of `count` values, or None."""
    patterns = [1]  # patterns[w]: how many of the 2^count sign patterns have the rank sum w
    for rank in range(1, count + 1):
        zeros = [0] * rank
        patterns = [a + b for a, b in zip(patterns + zeros, zeros + patterns, strict=True)]
    limit = Fraction((1 - level) / 2) * 2**count
    found = bisect.bisect_right(list(itertools.accumulate(patterns)), limit) - 1
    return found if found >= 0 else None
