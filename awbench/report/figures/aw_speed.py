"""The speed of one AW-convolution, executed every way, as ratios to the plain convolution."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from awbench.records import Record, Records
from awbench.report.aw_speed import describe_run, newest_runs, shape_name
from awbench.report.figures.picture import COLOURS, WIDTH_INCHES, Picture, style

_MOST_PICTURES = 4
_METHODS = ("auto", "grouped", "unfolded", "per_sample", "tapwise", "direct", "fused")
_MARKERS = dict(zip(_METHODS, "oXods^v", strict=True))


def aw_speed_pictures(records: Records) -> list[Picture]:
    """One for each device, setting and direction, the latest measured first; no more than four."""
    latest = sorted(newest_runs(records), key=lambda run: max(record.finished for record in run), reverse=True)
    return [_picture(number, run) for number, run in enumerate(latest[:_MOST_PICTURES], 1)]


def _picture(number: int, run: list[Record]) -> Picture:
    shapes = list(dict.fromkeys(shape_name(record) for record in run))
    settings = run[0].settings.json_object
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, 1.5 + 0.3 * len(shapes)), layout="constrained")
        picture = Picture(
            f"aw-speed-{number}",
            f"One 3x3 AW-convolution beside a plain one: {settings['device_name']}",
            f"{describe_run(run[0])}. Ratio to the plain convolution of the same shape within one run; 1 is the "
            "plain convolution. A ring: what auto chose by measurement.",
            figure,
        )
        axes = figure.subplots()
        handles: dict[str, Any] = {}
        for record in run:
            if record.variant in _METHODS and "ratio_to_plain" in record.values:
                (handles[record.variant],) = _point(axes, record, shapes.index(shape_name(record)))
                picture.mark(handles[record.variant], _words(record))
        axes.axvline(1, color="#999999", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(LogLocator(2))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
        axes.set_yticks(range(len(shapes)), shapes, fontsize=7.5)
        axes.set_ylim(len(shapes) - 0.5, -0.5)
        axes.set_xlabel("time / the plain convolution's")
        methods = [method for method in _METHODS if method in handles]
        figure.legend([handles[method] for method in methods], methods, loc="outside lower center", ncols=4)
    return picture


def _point(axes: Any, record: Record, place: int) -> Any:
    method = record.variant
    ring = {"markersize": 10, "markerfacecolor": "none"} if method == "auto" else {"markersize": 4.5}
    colour = COLOURS[_METHODS.index(method) % len(COLOURS)]
    return axes.plot(
        record.value("ratio_to_plain"), place, _MARKERS[method], color=colour, linestyle="none", zorder=3, **ring
    )


def _words(record: Record) -> str:
    low, ratio, high = (record.value(f"ratio_to_plain{part}") for part in ("_low", "", "_high"))
    executed = ", ".join(dict.fromkeys(record.environment["executed_as"].values()))
    method = f"{record.variant} ({executed})" if executed else record.variant
    return (
        f"{method} at {shape_name(record)}: {ratio:.3f} of plain ({low:.3f} to {high:.3f}), "
        f"{record.value('time_ms'):.2f} ms; {record.finished[:10]}"
    )
