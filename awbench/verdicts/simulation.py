"""Studies simulated by the rules that judge them: how often an answer is wrong, and after how many runs there is one.

The intervals are those of `awbench.verdicts.interval`, computed for thousands of made-up studies at once, so what is
simulated is what judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from awbench.verdicts.answers import Claimed
from awbench.verdicts.interval import half_width, runs_to_pool, simultaneous
from awbench.verdicts.looks import look_levels

Draw = Callable[[np.random.Generator, tuple[int, ...]], Any]


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Deviations of runs in units of their standard deviation: a normal law."""
    return random.standard_normal(shape)


def skewed(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """An exponential law turned around: most runs a little above the mean, a few far below. Skewness -2."""
    return 1 - random.exponential(1.0, shape)


_HEADLINE = Claimed(1.0, 0.5)


@dataclass(frozen=True)
class Design:
    """What of a study its error rates depend on.

    Attributes:
        looks: at so many runs of each network it is judged.
        pairs: of networks, that its question speaks of.
        others: further networks, which only say how far runs deviate.
        level: at which all intervals hold together.
        claimed: the gain that is claimed, and how far from it still counts as it.
        up_to: whether the claim is about the largest gain of the pairs; else about each.
    """

    looks: tuple[int, ...]
    pairs: int = 1
    others: int = 0
    level: float = 0.95
    claimed: Claimed = _HEADLINE
    up_to: bool = False


@dataclass(frozen=True)
class Simulated:
    """Rates over simulated studies.

    Attributes:
        wrong: that any answer at any look is wrong: a gain where there is none, a size that is another.
        missed: that any interval at any look misses the true gain.
        answers: size of the gain -> how often the study ends with it, at the first look that answers or at the last.
        runs: mean number of runs of each network when it ends.
        decided_by: for each look, how often the claimed size was answered until then.
    """

    wrong: float
    missed: float
    answers: dict[str, float]
    runs: float
    decided_by: tuple[float, ...]


SIZES = ("undecided", "as claimed", "less", "more")


def simulate(
    design: Design,
    gains: Sequence[float],
    deviations: Sequence[float],
    studies: int = 10_000,
    seed: int = 0,
    draw: Draw = normal,
    shared: float = 0.0,
) -> Simulated:
    """Simulate studies of a design.

    Args:
        gains: true gain of each pair.
        deviations: standard deviation between runs of each network: treated and baseline of each pair, then others.
        draw: the law of a run.
        shared: standard deviation of what all runs of a network have in common and a replication would draw anew, as
            one backbone that all seeds start from.
    """
    random = np.random.default_rng(seed)
    networks, most = 2 * design.pairs + design.others, design.looks[-1]
    runs = draw(random, (studies, networks, most)) * np.asarray(deviations, float)[:networks, None]
    runs += shared * random.standard_normal((studies, networks, 1))
    runs[:, 0 : 2 * design.pairs : 2] += np.asarray(gains, float)[:, None]
    pair_level = simultaneous(design.level, design.pairs)
    levels = [look_levels(level, design.looks) for level in (pair_level, design.level)]
    true = np.asarray(gains, float)
    truth = _sizes(true.max() if design.up_to else true, true.max() if design.up_to else true, design.claimed)
    wrong, missed = np.zeros(studies, bool), np.zeros(studies, bool)
    answer, ended = np.zeros(studies, int), np.full(studies, most)
    decided_by = []
    for number, count in enumerate(design.looks):
        values, reach, alone = _intervals(design, runs, count, [each[number] for each in levels])
        low, high = values - reach, values + reach
        missed |= ((true < low) | (true > high)).any(axis=1)
        wrong |= ((low > 0) & (true <= 0)).any(axis=1) | ((high < 0) & (true >= 0)).any(axis=1)
        if design.up_to:
            sizes = _sizes(low.max(axis=1), (values + alone).max(axis=1), design.claimed)
            wrong |= (sizes != 0) & (sizes != truth)
        else:
            each = _sizes(low, high, design.claimed)
            wrong |= ((each != 0) & (each != truth)).any(axis=1)
            sizes = np.where((each == each[:, :1]).all(axis=1), each[:, 0], 0)
        first = (answer == 0) & (sizes != 0)
        answer[first], ended[first] = sizes[first], count
        decided_by.append(float((answer != 0).mean()))
    answers = {name: float((answer == number).mean()) for number, name in enumerate(SIZES)}
    return Simulated(float(wrong.mean()), float(missed.mean()), answers, float(ended.mean()), tuple(decided_by))


def _intervals(design: Design, runs: Any, count: int, levels: Sequence[float]) -> Iterator[Any]:
    """The gain of each pair at a look, then half its interval's width at each of the levels; all (studies, pairs).

    Args:
        runs: all there will be.
        count: those of each network of the pair that are looked at.
    """
    sides = [slice(side, 2 * design.pairs, 2) for side in (0, 1)]
    x, y = (runs[:, side, :count].var(axis=2, ddof=1) for side in sides)
    to_pool, others = runs_to_pool(design.looks), runs.shape[1] - 2
    pooled = runs[:, :, :to_pool].var(axis=2, ddof=1)
    rest = pooled.sum(axis=1, keepdims=True) - sum(pooled[:, side] for side in sides)
    means = runs[:, :, :count].mean(axis=2)
    yield means[:, sides[0]] - means[:, sides[1]]
    for level in levels:
        yield half_width(count, count, x, y, rest / max(others, 1), others * (to_pool - 1), level)[0]


def _sizes(low: Any, high: Any, claimed: Claimed) -> Any:
    """Index into SIZES, as `awbench.verdicts.answers.answer_size` gives it for a claimed gain above 0."""
    inside = (claimed.low <= low) & (high <= claimed.high)
    return np.where(inside, 1, np.where(high < claimed.low, 2, np.where(low > claimed.high, 3, 0)))
