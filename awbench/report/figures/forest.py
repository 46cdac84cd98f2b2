"""Forest plots: a value and its interval a row, with the numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

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
    # A value too noisy is in its place too, unless the others would be squeezed.
    reach = high - low
    noisy = [row.value for row in rows if row.too_noisy and row.value is not None]
    near = [value for value in noisy if low - reach <= value <= high + reach]
    low, high = min([low, *near]), max([high, *near])
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
            beside: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
            axes.annotate(row.shown, (1, place), (8, 0), ha="left", va="center", **beside)
    axes.set_xlim(ends)
    axes.set_ylim(len(rows) - (0.7 if stacked else 0.4), -0.65)
    axes.set_yticks([] if stacked else range(len(rows)), [] if stacked else [row.label for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def forest_key(
    figure: Figure, panels: Collection[Sequence[ForestRow]], ends: tuple[float, float], band: str = ""
) -> None:
    """A legend of the marks that need one and that the rows have.

    Args:
        panels: rows that were drawn together.
        ends: of the axis.
        band: what the bands are.
    """
    handles: dict[str, Any] = {}
    rows = [row for panel in panels for row in panel]
    wide = [panel[place] for panel in panels for place in too_wide(panel)]
    if any(row.band for row in rows):
        handles[band] = Patch(color=BAND)
    point: dict[str, Any] = {"color": SOFT, "markersize": 5}
    if any(row.value is not None and ends[0] <= row.value <= ends[1] for row in wide):
        handles["hollow: too wide an interval to say anything"] = Line2D(
            [], [], marker="o", markerfacecolor="#ffffff", linestyle="", **point
        )
    if any(_leaves(row, ends) for row in rows):
        handles["arrow: goes on beyond the axis"] = Line2D([], [], marker=">", linestyle="-", linewidth=1.6, **point)
    if handles:
        figure.add_labels(handles)


def _leaves(row: ForestRow, ends: tuple[float, float]) -> bool:
    known = [end for end in (row.low, row.value, row.high) if end is not None]
    return bool(known) and (min(known) < ends[0] or max(known) > ends[1])


def _draw_row(figure: Figure, axes: Axes, place: int, row: ForestRow, ends: tuple[float, float], hollow: bool) -> None:
    if row.value is None:
        return
    first, last = ends
    arrow: dict[str, Any] = {"color": row.colour, "markersize": 5, "clip_on": False, "linestyle": "none"}
    arrow["markerfacecolor"] = "#ffffff" if hollow and not first <= row.value <= last else row.colour
    marks = []
    if row.low is not None and row.high is not None:
        low, high = (min(max(end, first), last) for end in (row.low, row.high))
        axes.plot([low, high], [place] * 2, color=row.colour, linewidth=1.6, alpha=0.6 if hollow else 1)
    reached = [end for end in (row.low, row.value, row.high) if end is not None]
    for beyond, end, shape in ((min(reached) < first, first, "<"), (max(reached) > last, last, ">")):
        if beyond:
            marks += axes.plot(end, place, shape, **arrow)
    if first <= row.value <= last:
        face = "#ffffff" if hollow else row.colour
        marks = axes.plot(
            row.value, place, "o", color=row.colour, markerfacecolor=face, markersize=5, linestyle="none", clip_on=False
        )
    figure.describe(marks[-1], row.text)  # of a value beyond the axis, the arrow that points at it
