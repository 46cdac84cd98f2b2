"""Latency as ratios to the plain network, with their intervals."""

from __future__ import annotations

from awbench.records import Record, Records
from awbench.report.figures.figure import Figure, colour_of, new_figure
from awbench.report.latency import describe_setting, newest_latencies, timing
from awbench.variants import list_variants, parse_variant

_MOST_FIGURES = 6


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
    return [_figure(number, group) for number, group in enumerate(compared[:_MOST_FIGURES], 1) if group]


def _figure(number: int, records: list[Record]) -> Figure:
    with new_figure(
        f"latency-{number}",
        f"Latency beside the plain network: {timing(records[0]).device_name}",
        f"{describe_setting(records[0])}. Ratio to the plain network of the same depth within one run, with its 95 % "
        "interval; 1 is the plain network.",
        1.0 + 0.19 * len(records),
    ) as figure:
        axes = figure.drawing.subplots()
        for place, record in enumerate(records):
            low, ratio, high = (record.value(f"ratio_to_plain{end}") for end in ("_low", "", "_high"))
            rounds = f", {record.value('rounds')} rounds" if "rounds" in record.values else ""
            colour = colour_of(parse_variant(record.variant).setting)
            axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
            (point,) = axes.plot(ratio, place, "o", color=colour, markersize=4)
            figure.describe(
                point,
                f"{record.variant}: {ratio:.3f} of {timing(record).over} ({low:.3f} to {high:.3f}), "
                f"{record.value('latency_ms'):.2f} ms{rounds}; {record.finished[:10]}",
            )
        axes.axvline(1, color="#999999", linewidth=0.8)
        axes.set_yticks(range(len(records)), [record.variant for record in records], fontsize=8)
        axes.set_ylim(len(records) - 0.4, -0.6)
        axes.set_xlabel("latency / the plain network's")
    return figure
