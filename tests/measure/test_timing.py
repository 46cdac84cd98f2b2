"""Timing with a clock of the tests' own, so that nothing depends on the machine."""

from __future__ import annotations

import random

import pytest

from awbench.kernels.timers import CPUTimer
from awbench.measure import timing
from awbench.measure.timing import FEWEST_ROUNDS, Case, TimingGoal, disturbance, interleave, spread_of


class FakeMachine:
    """A clock that calls move on; `load(t)` is how much slower everything is at a moment."""

    def __init__(self, load=lambda now: 1.0):
        self.now, self.load, self.calls = 0.0, load, []
        self.waiting = True

    def mark(self):
        return self.now

    def begin(self):
        pass

    def wait(self):
        pass

    def seconds(self, start, end):
        return end - start

    def case(self, name, cost, baseline, noise=0.0):
        generator = random.Random(name)

        def run(value):
            self.calls.append(name)
            self.now += cost * self.load(self.now) * (1 + noise * generator.gauss(0, 1))

        return Case(name, lambda: None, {"network": run}, "network", baseline)


def measured(machine, *cases, **goal):
    found = interleave(cases, machine, TimingGoal(**{"budget": 0.3, **goal}))
    return found, {timing.name: timing for timing in found.cases}


def test_cases_take_turns():
    machine = FakeMachine()
    measured(machine, *(machine.case(name, 1.0, "a") for name in "abc"))
    rounds = [set(machine.calls[i : i + 3]) for i in range(0, len(machine.calls), 3)]
    assert len(rounds) >= FEWEST_ROUNDS and all(names == set("abc") for names in rounds)
    assert len({tuple(machine.calls[i : i + 3]) for i in range(0, len(machine.calls), 3)}) > 1


def test_what_slows_the_whole_machine_divides_out_of_a_ratio():
    """Twice as slow for two thirds of the time: the median is disturbed, the ratio is not."""
    machine = FakeMachine(lambda now: 2.0 if now % 90 < 60 else 1.0)
    _, timings = measured(
        machine, machine.case("plain", 1.0, "plain", 0.005), machine.case("aw", 1.2, "plain", 0.005), width=0.002
    )
    ratio = timings["aw"].ratio
    assert timings["plain"].ratio is None
    assert ratio.low <= 1.2 <= ratio.high and ratio.width < 0.02
    assert timings["plain"].spread > 0.5


def test_it_stops_when_every_ratio_is_known_as_well_as_asked_for_and_else_when_the_time_is_up():
    for width, reached in ((0.02, True), (1e-6, False)):
        machine = FakeMachine()
        cases = machine.case("plain", 1.0, "plain", 0.02), machine.case("aw", 1.2, "plain", 0.02)
        found, timings = measured(machine, *cases, width=width, budget=2.0)
        assert found.reached is reached
        assert (timings["aw"].ratio.width <= width) is reached
        if reached:
            assert timings["aw"].rounds < 2000


def test_stages_are_timed_apart_and_the_judged_one_is_compared():
    machine = FakeMachine()

    def stage(seconds):
        def run(value):
            machine.now += seconds
            return (value or 0) + seconds

        return run

    def case(name, network):
        stages = {"data": stage(3.0), "network": stage(network), "post_processing": stage(0.5)}
        return Case(name, lambda: None, stages, "network", "plain")

    _, timings = measured(machine, case("plain", 1.0), case("aw", 2.0))
    assert timings["aw"].ratio.value == 2.0
    assert [timings["aw"].stages[name].value for name in ("data", "network", "post_processing")] == [3.0, 2.0, 0.5]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 1.01, 1.02, 0.99] * 10, []),
        ([1.0, 1.0, 1.4, 1.5] * 10, ["other load"]),
        ([1.0 + 0.005 * i for i in range(40)], ["slower during the run"]),
        ([1.2 - 0.005 * i for i in range(40)], ["faster during the run"]),
        ([1.0] * 6, []),
    ],
)
def test_other_load_and_throttling_are_said(values, expected):
    notes = list(disturbance("resnet50", values))
    assert len(notes) == len(expected)
    assert all(words in note and "resnet50" in note for note, words in zip(notes, expected, strict=True))


def test_spread_is_the_interquartile_range_over_the_median():
    assert spread_of([float(i) for i in range(1, 100)]) == pytest.approx(1.0)


@pytest.mark.parametrize("keeps", [True, False])
def test_the_processor_is_timed_in_memory_that_is_kept(keeps, monkeypatch):
    asked = []
    monkeypatch.setattr(timing, "keep_freed_memory", lambda: asked.append(1) or keeps)
    nap = Case("nap", lambda: None, {"network": lambda value: None}, "network", "nap")
    found = interleave([nap], CPUTimer(), TimingGoal(budget=0))
    assert asked == [1]
    assert [note for note in found.notes if "freed memory" in note] == [timing._FREED_MEMORY_LEAVES] * (not keeps)
    machine = FakeMachine()
    measured(machine, machine.case("a", 1.0, "a"))
    assert asked == [1], "another device's time does not depend on it"
