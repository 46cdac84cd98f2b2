"""Decisions from made-up times."""

from __future__ import annotations

import itertools
import math
import random
from contextlib import contextmanager

import pytest

from awbench.measure.intervals import Interval, signed_rank_interval
from awbench.regress import comparison
from awbench.regress.comparison import ComparisonGoal, Decision, compare, decide, judge, measure_pair


def made_up(effect: float, scatter: float, count: int, base_ms: float = 2.0) -> list[dict[str, tuple[float, float]]]:
    """Pairs of one workload whose head takes `effect` times as long."""
    random_ = random.Random(0)
    return [{"nap": (base_ms, base_ms * effect * math.exp(random_.gauss(0, scatter)))} for _ in range(count)]


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (1.0101, 1.5, Decision.SLOWER),  # however wide
        (1.0099, 1.03, Decision.SAME),
        (1.0099, 1.06, Decision.UNCLEAR),
        (0.981, 1.019, Decision.SAME),
        (0.97, 1.03, Decision.UNCLEAR),
        (0.95, 0.9899, Decision.FASTER),
        (0.96, 0.9901, Decision.SAME),
        (0.0, math.inf, Decision.UNCLEAR),
    ],
)
def test_the_decision_follows_from_the_interval(low, high, decision):
    assert decide(Interval(min(1.03, (low + high) / 2), low, high), ComparisonGoal(width=0.04, ignore=0.01)) is decision


def test_a_change_says_how_large_it_is():
    (change,) = judge(made_up(1.05, 0.005, 10), ComparisonGoal())
    assert change.decision is Decision.SLOWER
    assert change.ratio.low < 1.05 < change.ratio.high
    assert change.ratio.value == pytest.approx(1.05, rel=0.005)
    assert (change.base_ms, change.head_ms) == (2.0, pytest.approx(2.1, rel=0.005))
    assert (change.workload, change.pairs, change.level) == ("nap", 10, 0.95)
    (change,) = judge(made_up(1 / 1.05, 0.005, 10), ComparisonGoal())
    assert change.decision is Decision.FASTER
    (change,) = judge(made_up(0.995, 0.005, 10), ComparisonGoal())
    assert change.decision is Decision.SAME
    assert 0.005 < change.bound == 1 - change.ratio.low < 0.02


def test_one_disturbed_pair_decides_nothing():
    pairs = made_up(1.0, 0.005, 12)
    pairs[3] = {"nap": (2.0, 20.0)}
    (change,) = judge(pairs, ComparisonGoal())
    assert change.decision is Decision.SAME
    assert not change.is_disturbed


def test_scatter_is_told():
    (change,) = judge(made_up(1.0, 0.08, 300), ComparisonGoal())
    assert change.is_disturbed
    assert change.spread == pytest.approx(0.08, rel=0.2)


def test_all_intervals_hold_together():
    """Each of m workloads at level 1 - 0.05 / m: wider than for one alone."""
    times = [pair["nap"] for pair in made_up(1.0, 0.02, 20)]
    changes = judge([dict.fromkeys("abcde", pair) for pair in times], ComparisonGoal())
    assert [change.level for change in changes] == [pytest.approx(0.99)] * 5
    expected = signed_rank_interval([math.log(head / base) for base, head in times], 0.99)
    assert (changes[0].ratio.low, changes[0].ratio.high) == (math.exp(expected.low), math.exp(expected.high))


def run(monkeypatch, pairs, goal=None, seconds=0.0):
    """`compare` on made-up pairs, each of which takes so many seconds."""
    source = itertools.chain([{"nap": (1.0, 100.0)}], pairs)  # the first warms up
    clock = itertools.count()

    def measure(*args, **kwargs):
        for _ in range(int(seconds)):
            next(clock)
        return next(source)

    monkeypatch.setattr(comparison, "measure_pair", measure)
    monkeypatch.setattr(comparison.time, "monotonic", lambda: next(clock) if seconds else 0.0)
    told = []
    result = compare(None, None, None, goal or ComparisonGoal(), lambda *state: told.append(state))
    return result.changes[0], told


def test_it_stops_as_soon_as_the_interval_is_narrow_after_eight_pairs(monkeypatch):
    change, told = run(monkeypatch, made_up(1.0, 0.001, 50))
    assert (change.pairs, change.decision) == (8, Decision.SAME)
    assert [pairs for pairs, _, _ in told] == list(range(1, 9))
    assert change.ratio.high < 1.01, "the first pair is not counted"


def test_it_does_not_stop_because_there_is_a_difference(monkeypatch):
    change, told = run(monkeypatch, made_up(1.5, 0.05, 500))
    assert change.decision is Decision.SLOWER
    assert change.pairs > 12
    assert [widest > 0.04 for _, widest, _ in told] == [True] * (change.pairs - 1) + [False]


def test_it_stops_when_the_budget_is_spent_and_says_what_is_not_known(monkeypatch):
    change, _ = run(monkeypatch, made_up(1.0, 0.5, 500), ComparisonGoal(budget=100), seconds=10)
    assert change.decision is Decision.UNCLEAR
    assert 5 <= change.pairs <= 8
    change, _ = run(monkeypatch, made_up(1.0, 0.5, 500), ComparisonGoal(budget=1), seconds=10)
    assert change.pairs == 1
    assert (change.ratio.low, change.ratio.high) == (0.0, math.inf)


def test_processes_take_turns_and_each_begins_as_often(monkeypatch, repository):
    done = []

    class Fake:
        workloads = ["one", "two"]

        def __init__(self, tree):
            self.tree = tree

        def warm_up(self, name, seconds):
            done.append(f"warm up {self.tree.side}")

        def turn(self, name, seconds):
            done.append(f"{name} {self.tree.side}")
            return [{"base": 2.0, "head": 3.0}[self.tree.side], 100.0, 100.0, 100.0]

    @contextmanager
    def pair(first, second, suite_run):
        done.append(f"start {first.side} {second.side}")
        yield Fake(first), Fake(second)

    monkeypatch.setattr(comparison, "pair", pair)
    for number, start, order in ((0, "start base head", "BHHBBHHB"), (1, "start head base", "HBBHHBBH")):
        done.clear()
        times = measure_pair(repository.tree(), repository.tree("head"), None, number)
        assert done[0] == start
        assert all(what.startswith("warm up") for what in done[1:5])
        for name in ("one", "two"):
            sides = [what.split()[1] for what in done[5:] if what.startswith(name)]
            assert "".join(side[0].upper() for side in sides) == order
        assert times == {"one": (2.0, 3.0), "two": (2.0, 3.0)}, "the lower quartile, base before head"
