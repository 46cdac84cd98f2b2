"""The answers that an interval gives: is there a gain, and is it the claimed one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from awbench.verdicts.interval import Interval

Gain = Literal["gain", "loss", "no difference that matters", "undecided"]
Size = Literal["as claimed", "less", "more", "undecided"]


@dataclass(frozen=True)
class Claimed:
    """A claimed gain. Attributes: value, margin, in the metric's unit: value +- margin still counts as it."""

    value: float
    margin: float

    @property
    def low(self) -> float:
        return self.value - self.margin

    @property
    def high(self) -> float:
        return self.value + self.margin


def answer_gain(interval: Interval, matters: float | None = None) -> Gain:
    """Whether there is a gain: the whole interval is above 0.

    Args:
        matters: the smallest difference that matters; an interval within +- that says that there is none.
    """
    if interval.low > 0:
        return "gain"
    if interval.high < 0:
        return "loss"
    if matters is not None and -matters <= interval.low and interval.high <= matters:
        return "no difference that matters"
    return "undecided"


def answer_size(interval: Interval, claimed: Claimed) -> Size:
    """Whether the gain is the claimed one: the interval lies within value +- margin, or beyond one of its ends.

    Less and more are in the direction of the claim: of a claimed loss, less is nearer to 0.
    """
    if claimed.low <= interval.low and interval.high <= claimed.high:
        return "as claimed"
    if interval.high < claimed.low or interval.low > claimed.high:
        nearer_zero = (interval.high < claimed.low) == (claimed.value >= 0)
        return "less" if nearer_zero else "more"
    return "undecided"


def is_compatible(interval: Interval, runs: tuple[int, int], published: float, level: float = 0.95) -> bool:
    """Whether one more pair of single runs, as a publication's usually is, may well lie where it says.

    The published gain is inside the prediction interval gain +- t * s * sqrt(1/n + 1/m + 1 + 1).

    Args:
        runs: of the network and of its baseline.
        published: the gain of the publication.
    """
    from scipy.special import stdtrit

    n, m = runs
    reach = float(stdtrit(interval.freedom, (1 + level) / 2)) * interval.deviation * math.sqrt(1 / n + 1 / m + 2)
    return abs(published - interval.value) <= reach


def interval_of_maximum(together: Sequence[Interval], alone: Sequence[Interval]) -> Interval:
    """Of the largest of several gains: it is at least each lower end, and at most the largest upper one.

    That a lower end is too high may happen in any pair; that all upper ends are too low in the best pair alone, so that
    they need no correction for the others (Berger, Technometrics 24, 1982).

    Args:
        together: the intervals of the gains that hold together.
        alone: those that hold each by itself, in the same order.
    """
    best = max(together, key=lambda interval: interval.value)
    return Interval(
        best.value,
        max(interval.low for interval in together),
        max(interval.high for interval in alone),
        best.level,
        best.deviation,
        best.freedom,
        best.pooled,
        best.floored,
    )
