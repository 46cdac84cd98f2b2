from __future__ import annotations

import math
import random

import pytest

from awbench.verdicts.statistics import mean_and_spread, welch_difference


def test_welch_by_hand():
    """t(nu) for two groups of three, worked out with the textbook's formulas."""
    a, b = [98.0, 99.0, 97.0], [95.0, 97.0, 93.0]
    difference = welch_difference(a, b)
    error = math.sqrt(1.0 / 3 + 4.0 / 3)
    nu = (1 / 3 + 4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2)
    assert nu == pytest.approx(2.941, abs=1e-3)
    assert difference.value == pytest.approx(3.0)
    t = (difference.high - difference.value) / error
    assert t == pytest.approx(3.2202, abs=2e-3)  # t(0.975) at 2.941 degrees of freedom


def test_the_interval_covers_as_often_as_it_says():
    random.seed(0)
    covered = 0
    for _ in range(1000):
        a = [random.gauss(1.0, 0.3) for _ in range(4)]
        b = [random.gauss(0.0, 0.6) for _ in range(4)]
        interval = welch_difference(a, b)
        covered += interval.low <= 1.0 <= interval.high
    assert 930 <= covered <= 975


def test_one_run_has_no_interval():
    assert math.isnan(welch_difference([1.0], [0.0, 0.5]).low)
    assert math.isnan(mean_and_spread([1.0])[1])


def test_no_spread_at_all():
    assert welch_difference([1.0, 1.0], [0.5, 0.5]).low == 0.5
