"""Whether runs bear out a claimed gain: reproduced, contradicted, inconclusive, not measured.

A claim "the gain is d" is taken as "the gain lies within d +- margin". With a confidence interval for the measured
gain at level 1 - alpha it is *reproduced* when the whole interval lies inside, and *contradicted* when all of it lies
outside; otherwise *inconclusive*. So a gain that is truly outside is called reproduced with probability alpha/2 at most
(two one-sided tests, Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987), and one truly inside is called contradicted
with probability alpha at most. With Welch's t these hold approximately: simulated with two to ten runs of each and
spreads up to three to one they do; two runs against many of a far smaller spread exceed alpha/2 (4.1 % for 2.5 %).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from awbench.verdicts.statistics import Difference, welch_difference

Outcome = Literal["reproduced", "contradicted", "inconclusive", "not measured"]
_MOST_RUNS = 1000


@dataclass(frozen=True)
class Spread:
    """How far runs of one recipe scatter, known from elsewhere: standard deviation, its degrees of freedom, whose."""

    deviation: float
    freedom: int
    origin: str


@dataclass(frozen=True)
class Verdict:
    """Of one pair of networks.

    Attributes:
        difference: measured gain with its interval; None where nothing was measured.
        spread: where the run-to-run spread comes from, in words.
        more_runs: of each network, that would settle an inconclusive verdict if the gain stayed where it is;
            None where that is not known, or more than a thousand.
    """

    outcome: Outcome
    difference: Difference | None = None
    spread: str = ""
    more_runs: int | None = None


NOT_MEASURED = Verdict("not measured")


def judge_gain(
    treated: Sequence[float],
    baseline: Sequence[float],
    claimed: float,
    margin: float,
    level: float = 0.95,
    known: Spread | None = None,
) -> Verdict:
    """Judge the gain of one network over another.

    Args:
        treated, baseline: one value a run, in the claim's unit.
        claimed: the gain.
        margin: how far from it still counts as it.
        level: of the interval; several claims are corrected by giving each a higher one, see `bonferroni`.
        known: the spread to use where either side has a single run.
    """
    if not treated or not baseline:
        return NOT_MEASURED
    difference, spread = measured_gain(treated, baseline, level, known)
    if math.isnan(difference.low):
        single = " and ".join(
            name for name, side in (("the network", treated), ("its baseline", baseline)) if len(side) == 1
        )
        return Verdict("inconclusive", difference, f"unknown: needs a second run of {single}", 1)
    low, high = claimed - margin, claimed + margin
    if low <= difference.low and difference.high <= high:
        return Verdict("reproduced", difference, spread)
    if difference.high < low or difference.low > high:
        return Verdict("contradicted", difference, spread)
    return Verdict("inconclusive", difference, spread, _more_runs(treated, baseline, claimed, margin, level, known))


def measured_gain(
    treated: Sequence[float], baseline: Sequence[float], level: float, known: Spread | None
) -> tuple[Difference, str]:
    """(the gain with its interval, whose spread it rests on): Welch's; with a single run the known spread, or that of
    the other side's runs where it is larger.
    """
    if min(len(treated), len(baseline)) > 1:
        return welch_difference(treated, baseline, level), "these runs"
    value = statistics.fmean(treated) - statistics.fmean(baseline)
    if known is None:
        return Difference(value, math.nan, math.nan, level), "unknown"
    deviation, freedom, origin = known.deviation, known.freedom, known.origin
    several = max((treated, baseline), key=len)
    if len(several) > 1 and (own := statistics.stdev(several)) > deviation:  # what these runs show outweighs others'
        deviation, freedom, origin = own, len(several) - 1, "these runs, of the network that has several"
    reach = _t((1 + level) / 2, freedom) * deviation * math.sqrt(1 / len(treated) + 1 / len(baseline))
    return Difference(value, value - reach, value + reach, level), origin


def bonferroni(level: float, judged: int) -> float:
    """The level of each of several intervals that shall all hold together at `level`."""
    return 1 - (1 - level) / max(1, judged)


def _more_runs(
    treated: Sequence[float],
    baseline: Sequence[float],
    claimed: float,
    margin: float,
    level: float,
    known: Spread | None,
) -> int | None:
    """Runs to add to each side until the interval would no longer cross an end of claimed +- margin."""
    variances = [statistics.variance(side) for side in (treated, baseline) if len(side) > 1]
    if not variances and known:
        variances = [known.deviation**2]
    deviation = math.sqrt(statistics.fmean(variances)) if variances else 0.0
    gain = statistics.fmean(treated) - statistics.fmean(baseline)
    room = abs(margin - abs(gain - claimed))
    have = min(len(treated), len(baseline))
    for runs in range(have + 1, _MOST_RUNS + 1):
        if _t((1 + level) / 2, 2 * runs - 2) * deviation * math.sqrt(2 / runs) <= room:
            return runs - have
    return None


def runs_for_power(margin: float, deviation: float, power: float = 0.8, level: float = 0.95) -> int | None:
    """Runs of each network until a claim that is exactly true is reproduced with this probability, or None.

    Args:
        margin: of the claim.
        deviation: standard deviation between runs of one network.
    """
    for runs in range(2, _MOST_RUNS + 1):
        if power_of(runs, margin, deviation, level) >= power:
            return runs
    return None


def power_of(runs: int, margin: float, deviation: float, level: float = 0.95) -> float:
    """Probability that a true claim is reproduced by so many runs of each network, both of the same spread.

    Exact for Student's t with pooled variance, which Welch's is near for equal spreads and numbers: the mean over the
    law of the sample variance of the probability that the gain's estimate is near enough.
    """
    import numpy as np
    from scipy.stats import chi2, norm

    freedom = 2 * runs - 2
    error, critical = deviation * math.sqrt(2 / runs), _t((1 + level) / 2, freedom)
    equally_likely = (np.arange(2000) + 0.5) / 2000
    scale = np.sqrt(chi2.ppf(equally_likely, freedom) / freedom)  # sample standard deviation over the true one
    room = np.maximum(0, (margin - critical * error * scale) / error)
    return float((2 * norm.cdf(room) - 1).mean())


def _t(probability: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(probability, freedom))
