"""The level of each look of a study, such that the intervals of all its looks hold together.

The error a is spent over the looks (Lan and DeMets, Biometrika 70, 1983): by a look at n of at most N runs of each
network (n/N)^1.5 of it (Kim and DeMets, Biometrika 74, 1987), so that the early ones, where little is known of the
run-to-run deviation, take little and the last most. What a look may spend is the probability that its interval is the
first to miss. The gains of the looks belong to sums of ever more runs, whose increments are independent and normal, so
the sum that has not missed yet has a density that one look gives to the next (Armitage, McPherson and Rowe, J. R.
Stat. Soc. A 132, 1969). With an estimated deviation Student's t is taken at the same level (Pocock, Biometrika 64,
1977); docs/verdicts.md has what the rule comes to, simulated.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

_POWER = 1.5  # of the share of runs, chosen: with 1 the first looks take much, with 3 next to nothing
_NODES = 64  # of an integral, at least


@functools.cache
def look_levels(level: float, looks: tuple[int, ...]) -> tuple[float, ...]:
    """The level of each look's interval; of a single look the level itself.

    Args:
        level: probability that the intervals of all looks hold.
        looks: numbers of runs of each network, rising.
    """
    if len(looks) == 1:
        return (level,)
    from scipy.optimize import brentq
    from scipy.special import ndtr

    levels = []
    # The density of the sum at points, times the weight of each point in an integral; before the first run it is 0.
    points, mass, runs, spent = np.zeros(1), np.ones(1), 0, 0.0
    for look in looks:
        step = math.sqrt(look - runs)
        total = (1 - level) * (look / looks[-1]) ** _POWER

        bound = brentq(_excess, 0.0, 40 * math.sqrt(look), (points, mass, step, total - spent), xtol=1e-12)
        levels.append(1 - 2 * float(ndtr(-bound / math.sqrt(look))))
        nodes, weights = _nodes(_NODES * math.ceil(8 * bound / step / _NODES))
        arrived = np.exp(-(((bound * nodes[:, None] - points) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        points, mass = bound * nodes, (arrived @ mass) * bound * weights
        runs, spent = look, total
    return tuple(levels)


def _excess(bound: float, points: Any, mass: Any, step: float, allowed: float) -> float:
    """By how much the probability that the next sum lies beyond +-bound is above what is allowed."""
    from scipy.special import ndtr

    return float(mass @ (ndtr((points - bound) / step) + ndtr((-points - bound) / step))) - allowed


@functools.cache
def _nodes(count: int) -> tuple[Any, Any]:
    """Of Gauss and Legendre's integral from -1 to 1, with their weights."""
    return np.polynomial.legendre.leggauss(count)
