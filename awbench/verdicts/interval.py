"""The interval of a gain between two networks that were trained several times each.

With x_i the runs of the network and y_j those of its baseline, the gain is mean(x) - mean(y), and its interval at level
1 - a is

    gain +- t(1 - a/2, f) * SE,

by one of two rules.

*Pooled*, where a study has other networks and the runs of this pair deviate less than theirs: SE^2 = s^2 (1/n + 1/m),
with s^2 the pooled variance within all networks of the study and f its degrees of freedom, the sum of (runs - 1). Six
networks with three runs each have 12 degrees of freedom in place of 2.

*Own*, otherwise: SE^2 = s_x^2/n + s_y^2/m (Welch, Biometrika 34, 1947) with f = min(n, m) - 1, which is at most what
any ratio of the two variances gives (Hsu 1938, Satterthwaite 1946), so the error is never above a.

Whether the pair deviates more is an F test of its variance against the others', at a level so high (POOL_ABOVE) that
the pooled rule is left at a slight sign of it. `docs/verdicts.md` has the error rates of the whole rule, simulated.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# Chosen by simulation: with it wrong answers over all looks stay at the stated level where one network of six
# deviates three times as much as the others.
POOL_ABOVE = 0.6
FEWEST_TO_POOL = 3  # runs of each network
_TINY = 1e-100  # in place of a variance of 0, to divide by


@dataclass(frozen=True)
class Interval:
    """A gain with its interval.

    Attributes:
        value, low, high: in the metric's unit.
        level: of this interval alone.
        deviation: standard deviation between runs of one network that it rests on.
        freedom: degrees of freedom of the deviation.
        pooled: whether other networks of the study are in it.
        floored: whether the deviation is below the metric's resolution, which is taken instead.
    """

    value: float
    low: float
    high: float
    level: float
    deviation: float
    freedom: float
    pooled: bool
    floored: bool = False

    @property
    def mirrored(self) -> Interval:
        """That of the baseline over the network."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)


def runs_to_pool(looks: Sequence[int]) -> int:
    """How many runs of each other network say how far runs deviate, of a comparison with these looks.

    Those of the first look, at every look: so an answer does not change while other networks go on.
    """
    return max(looks[0], FEWEST_TO_POOL)


def gain_interval(
    treated: Sequence[float],
    baseline: Sequence[float],
    others: Sequence[Sequence[float]] = (),
    level: float = 0.95,
    resolution: float = 0.0,
) -> Interval | None:
    """The interval of mean(treated) - mean(baseline); None below two runs of each, where nothing is known of it.

    Args:
        treated, baseline: one value a run.
        others: the runs of the study's other networks; those with fewer than three runs say nothing.
        level: of the interval.
        resolution: smallest step of the metric: the deviation is never taken to be less.
    """
    n, m = len(treated), len(baseline)
    if min(n, m) < 2:
        return None
    counted = [side for side in others if len(side) >= FEWEST_TO_POOL]
    freedom = sum(len(side) - 1 for side in counted)
    # Exactly rounded: of equal values the variance is 0, not how their mean rounds.
    squares = sum(statistics.variance(side) * (len(side) - 1) for side in counted)
    variances = statistics.variance(treated), statistics.variance(baseline)
    reach, deviation, used, pooled, floored = half_width(
        n, m, *variances, squares / freedom if freedom else 0.0, freedom, level, resolution
    )
    value = float(np.mean(treated) - np.mean(baseline))
    reach = float(reach)
    return Interval(
        value, value - reach, value + reach, level, float(deviation), float(used), bool(pooled), bool(floored)
    )


def half_width(
    n: int, m: int, var_x: Any, var_y: Any, var_others: Any, freedom_others: int, level: float, resolution: float = 0.0
) -> tuple[Any, Any, Any, Any, Any]:
    """Half the interval's width, for one pair or, with arrays of sample variances, for many simulated ones.

    Args:
        n, m: runs of the two networks.
        var_x, var_y: their sample variances.
        var_others, freedom_others: pooled variance of the study's other networks, and its degrees of freedom.

    Returns:
        (half the width, the deviation between runs, its degrees of freedom, whether pooled, whether floored).
    """
    from scipy.special import fdtrc, stdtrit

    var_x, var_y = np.asarray(var_x, float), np.asarray(var_y, float)
    freedom_pair = n + m - 2
    var_pair = ((n - 1) * var_x + (m - 1) * var_y) / freedom_pair
    own_freedom = min(n, m) - 1
    if freedom_others and min(n, m) >= FEWEST_TO_POOL:
        ratio = var_pair / np.maximum(var_others, _TINY)
        pooled = fdtrc(freedom_pair, freedom_others, ratio) >= POOL_ABOVE
        var_all = (freedom_pair * var_pair + freedom_others * var_others) / (freedom_pair + freedom_others)
    else:
        pooled, var_all = np.zeros(var_pair.shape, bool), var_pair
    square = np.where(pooled, var_all * (1 / n + 1 / m), var_x / n + var_y / m)
    freedom = np.where(pooled, freedom_pair + freedom_others, own_freedom)
    deviation = np.sqrt(square / (1 / n + 1 / m))
    floored = deviation < resolution
    deviation = np.maximum(deviation, resolution)
    middle = (1 + level) / 2
    critical = np.where(pooled, stdtrit(freedom_pair + freedom_others, middle), stdtrit(own_freedom, middle))
    return critical * deviation * np.sqrt(1 / n + 1 / m), deviation, freedom, pooled, floored


def simultaneous(level: float, intervals: int) -> float:
    """The level of each of several intervals that shall all hold together (Bonferroni)."""
    return 1 - (1 - level) / max(1, intervals)
