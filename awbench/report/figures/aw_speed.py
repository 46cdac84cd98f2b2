"""The speed of one AW-convolution, executed every way, as ratios to the plain convolution."""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import FuncFormatter, LogLocator

from awbench.records import Record, Records
from awbench.report.aw_speed import describe_run, executed_as, newest_runs, shape_name, shown_method, timing
from awbench.report.figures.figure import COLOURS, SOFT, Figure, new_figure

_MOST_FIGURES = 4
_METHODS = ("auto", "grouped", "unfolded", "per_sample", "tapwise", "direct", "blocked", "fused")
_MARKERS = dict(zip(_METHODS, "oXods^Pv", strict=True))


def aw_speed_figures(records: Records) -> list[Figure]:
    """One for each device, setting and direction, the latest measured first; no more than four."""
    latest = sorted(newest_runs(records), key=lambda run: max(record.finished for record in run), reverse=True)
    return [_figure(number, run) for number, run in enumerate(latest[:_MOST_FIGURES], 1)]


def _figure(number: int, run: list[Record]) -> Figure:
    shapes = list(dict.fromkeys(shape_name(record) for record in run))
    with new_figure(
        f"aw-speed-{number}",
        f"One 3x3 AW-convolution beside a plain one: {timing(run[0]).device_name}",
        f"{describe_run(run[0])}. Ratio to the plain convolution of the same shape within one run; 1 is the "
        "plain convolution. A ring: what auto chose by measurement.",
        1.5 + 0.3 * len(shapes),
    ) as figure:
        axes = figure.drawing.subplots()
        handles: dict[str, Any] = {}
        for record in run:
            if record.variant in _METHODS and "ratio_to_plain" in record.values:
                (handles[record.variant],) = _point(axes, record, shapes.index(shape_name(record)))
                figure.describe(handles[record.variant], _text(record))
        axes.axvline(1, color=SOFT, linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(LogLocator(2))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
        axes.set_yticks(range(len(shapes)), shapes)
        axes.set_ylim(len(shapes) - 0.5, -0.5)
        axes.set_xlabel("time / the plain convolution's")
        methods = [method for method in _METHODS if method in handles]
        titles = [method.replace("_", " ") for method in methods]
        figure.drawing.legend([handles[method] for method in methods], titles, loc="outside lower center", ncols=4)
    return figure


def _point(axes: Any, record: Record, place: int) -> Any:
    method = record.variant
    ring = {"markersize": 10, "markerfacecolor": "none"} if method == "auto" else {"markersize": 4.5}
    colour = COLOURS[_METHODS.index(method) % len(COLOURS)]
    return axes.plot(
        record.value("ratio_to_plain"), place, _MARKERS[method], color=colour, linestyle="none", zorder=3, **ring
    )


def _text(record: Record) -> str:
    low, ratio, high = (record.value(f"ratio_to_plain{end}") for end in ("_low", "", "_high"))
    return (
        f"{shown_method(record.variant, executed_as(record))} at {shape_name(record)}: {ratio:.3f} of plain "
        f"({low:.3f} to {high:.3f}), {record.value('time_ms'):.2f} ms; {record.finished[:10]}"
    )
