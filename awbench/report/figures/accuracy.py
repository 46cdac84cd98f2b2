"""Accuracy and AP against multiply-accumulates: what was published, and what was measured here."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.report.complexity import COUNTED_AT
from awbench.report.figures.picture import WIDTH_INCHES, Picture, add_legend, colour_of, style
from awbench.variants import ModelOptions, Variant, list_variants, parse_variant
from awbench.verdicts.claims import training_way
from awbench.verdicts.complexity import ComplexityIndex, Setting
from awbench.verdicts.evidence import IMAGENET_VAL_IMAGES, by_seed, digits_runs, has_default_options


@dataclass(frozen=True)
class _Point:
    """Of a network: multiply-accumulates in G, the metric with its standard deviation over runs, and whose it is."""

    variant: Variant
    gmacs: float
    value: float
    deviation: float
    here: bool
    words: str


def accuracy_pictures(records: Records, references: References) -> list[Picture]:
    """ImageNet top-1, COCO AP, and the proxy's top-1; those that have nothing to show are left out."""
    index = ComplexityIndex(records.of_kind("complexity"))
    imagenet = [*_published(references, index, "top1"), *_measured_top1(records, index)]
    coco = [*_published(references, index, "box_ap"), *_measured_ap(records, index)]
    hollow = (
        "Hollow: published, by recipes that differ between sources, so that heights compare only within a source. "
        "Filled: measured here. Lines: one standard deviation between runs."
    )
    proxy = (
        "A proxy: handwritten digits of 8x8 pixels; it shows that every variant trains, and is no evidence on ImageNet."
    )
    drawn = [
        ("accuracy", "ImageNet top-1 against multiply-accumulates", hollow, "top-1 (%)", imagenet),
        ("average-precision", "COCO box AP against multiply-accumulates", hollow, "box AP", coco),
        ("digits", "Digits (a proxy): top-1 against multiply-accumulates", proxy, "top-1 (%)", _digits(records, index)),
    ]
    return [_picture(*parts) for parts in drawn if parts[-1]]


def _gmacs(index: ComplexityIndex, variant: Variant, placement: str = "v1.5") -> float | None:
    if variant.task == "classification":
        counted = index.get(variant.name, placement, variant.architecture.image_size)
    else:
        size, proposals = COUNTED_AT
        settings = (Setting(placement, size, engine, proposals) for engine in ("detectron2", "torchvision"))
        counted = next(filter(None, (index.get_detector(variant.name, setting) for setting in settings)), None)
    return counted.values["macs"] / 1e9 if counted else None


def _published(references: References, index: ComplexityIndex, metric: str) -> list[_Point]:
    points = []
    for number in references.numbers:
        if number.network or number.metric not in (metric, f"{metric}_error"):
            continue
        variant = parse_variant(number.variant)
        placement = getattr(number.convention, "stride_placement", "unknown")
        gmacs = _gmacs(index, variant, "v1.5" if placement == "unknown" else placement)
        if gmacs is None:
            continue
        value = float(number.value) if number.metric == metric else 100 - float(number.value)
        which = " ".join(part for part in (number.weights, number.schedule) if part)
        words = f"{number.variant}: {value:g} published by {number.source}{f' ({which})' if which else ''}"
        points.append(_Point(variant, gmacs, value, 0.0, False, f"{words}, {number.standing}; {gmacs:.3f} GMAC"))
    return points


def _measured_top1(records: Records, index: ComplexityIndex) -> list[_Point]:
    whole = [
        record
        for record in records.of_kind("accuracy")
        if record.settings["dataset"] == "imagenet" and record.value("images") == IMAGENET_VAL_IMAGES
    ]
    return _grouped(whole, index, "top1")


def _measured_ap(records: Records, index: ComplexityIndex) -> list[_Point]:
    whole = [
        record
        for record in records.of_kind("detection")
        if record.settings["dataset"] == "coco" and record.settings.get("complete") and "box_ap" in record.values
    ]
    return _grouped(whole, index, "box_ap")


def _digits(records: Records, index: ComplexityIndex) -> list[_Point]:
    return _grouped(digits_runs(records), index, "top1")


def _grouped(records: Iterable[Record], index: ComplexityIndex, metric: str) -> list[_Point]:
    """The mean over seeds for each network with default options and each way of training or file of weights."""
    known = {variant.name for variant in list_variants()}
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        if record.variant not in known:
            continue
        placement = record.options["stride_placement"]
        if has_default_options(record, ModelOptions(stride_placement=placement)):
            name = str(record.settings.get("weights") or f"recipe {record.settings['recipe']['name']}")
            way = json.dumps(training_way(record), sort_keys=True)  # a changed recipe keeps its name
            groups.setdefault((record.variant, placement, name, way), []).append(record)
    points = []
    for (name, placement, way, _), of in groups.items():
        variant = parse_variant(name)
        gmacs = _gmacs(index, variant, placement)
        if gmacs is None:
            continue
        seeded = all("seed" in record.settings for record in of)
        runs = list(by_seed(of).values()) if seeded else [max(of, key=lambda record: record.finished)]
        values = [float(record.value(metric)) for record in runs]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        words = f"{name}: {statistics.fmean(values):.3f} measured here, {way}, {len(values)} run(s)"
        words += f", standard deviation {deviation:.3f}" if len(values) > 1 else ""
        points.append(_Point(variant, gmacs, statistics.fmean(values), deviation, True, f"{words}; {gmacs:.3f} GMAC"))
    return points


def _picture(name: str, title: str, caption: str, label: str, points: list[_Point]) -> Picture:
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, 3.9), layout="constrained")
        picture = Picture(name, title, caption, figure)
        axes = figure.subplots()
        drawn: dict[str, Any] = {}
        for point in points:
            colour = colour_of(point.variant.setting)
            if point.deviation:
                ends = [point.value - point.deviation, point.value + point.deviation]
                axes.plot([point.gmacs] * 2, ends, color=colour, linewidth=1.2)
            face = colour if point.here else "none"
            (mark,) = axes.plot(
                point.gmacs, point.value, "o", markersize=6, markeredgecolor=colour, markerfacecolor=face, linestyle=""
            )
            picture.mark(mark, point.words)
            drawn.setdefault(point.variant.setting, mark)
        axes.margins(0.08)
        axes.set_xlabel("multiply-accumulates of one image (G)")
        axes.set_ylabel(label)
        add_legend(figure, drawn)
    return picture
