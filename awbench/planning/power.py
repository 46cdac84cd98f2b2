"""How many runs it takes to reproduce a claim that is true, with a probability."""

from __future__ import annotations

import math

from awbench.verdicts.gain import MOST_RUNS
from awbench.verdicts.statistics import student_t


def runs_for_power(margin: float, deviation: float, power: float = 0.8, level: float = 0.95) -> int | None:
    """Runs of each network until a claim that is exactly true is reproduced with this probability, or None.

    Args:
        margin: of the claim.
        deviation: standard deviation between runs of one network.
    """
    for runs in range(2, MOST_RUNS + 1):
        if power_of(runs, margin, deviation, level) >= power:
            return runs
    return None


def power_of(runs: int, margin: float, deviation: float, level: float = 0.95) -> float:
    """Probability that a true claim is reproduced by so many runs of each network, both of the same deviation.

    Exact for Student's t with pooled variance, which Welch's is near for equal deviations and numbers: the mean over
    the law of the sample variance of the probability that the gain's estimate is near enough.
    """
    import numpy as np
    from scipy.stats import chi2, norm

    freedom = 2 * runs - 2
    error, critical = deviation * math.sqrt(2 / runs), student_t((1 + level) / 2, freedom)
    equally_likely = (np.arange(2000) + 0.5) / 2000
    scale = np.sqrt(chi2.ppf(equally_likely, freedom) / freedom)  # sample standard deviation over the true one
    room = np.maximum(0, (margin - critical * error * scale) / error)
    return float((2 * norm.cdf(room) - 1).mean())
