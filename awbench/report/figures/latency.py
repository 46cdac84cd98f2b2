"""Latency as ratios to the plain network, with their intervals."""

from __future__ import annotations

from matplotlib.figure import Figure

from awbench.records import Record, Records
from awbench.report.figures.picture import WIDTH_INCHES, Picture, colour_of, style
from awbench.report.latency import describe_setting, newest_latencies
from awbench.variants import parse_variant

_MOST_PICTURES = 6


def latency_pictures(records: Records) -> list[Picture]:
    """One for each device and setting, the latest measured first; no more than six."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in newest_latencies(records):
        task = parse_variant(record.variant).task
        groups.setdefault((record.settings["device_name"], describe_setting(record), task), []).append(record)
    latest = sorted(groups.items(), key=lambda item: max(record.finished for record in item[1]), reverse=True)
    return [
        _picture(number, device, setting, records)
        for number, ((device, setting, _), records) in enumerate(latest[:_MOST_PICTURES], 1)
        if any(record.variant != record.settings["over"] for record in records)
    ]


def _picture(number: int, device: str, setting: str, records: list[Record]) -> Picture:
    compared = [record for record in records if record.variant != record.settings["over"]]
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, 1.0 + 0.19 * len(compared)), layout="constrained")
        picture = Picture(
            f"latency-{number}",
            f"Latency beside the plain network: {device}",
            f"{setting}. Ratio to the plain network of the same depth within one run, with its 95 % interval; 1 is the "
            "plain network.",
            figure,
        )
        axes = figure.subplots()
        for place, record in enumerate(compared):
            values = {name: quantity.value for name, quantity in record.values.items()}
            low, ratio, high = (values[f"ratio_to_plain{part}"] for part in ("_low", "", "_high"))
            colour = colour_of(parse_variant(record.variant).setting)
            axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
            (point,) = axes.plot(ratio, place, "o", color=colour, markersize=4)
            picture.mark(
                point,
                f"{record.variant}: {ratio:.3f} of {record.settings['over']} ({low:.3f} to {high:.3f}), "
                f"{values['latency_ms']:.2f} ms, {values['rounds']} rounds; {record.finished[:10]}",
            )
        axes.axvline(1, color="#999999", linewidth=0.8)
        axes.set_yticks(range(len(compared)), [record.variant for record in compared], fontsize=7.5)
        axes.set_ylim(len(compared) - 0.4, -0.6)
        axes.set_xlabel("latency / the plain network's")
    return picture
