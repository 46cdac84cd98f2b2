from __future__ import annotations

import pytest

from awbench.verdicts.answers import Claimed, answer_gain, answer_size, interval_of_maximum, is_compatible
from awbench.verdicts.interval import Interval, gain_interval

ONE = Claimed(1.0, 0.5)


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 0.95, 0.1, 10, True)


@pytest.mark.parametrize(
    ("ends", "matters", "gain"),
    [
        ((0.1, 2.0), None, "gain"), ((-2.0, -0.1), None, "loss"), ((-0.1, 0.1), None, "undecided"),
        ((-0.1, 0.1), 0.2, "no difference that matters"), ((-0.1, 0.3), 0.2, "undecided"), ((0.05, 0.1), 0.2, "gain"),
        ((0.0, 0.3), None, "undecided"),
    ],
)  # fmt: skip
def test_whether_there_is_a_gain(ends, matters, gain):
    assert answer_gain(interval(*ends), matters) == gain


@pytest.mark.parametrize(
    ("ends", "claimed", "size"),
    [
        ((0.5, 1.5), ONE, "as claimed"), ((0.4, 1.4), ONE, "undecided"), ((1.6, 9.0), ONE, "more"),
        ((-1.0, 0.4), ONE, "less"), ((-9.0, 9.0), ONE, "undecided"),
        ((-1.4, -0.6), Claimed(-1.0, 0.5), "as claimed"), ((-0.4, 0.1), Claimed(-1.0, 0.5), "less"),
        ((-3.0, -1.6), Claimed(-1.0, 0.5), "more"), ((-0.1, 0.1), Claimed(0.0, 0.2), "as claimed"),
    ],
)  # fmt: skip
def test_whether_the_gain_is_the_claimed_one(ends, claimed, size):
    assert answer_size(interval(*ends), claimed) == size


def test_the_largest_gain_is_at_least_each_lower_end_and_at_most_the_largest_upper_one():
    together = [interval(0.4, 0.6), interval(0.1, 1.1), interval(-0.5, 0.2)]
    alone = [interval(0.42, 0.58), interval(0.2, 1.0), interval(-0.4, 0.1)]
    found = interval_of_maximum(together, alone)
    assert (found.low, found.high) == (0.4, 1.0) and found.value == pytest.approx(0.6)


def test_a_publication_of_one_run_each_is_held_to_the_scatter_of_single_runs():
    found = gain_interval([78.0, 78.1, 78.2, 78.3], [77.5, 77.6, 77.7, 77.8])
    assert is_compatible(found, (4, 4), 0.8)  # the mean's interval ends below
    assert found.high < 0.85 and not is_compatible(found, (4, 4), 2.0)
