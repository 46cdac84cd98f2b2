"""The interval of a gain: equal to textbook's where there is one, never narrower than it may be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from awbench.verdicts.interval import gain_interval, simultaneous

X, Y = [78.1, 78.4, 78.6], [77.2, 77.3, 77.7]
QUIET = [[77.0, 77.3, 77.7], [79.1, 79.3, 79.7], [76.0, 76.6, 76.4]]


def test_a_pair_among_alike_networks_has_their_pooled_deviation_and_degrees_of_freedom():
    found = gain_interval(X, Y, QUIET)
    squares = sum(np.var(side, ddof=1) * 2 for side in (X, Y, *QUIET))
    assert found.pooled and found.freedom == 10
    assert math.isclose(found.deviation, math.sqrt(squares / 10))
    reach = stats.t.ppf(0.975, 10) * math.sqrt(squares / 10 * 2 / 3)
    assert math.isclose(found.high - found.value, reach) and math.isclose(found.value, np.mean(X) - np.mean(Y))


def test_a_pair_alone_has_welchs_error_and_the_fewest_degrees_of_freedom():
    found = gain_interval(X, Y[:2])
    assert not found.pooled and found.freedom == 1
    error = math.sqrt(np.var(X, ddof=1) / 3 + np.var(Y[:2], ddof=1) / 2)
    assert math.isclose(found.high - found.value, stats.t.ppf(0.975, 1) * error)
    welch = stats.ttest_ind(X, Y[:2], equal_var=False)
    assert found.high - found.low >= welch.confidence_interval(0.95).high - welch.confidence_interval(0.95).low


def test_a_pair_that_scatters_more_than_the_others_is_not_pooled_with_them():
    wild = [70.0, 78.4, 85.0]
    found = gain_interval(wild, Y, QUIET)
    assert not found.pooled and found.freedom == 2


@pytest.mark.parametrize("others", [(), ([77.0, 77.2],)])
def test_two_runs_of_a_network_say_nothing_of_other_pairs(others):
    assert not gain_interval(X, Y, others).pooled


def test_equal_values_have_the_metrics_resolution_for_a_deviation():
    found = gain_interval([0.0, 0.0], [0.0, 0.0], resolution=0.01)
    assert found.floored and found.low < 0 < found.high
    assert math.isclose(found.high, stats.t.ppf(0.975, 1) * 0.01)


@pytest.mark.parametrize("value", [90.0, 90.1, 90.03])
def test_how_a_mean_rounds_is_no_deviation(value):
    """Of three equal values the mean is off by 1e-14 for some, which must not look like a pair that deviates more."""
    found = gain_interval([value + 0.5] * 3, [value] * 3, [[value - 1] * 3, [value + 2] * 3], resolution=0.01)
    assert found.pooled and math.isclose(found.high - found.value, stats.t.ppf(0.975, 8) * 0.01 * math.sqrt(2 / 3))


def test_a_pair_that_deviates_beside_equal_runs_has_its_own_interval(recwarn):
    found = gain_interval([0.0, 50.0, 100.0], [0.0, 50.0, 99.0], [[5.0] * 3])
    assert not found.pooled and not recwarn.list


def test_single_runs_have_no_interval():
    assert gain_interval([78.0], [77.0, 77.1]) is None


def test_several_intervals_hold_together():
    assert simultaneous(0.95, 1) == 0.95
    assert math.isclose(1 - simultaneous(0.95, 8), 0.05 / 8)
