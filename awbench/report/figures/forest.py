"""Forest plots: a value and its interval a row, with the numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from awbench.report.figures.figure import BAND, SOFT, Figure

_WIDEST = 4  # times the narrowest interval of a plot, or the band that matters: wider ones are hollow and clipped
_MARGIN = 0.05  # of the axis, beyond what it must show


@dataclass(frozen=True)
class ForestRow:
    """A row.

    Attributes:
        label: what the value is of.
        shown: the value and its interval, or why there is none, as text.
        value, low, high: None for a row without a value; ends None for a value without an interval.
        colour: of the point and its interval.
        text: where the value comes from.
        band: the values that the row is compared with, e.g. the claimed gain and its margin, and their text.
        too_noisy: whether the interval says nothing by the measurement's own rule.
    """

    label: str
    shown: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    colour: str = SOFT
    text: str = ""
    band: tuple[float, float] | None = None
    band_text: str = ""
    too_noisy: bool = False

    @property
    def width(self) -> float | None:
        return self.high - self.low if self.low is not None and self.high is not None else None


def too_wide(rows: Sequence[ForestRow]) -> set[int]:
    """Places of the rows whose interval would leave no room for the others."""
    widths = [row.width for row in rows if row.width and not row.too_noisy]
    bands = [row.band[1] - row.band[0] for row in rows if row.band]
    widest = _WIDEST * max(min(widths, default=0), max(bands, default=0)) or math.inf
    return {place for place, row in enumerate(rows) if row.too_noisy or (row.width or 0) > widest}


def limits(rows: Sequence[ForestRow], reference: float) -> tuple[float, float]:
    """Ends of the axis: every value, band and interval that is not too wide, and the reference."""
    wide, seen = too_wide(rows), [reference]
    for place, row in enumerate(rows):
        seen += row.band or ()
        if row.value is not None and not row.too_noisy:
            seen.append(row.value)
        if place not in wide:
            seen += [end for end in (row.low, row.high) if end is not None]
    low, high = min(seen), max(seen)
    room = _MARGIN * (high - low) or 1.0
    return low - room, high + room


def draw_forest(
    figure: Figure,
    axes: Axes,
    rows: Sequence[ForestRow],
    reference: float,
    ends: tuple[float, float],
    stacked: bool = True,
) -> None:
    """Draw the rows from above.

    Args:
        reference: where nothing differs, a line.
        ends: of the axis; what lies beyond is clipped, with an arrow.
        stacked: labels above their intervals, for long ones; else at the axis.
    """
    wide = too_wide(rows)
    if not stacked:
        axes.axvline(reference, color=SOFT, linewidth=0.8)
    for place, row in enumerate(rows):
        if row.band:
            left, right = row.band
            bar = axes.barh(place, right - left, left=left, height=0.34 if stacked else 0.7, color=BAND, linewidth=0)[0]
            if row.band_text:
                figure.describe(bar, row.band_text)
        _draw_row(figure, axes, place, row, ends, hollow=place in wide)
        if stacked:
            axes.plot([reference] * 2, [place - 0.2, place + 0.2], color=SOFT, linewidth=0.8, zorder=1)
            on_axis: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
            axes.text(0, place - 0.4, row.label, ha="left", **on_axis)
            axes.text(1, place - 0.4, row.shown, ha="right", **on_axis)
        else:
            axes.text(1.02, place, row.shown, ha="left", va="center", transform=axes.get_yaxis_transform())
    axes.set_xlim(ends)
    axes.set_ylim(len(rows) - (0.7 if stacked else 0.4), -0.65)
    axes.set_yticks([] if stacked else range(len(rows)), [] if stacked else [row.label for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _draw_row(figure: Figure, axes: Axes, place: int, row: ForestRow, ends: tuple[float, float], hollow: bool) -> None:
    if row.value is None:
        return
    first, last = ends
    if row.low is not None and row.high is not None:
        low, high = max(row.low, first), min(row.high, last)
        axes.plot([low, high], [place] * 2, color=row.colour, linewidth=1.6, alpha=0.6 if hollow else 1)
        for end, inside, arrow in ((row.low, low, "<"), (row.high, high, ">")):
            if end != inside:
                axes.plot(inside, place, arrow, color=row.colour, markersize=5, clip_on=False)
    at = min(max(row.value, first), last)
    face = "#ffffff" if hollow else row.colour
    (point,) = axes.plot(
        at, place, "o", color=row.colour, markerfacecolor=face, markersize=5, linestyle="none", clip_on=False
    )
    figure.describe(point, row.text)
