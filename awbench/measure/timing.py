"""Interleaved timing, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from awbench.kernels.timers import CPUTimer, Timer
from awbench.measure.intervals import Interval, median_interval
from awbench.system import keep_freed_memory

# Called now and then with the number of rounds and the widest interval of a ratio.
OnProgress = Callable[[int, float], None]

WARM_UP_ROUNDS = 2
FEWEST_ROUNDS = 6  # with fewer there is no interval at 95 %
_ROUNDS_BETWEEN_CHECKS = 4
_OVERHEAD_CALLS = 300
# Thresholds of the notes on disturbance, chosen: on an idle machine both stay well below.
_LARGEST_SPREAD = 0.10
_LARGEST_DRIFT = 0.05
_FREED_MEMORY_LEAVES = "this C library may give freed memory back to the system, and times then depend on when it does"


@dataclass(frozen=True)
class Case:
    """A function to be timed, in stages.

    Attributes:
        name: of the network.
        prepare: makes the input of one call; not timed.
        stages: timed one after another; each is called with what the one before it returned.
        judged: the stage that is compared with the same stage of the baseline.
        baseline: the name of another case, or of this one.
    """

    name: str
    prepare: Callable[[], Any]
    stages: Mapping[str, Callable[[Any], Any]]
    judged: str
    baseline: str


@dataclass(frozen=True)
class TimingGoal:
    """When to stop.

    Attributes:
        width: of each ratio's interval, as a fraction of the ratio.
        budget: in seconds, warm-up not included; whichever comes first.
        level: of every interval.
    """

    width: float = 0.02
    budget: float = 120.0
    level: float = 0.95


@dataclass(frozen=True)
class Timing:
    """What was measured of one case; times in seconds.

    Attributes:
        stages: median of each stage, with its interval.
        spread: interquartile range of the judged stage, as a fraction of its median.
        ratio: the judged stage over the baseline's, the median over rounds; None for a baseline.
        rounds: calls that were timed.
    """

    name: str
    stages: Mapping[str, Interval]
    spread: float
    ratio: Interval | None
    rounds: int


@dataclass(frozen=True)
class Timings:
    """Of one run: every number in it was measured in the same minutes on the same machine.

    Attributes:
        overhead: what timing itself adds to a call, in seconds.
        notes: what disturbed the run.
        reached: whether every ratio's interval is as narrow as asked for.
    """

    cases: tuple[Timing, ...]
    overhead: float
    notes: tuple[str, ...]
    reached: bool


def ignore_progress(rounds: int, width: float) -> None:
    """Does nothing."""


def interleave(
    cases: Sequence[Case], timer: Timer, goal: TimingGoal, on_progress: OnProgress = ignore_progress
) -> Timings:
    """Time the cases, interleaved, until their ratios are known well enough, or the budget is spent.

    A round calls each case once, in an order drawn anew, because a case is a little faster or slower after
    some neighbours than after others. A ratio is the median over rounds of (this call / the baseline's call
    of the same round): what slows a whole round down divides out. Stopping looks at the width of the
    intervals alone, never at what they show, which would make them wrong more often than their level says. On a CPU
    the process keeps the memory that it frees, from now on.

    Args:
        cases: each baseline among them.
        on_progress: see `OnProgress`.
    """
    keeps = keep_freed_memory() if isinstance(timer, CPUTimer) else True
    order = random.Random(0)
    times: dict[str, dict[str, list[float]]] = {case.name: {stage: [] for stage in case.stages} for case in cases}
    with _undisturbed():
        overhead = measure_overhead(timer)
        for _ in range(WARM_UP_ROUNDS):
            for case in cases:
                _call(case, timer)
        deadline = time.monotonic() + goal.budget
        rounds, widest = 0, math.inf
        while rounds < FEWEST_ROUNDS or (widest > goal.width and time.monotonic() < deadline):
            for case in order.sample(cases, len(cases)):
                for stage, seconds in _call(case, timer).items():
                    times[case.name][stage].append(seconds)
            rounds += 1
            if rounds >= FEWEST_ROUNDS and rounds % _ROUNDS_BETWEEN_CHECKS == 0:
                widest = _widest(cases, times, goal.level)
                on_progress(rounds, widest)
    judged = {case.name: times[case.name][case.judged] for case in cases}
    notes = [note for name, values in judged.items() for note in disturbance(name, values)]
    notes += [] if keeps else [_FREED_MEMORY_LEAVES]
    timings = [
        Timing(
            case.name,
            {stage: median_interval(values, goal.level) for stage, values in times[case.name].items()},
            spread_of(judged[case.name]),
            _ratio(case, times, goal.level) if case.name != case.baseline else None,
            rounds,
        )
        for case in cases
    ]
    return Timings(tuple(timings), overhead, tuple(notes), _widest(cases, times, goal.level) <= goal.width)


def measure_overhead(timer: Timer) -> float:
    """Seconds that the marks and the call around it add to a timed stage: the median for one that does nothing."""
    nothing = Case("nothing", lambda: None, {"nothing": lambda value: value}, "nothing", "nothing")
    return statistics.median(_call(nothing, timer)["nothing"] for _ in range(_OVERHEAD_CALLS))


def _call(case: Case, timer: Timer) -> dict[str, float]:
    """Seconds of each stage of one call."""
    value = case.prepare()
    timer.begin()
    marks = [timer.mark()]
    for stage in case.stages.values():
        value = stage(value)
        marks.append(timer.mark())
    timer.wait()
    return {name: timer.seconds(marks[i], marks[i + 1]) for i, name in enumerate(case.stages)}


def _widest(cases: Sequence[Case], times: Mapping[str, Mapping[str, list[float]]], level: float) -> float:
    """Of the ratios' intervals; of the times' own where there is nothing to compare."""
    ratios = [_ratio(case, times, level) for case in cases if case.name != case.baseline]
    intervals = ratios or [median_interval(times[case.name][case.judged], level) for case in cases]
    return max(interval.width for interval in intervals)


def _ratio(case: Case, times: Mapping[str, Mapping[str, list[float]]], level: float) -> Interval:
    own, base = times[case.name][case.judged], times[case.baseline][case.judged]
    return median_interval([a / b for a, b in zip(own, base, strict=True)], level)


def spread_of(values: Sequence[float]) -> float:
    """Interquartile range over median."""
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / middle


def disturbance(name: str, values: Sequence[float]) -> Iterator[str]:
    """What the times of one function in their order show of the machine, as sentences."""
    spread = spread_of(values)
    if spread > _LARGEST_SPREAD:
        yield f"times of {name} spread by {spread:.0%} (interquartile range over median): other load on this machine?"
    third = len(values) // 3
    first, last = median_interval(values[:third]), median_interval(values[-third:])
    drift = last.value / first.value - 1
    if abs(drift) > _LARGEST_DRIFT and (last.low > first.high or last.high < first.low):
        change = "slower" if drift > 0 else "faster"
        yield f"{name} became {abs(drift):.0%} {change} during the run: a throttling processor, or changing load?"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without Python's garbage collector, as `timeit` does it."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
