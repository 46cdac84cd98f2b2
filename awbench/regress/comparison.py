"""Base against head: interleaved pairs of fresh processes, then a decision from confidence intervals."""

from __future__ import annotations

import enum
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.stats import median_abs_deviation

from awbench.measure.intervals import Interval, signed_rank_interval
from awbench.regress.process import SuiteRun, pair
from awbench.regress.trees import Tree

FEWEST_PAIRS = 8
WARM_UP_SECONDS = 0.2
TURNS = 4  # of each process with each workload; each is at least one sample
TURN_SECONDS = 0.1
_LARGEST_SPREAD = 0.05  # chosen: on an idle machine it is ten times less


class Decision(enum.Enum):
    """Of one workload; the values are what JSON says."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "no difference"
    UNCLEAR = "not measured finely enough"


@dataclass(frozen=True)
class ComparisonGoal:
    """When to stop, and what counts.

    Attributes:
        width: stop when every interval is so narrow, high - low as a fraction of the ratio: 0.04 is about +-2 %.
        ignore: differences that nobody would act on, as a fraction.
        budget: in seconds, after which we stop in any case; at least one pair is measured.
        level: simultaneous, of all intervals.
    """

    width: float = 0.04
    ignore: float = 0.01
    budget: float = 600.0
    level: float = 0.95


@dataclass(frozen=True)
class Change:
    """What became of one workload.

    Attributes:
        base_ms, head_ms: of a call, medians over pairs of `measure_pair`'s times.
        ratio: head over base, with its interval; infinite where the pairs are too few.
        level: of this interval.
        pairs: of processes.
        spread: of the pairs' ratios, a robust standard deviation as a fraction.
    """

    workload: str
    base_ms: float
    head_ms: float
    ratio: Interval
    level: float
    pairs: int
    spread: float
    decision: Decision

    @property
    def bound(self) -> float:
        """The largest difference that the interval leaves possible, as a fraction."""
        return max(abs(self.ratio.low - 1), abs(self.ratio.high - 1))

    @property
    def is_disturbed(self) -> bool:
        return self.spread > _LARGEST_SPREAD


@dataclass(frozen=True)
class Comparison:
    """All workloads of a suite."""

    base: Tree
    head: Tree
    suite_run: SuiteRun
    goal: ComparisonGoal
    changes: tuple[Change, ...]
    seconds: float

    def of(self, decision: Decision) -> list[Change]:
        return [change for change in self.changes if change.decision is decision]


Times = dict[str, tuple[float, float]]  # milliseconds of a call in base and in head, by workload


def compare(
    base: Tree,
    head: Tree,
    suite_run: SuiteRun,
    goal: ComparisonGoal,
    on_progress: Callable[[int, float, float], None] = lambda *_: None,
) -> Comparison:
    """Measure pairs until every interval is as narrow as asked for, or the budget is spent.

    A pair is a fresh process for each tree. What differs from process to process, such as addresses, differs
    between pairs and is in the intervals; what the machine does meanwhile hits both of a pair.

    Stopping looks at the width of the intervals alone, never at what they show: who stops as soon as there is
    a difference finds one in the end, wherever he looks.

    Args:
        on_progress: called after each pair with the number of pairs, the widest interval and the seconds so far.

    Raises:
        UserError: the suite, or one of its workloads, fails in a tree.
    """
    start = time.monotonic()
    measure_pair(base, head, suite_run, 0, turns=1)  # fills file caches, compiles to .pyc: not counted
    pairs: list[Times] = []
    while True:
        pair_start = time.monotonic()
        pairs.append(measure_pair(base, head, suite_run, len(pairs)))
        changes = judge(pairs, goal)
        widest = max(change.ratio.width for change in changes)
        now = time.monotonic()
        on_progress(len(pairs), widest, now - start)
        enough = len(pairs) >= FEWEST_PAIRS and widest <= goal.width
        if enough or now + (now - pair_start) > start + goal.budget:
            return Comparison(base, head, suite_run, goal, changes, now - start)


def measure_pair(base: Tree, head: Tree, suite_run: SuiteRun, number: int, turns: int = TURNS) -> Times:
    """The time of each workload in two fresh processes, interleaved: B H, H B, B H, ...

    Turns are short, because the machine may do other things too: there, ratios of processes that ran one after
    the other varied five times as much. For the same reason the time is the lower quartile of a process's
    samples: load only ever adds to a time, in bursts.

    Args:
        number: of the pair; in odd ones head comes first, in starting as in the first turn.
        turns: of each process with each workload.
    """
    order = (head, base) if number % 2 else (base, head)
    samples: dict[tuple[str, str], list[float]] = {}
    with pair(*order, suite_run) as processes:
        names = processes[0].workloads
        for name in names:
            for process in processes:
                process.warm_up(name, WARM_UP_SECONDS)
        for turn in range(turns):
            for name in names:
                for process in processes[:: -1 if turn % 2 else 1]:
                    samples.setdefault((process.tree.side, name), []).extend(process.turn(name, TURN_SECONDS))
    times = {key: _lower_quartile(values) for key, values in samples.items()}
    return {name: (times["base", name], times["head", name]) for name in names}


def _lower_quartile(values: Sequence[float]) -> float:
    return sorted(values)[(len(values) - 1) // 4]


def judge(pairs: Sequence[Times], goal: ComparisonGoal) -> tuple[Change, ...]:
    """An interval and a decision for each workload.

    The logarithms of head / base, one for each pair, are symmetric around their centre: base and head are treated
    alike but for what we look for. Hence the signed-rank interval. The goal's level is that of all m intervals
    together, because each has 1 - (1 - level) / m (Bonferroni).
    """
    level = 1 - (1 - goal.level) / len(pairs[0])
    return tuple(_judge(name, [times[name] for times in pairs], level, goal) for name in pairs[0])


def _judge(workload: str, times: Sequence[tuple[float, float]], level: float, goal: ComparisonGoal) -> Change:
    logs = [math.log(head / base) for base, head in times]
    found = signed_rank_interval(logs, level)
    ratio = Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high))
    return Change(
        workload=workload,
        base_ms=statistics.median(base for base, _ in times),
        head_ms=statistics.median(head for _, head in times),
        ratio=ratio,
        level=level,
        pairs=len(times),
        spread=float(median_abs_deviation(logs, scale="normal")),
        decision=decide(ratio, goal),
    )


def decide(ratio: Interval, goal: ComparisonGoal) -> Decision:
    """Slower where the whole interval lies above 1 + ignore, faster where it lies below 1 - ignore.

    Otherwise nothing is shown. If the interval is as narrow as asked for, there is no difference larger than its
    farther end, which is at most about ignore + width; if not, it was not measured finely enough.
    """
    if ratio.low > 1 + goal.ignore:
        return Decision.SLOWER
    if ratio.high < 1 - goal.ignore:
        return Decision.FASTER
    return Decision.SAME if ratio.width <= goal.width else Decision.UNCLEAR
