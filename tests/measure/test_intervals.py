"""The intervals cover the truth as often as they say, and match scipy's tests at their ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, quantile_test, wilcoxon

from awbench.measure.intervals import median_interval, signed_rank_interval


@pytest.mark.parametrize("interval", [median_interval, signed_rank_interval])
@pytest.mark.parametrize(("count", "level"), [(8, 0.9), (12, 0.95), (25, 0.99), (60, 0.95)])
def test_coverage(interval, count, level):
    """On a skewed law for the median and a heavy-tailed symmetric one for the signed rank, over 2,000 samples."""
    random = np.random.default_rng(count)
    draw = random.standard_exponential if interval is median_interval else random.standard_cauchy
    centre = math.log(2) if interval is median_interval else 0.0
    found = [interval(draw(count).tolist(), level) for _ in range(2000)]
    covered = sum(i.low <= centre <= i.high for i in found)
    assert all(i.low <= i.value <= i.high for i in found)
    # at least the level, and not a trivial interval: the next narrower one would not do
    assert binomtest(covered, 2000, level, "less").pvalue > 0.001
    assert covered < 2000 * (1 - (1 - level) / 8)


def test_signed_rank_ends_where_wilcoxons_test_begins_to_reject():
    values = np.random.default_rng(3).normal(0.02, 0.02, 14)
    found = signed_rank_interval(values.tolist(), 0.95)
    for end, outward in ((found.low, -1), (found.high, 1)):
        assert wilcoxon(values - (end + outward * 1e-9), method="exact").pvalue <= 0.05
        assert wilcoxon(values - (end - outward * 1e-9), method="exact").pvalue > 0.05


@pytest.mark.parametrize("level", [0.9, 0.95, 0.998])
def test_the_medians_interval_is_that_of_scipys_quantile_test(level):
    """Which gives the same ends in ten times the time, too long for a check between rounds of timing."""
    for count in (6, 11, 12, 40, 333):
        values = np.random.default_rng(count).standard_exponential(count)
        found, theirs = median_interval(values.tolist(), level), quantile_test(values).confidence_interval(level)
        ends = [end if math.isfinite(end) else math.nan for end in (found.low, found.high)]
        np.testing.assert_array_equal(ends, theirs)


@pytest.mark.parametrize("interval", [median_interval, signed_rank_interval])
def test_too_few_values_have_no_interval(interval):
    found = interval([1.0, 2.0, 3.0], 0.95)
    assert (found.value, found.low, found.high) == (2.0, -math.inf, math.inf)
    assert interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.95).high == 6.0


def test_many_values():
    found = median_interval([float(i) for i in range(100_001)])
    assert found.value == 50_000 and found.high - 50_000 == 50_000 - found.low == pytest.approx(310, abs=2)
