"""Latency as ratios to the plain network, with their intervals: a panel for each network."""

from __future__ import annotations

from awbench.records import Record, Records
from awbench.report.figures.figure import Figure, colour_of, new_figure
from awbench.report.figures.forest import ForestRow, draw_forest, forest_key, limits
from awbench.report.figures.runs import network_label
from awbench.report.latency import describe_setting, newest_latencies, timing
from awbench.report.names import architecture_title
from awbench.variants import list_variants, parse_variant
from awbench.verdicts.latency import is_too_noisy

_MOST_FIGURES = 6
_LONG = 12  # letters of a label, from which on it stands above its row
_RATIO = "ratio_to_plain"


def latency_figures(records: Records) -> list[Figure]:
    """One for each device and setting, the latest measured first; no more than six."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    known = {variant.name: variant.task for variant in list_variants()}
    for record in newest_latencies(records):
        if record.variant not in known:  # of another version
            continue
        task = known[record.variant]
        groups.setdefault((timing(record).device_name, describe_setting(record), task), []).append(record)
    latest = sorted(groups.values(), key=lambda group: max(record.finished for record in group), reverse=True)
    compared = [[record for record in group if record.variant != timing(record).over] for group in latest]
    usable = [group for group in compared if any(not is_too_noisy(record) for record in group)]
    names = [f"latency-{describe_setting(group[0])}" for group in usable]
    again = [names[:place].count(name) for place, name in enumerate(names)]  # on another device, of another task
    named = [f"{name}-{times + 1}" if times else name for name, times in zip(names, again, strict=True)]
    return [_figure(name, group) for name, group in list(zip(named, usable, strict=True))[:_MOST_FIGURES]]


def _figure(name: str, records: list[Record]) -> Figure:
    panels: dict[str, list[ForestRow]] = {}
    for record in sorted(records, key=lambda record: parse_variant(record.variant).architecture.depth):
        panels.setdefault(parse_variant(record.variant).architecture_name, []).append(_row(record))
    every_row = [row for rows in panels.values() for row in rows]
    ends = limits(every_row, 1)
    stacked = any(len(row.label) > _LONG for row in every_row)
    each = 0.42 if stacked else 0.18  # inches of a row
    with new_figure(
        name,
        f"Latency beside the plain network, {describe_setting(records[0])}",
        f"{timing(records[0]).device_name}. Ratio to the plain network of the same depth within one run, with its 95 % "
        "interval; 1 is the plain network. Hollow: too noisy to say anything.",
        0.6 + sum(0.34 + each * len(rows) for rows in panels.values()),
    ) as figure:
        heights = [1 + len(rows) for rows in panels.values()]
        drawn = figure.drawing.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (architecture, rows) in zip(drawn, panels.items(), strict=True):
            draw_forest(figure, axes, rows, 1, ends, stacked)
            axes.set_title(architecture_title(architecture), loc="left", fontweight="bold", pad=3)
        drawn[-1].set_xlabel("latency / the plain network's")
        forest_key(figure, panels.values(), ends)
    return figure


def _row(record: Record) -> ForestRow:
    low, ratio, high = (float(record.value(f"{_RATIO}{end}")) for end in ("_low", "", "_high"))
    setting = parse_variant(record.variant).setting
    rounds = f", {record.value('rounds')} rounds" if "rounds" in record.values else ""
    noisy = is_too_noisy(record)
    return ForestRow(
        label=network_label(record),
        shown=f"{ratio:.2f}{', too noisy' if noisy else ''}",
        value=ratio,
        low=low,
        high=high,
        colour=colour_of(setting),
        text=f"{record.variant}: {ratio:.3f} of {timing(record).over} ({low:.3f} to {high:.3f}), "
        f"{record.value('latency_ms'):.2f} ms{rounds}; {record.finished[:10]}",
        too_noisy=noisy,
    )
