"""Whether runs bear out a claimed gain: reproduced, contradicted, inconclusive, not measured.

A claim "the gain is d" is taken as "the gain lies within d +- margin". With a confidence interval for the measured
gain at level 1 - alpha it is *reproduced* when the whole interval lies inside, and *contradicted* when all of it lies
outside; otherwise *inconclusive*. So a gain that is truly outside is called reproduced with probability alpha/2 at most
(two one-sided tests, Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987), and one truly inside is called contradicted
with probability alpha at most. With Welch's t these hold approximately: simulated with two to ten runs of each and
deviations up to three to one they do; two runs against many that lie far closer together exceed alpha/2 (4.1 % for
2.5 %).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from awbench.verdicts.deviation import RunToRunDeviation
from awbench.verdicts.statistics import Difference, student_t, welch_difference

Outcome = Literal["reproduced", "contradicted", "inconclusive", "not measured"]
MOST_RUNS = 1000  # of each network; no study is larger


@dataclass(frozen=True)
class Verdict:
    """Of one pair of networks.

    Attributes:
        difference: measured gain with its interval; None where nothing was measured.
        deviation_origin: where the run-to-run standard deviation comes from, in words.
        more_runs: of each network, that would settle an inconclusive verdict if the gain stayed where it is;
            None where that is not known, or more than a thousand.
    """

    outcome: Outcome
    difference: Difference | None = None
    deviation_origin: str = ""
    more_runs: int | None = None

    @property
    def spread(self) -> str:  # for report, until it is renamed there
        return self.deviation_origin


NOT_MEASURED = Verdict("not measured")
Spread = RunToRunDeviation  # for report, until it is renamed there


def judge_gain(
    treated: Sequence[float],
    baseline: Sequence[float],
    claimed: float,
    margin: float,
    level: float = 0.95,
    known: RunToRunDeviation | None = None,
) -> Verdict:
    """Judge the gain of one network over another.

    Args:
        treated, baseline: one value a run, in the claim's unit.
        claimed: the gain.
        margin: how far from it still counts as it.
        level: of the interval; several claims are corrected by giving each a higher one, see `bonferroni`.
        known: the run-to-run standard deviation to use where either side has a single run.
    """
    if not treated or not baseline:
        return NOT_MEASURED
    difference, origin = measured_gain(treated, baseline, level, known)
    if math.isnan(difference.low):
        single = " and ".join(
            name for name, side in (("the network", treated), ("its baseline", baseline)) if len(side) == 1
        )
        return Verdict("inconclusive", difference, f"unknown: needs a second run of {single}", 1)
    low, high = claimed - margin, claimed + margin
    if low <= difference.low and difference.high <= high:
        return Verdict("reproduced", difference, origin)
    if difference.high < low or difference.low > high:
        return Verdict("contradicted", difference, origin)
    return Verdict("inconclusive", difference, origin, _more_runs(treated, baseline, claimed, margin, level, known))


def measured_gain(
    treated: Sequence[float], baseline: Sequence[float], level: float, known: RunToRunDeviation | None
) -> tuple[Difference, str]:
    """(the gain with its interval, whose run-to-run standard deviation it rests on).

    Welch's interval; with a single run that of the known deviation, or of the other side's runs where it is larger.
    """
    if min(len(treated), len(baseline)) > 1:
        return welch_difference(treated, baseline, level), "these runs"
    value = statistics.fmean(treated) - statistics.fmean(baseline)
    if known is None:
        return Difference(value, math.nan, math.nan, level), "unknown"
    deviation, freedom, origin = known.deviation, known.freedom, known.origin
    larger = max((treated, baseline), key=len)
    if len(larger) > 1 and (own := statistics.stdev(larger)) > deviation:  # what these runs show outweighs others'
        deviation, freedom, origin = own, len(larger) - 1, "these runs, of the network that has several"
    reach = student_t((1 + level) / 2, freedom) * deviation * math.sqrt(1 / len(treated) + 1 / len(baseline))
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
    known: RunToRunDeviation | None,
) -> int | None:
    """Runs to add to each side until the interval would no longer cross an end of claimed +- margin."""
    variances = [statistics.variance(side) for side in (treated, baseline) if len(side) > 1]
    if not variances and known:
        variances = [known.deviation**2]
    deviation = math.sqrt(statistics.fmean(variances)) if variances else 0.0
    gain = statistics.fmean(treated) - statistics.fmean(baseline)
    room = abs(margin - abs(gain - claimed))
    recorded = min(len(treated), len(baseline))
    for runs in range(recorded + 1, MOST_RUNS + 1):
        if student_t((1 + level) / 2, 2 * runs - 2) * deviation * math.sqrt(2 / runs) <= room:
            return runs - recorded
    return None
