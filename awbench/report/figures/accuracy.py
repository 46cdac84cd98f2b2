"""Accuracy and AP against multiply-accumulates: what was published, and what was measured here."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from awbench.recipes.datasets import DATASET_FACTS
from awbench.recipes.defaults import ENGINES
from awbench.records import Record, Records
from awbench.records.settings import GivenWeights, Training
from awbench.reference.load import References
from awbench.reference.metrics import CLAIM_DATASETS
from awbench.report.answers import shown_length
from awbench.report.complexity import COUNTED_AT
from awbench.report.figures.figure import Figure, colour_of, new_figure
from awbench.report.figures.runs import runs_alike
from awbench.variants import ModelOptions, Variant, list_variants, parse_variant
from awbench.verdicts.counts import ComplexityIndex, CountedNetwork, Setting
from awbench.verdicts.measured import IMAGENET_VAL_IMAGES, digits_runs
from awbench.verdicts.protocol import has_default_options
from awbench.verdicts.runs import by_seed


@dataclass(frozen=True)
class _Point:
    """One network: its multiply-accumulates in G, the metric and its run-to-run standard deviation, and where from."""

    variant: Variant
    gmacs: float
    value: float
    deviation: float
    here: bool
    text: str


def accuracy_figures(records: Records, references: References) -> list[Figure]:
    """ImageNet top-1, COCO AP, and the proxy's top-1; those that have nothing to show are left out."""
    index = ComplexityIndex(records.of_kind("complexity"))
    imagenet = [
        record
        for record in records.of_kind("accuracy")
        if _dataset(record) == "imagenet" and record.value("images") == IMAGENET_VAL_IMAGES
    ]
    complete = (r for r in records.of_kind("detection") if getattr(r.settings, "complete", False))
    coco = [record for record in complete if _dataset(record) == "coco"]
    operations = "Multiply-accumulates leave elementwise work out; the text of each point has its multiplications."
    hollow = (
        "Hollow: published, by recipes that differ between sources, so that heights compare only within a source. "
        "Filled: measured here. Lines: one standard deviation between runs. " + operations
    )
    proxy = (
        "A proxy: handwritten digits of 8x8 pixels; it shows that every variant trains, and is no evidence on "
        f"ImageNet. {operations}"
    )
    figures = [
        _figure(
            "accuracy",
            "ImageNet top-1 against multiply-accumulates",
            hollow,
            "top-1 (%)",
            [*_published(references, index, "top1"), *_measured(imagenet, index, "top1")],
        ),
        _figure(
            "average-precision",
            "COCO box AP against multiply-accumulates",
            hollow,
            "box AP",
            [*_published(references, index, "box_ap"), *_measured(coco, index, "box_ap")],
        ),
        _figure(
            "digits",
            "Digits (a proxy): top-1 against multiply-accumulates",
            proxy,
            "top-1 (%)",
            _measured(digits_runs(records), index, "top1"),
        ),
    ]
    return [figure for figure in figures if figure.data]


def _dataset(record: Record) -> str:
    return record.settings.dataset if isinstance(record.settings, Training | GivenWeights) else ""


def _counted(index: ComplexityIndex, variant: Variant, placement: str = "v1.5") -> CountedNetwork | None:
    if variant.task == "classification":
        return index.get(variant.name, placement, variant.architecture.image_size)
    size, proposals = COUNTED_AT
    settings = (Setting(placement, size, engine, proposals) for engine in ENGINES)
    return next(filter(None, (index.get_detector(variant.name, setting) for setting in settings)), None)


def _operations(counted: CountedNetwork, variant: Variant) -> str:
    """E.g. "4.091 GMAC, 11.3 M elementwise multiplications"."""
    elementwise = counted.elementwise(variant)
    shown = "unknown" if elementwise is None else f"{elementwise / 1e6:.1f} M"
    return f"{counted.values['macs'] / 1e9:.3f} GMAC, {shown} elementwise multiplications"


def _published(references: References, index: ComplexityIndex, metric: str) -> list[_Point]:
    points = []
    for number in references.numbers:
        if number.network or number.metric not in (metric, f"{metric}_error"):
            continue
        if CLAIM_DATASETS.get(number.dataset, "") not in ("", "imagenet", "coco"):
            continue
        variant = parse_variant(number.variant)
        placement = getattr(number.convention, "stride_placement", "unknown")
        counted = _counted(index, variant, "v1.5" if placement == "unknown" else placement)
        if counted is None:
            continue
        value = float(number.value) if number.metric == metric else 100 - float(number.value)
        which = " ".join(filter(None, (number.weights, number.schedule)))
        text = f"{number.variant}: {value:g} published by {number.source}{f' ({which})' if which else ''}"
        text = f"{text}, {number.provenance}; {_operations(counted, variant)}"
        points.append(_Point(variant, counted.values["macs"] / 1e9, value, 0.0, False, text))
    return points


def _measured(records: Iterable[Record], index: ComplexityIndex, metric: str) -> list[_Point]:
    """The mean over seeds for each network with default options and each protocol or file of weights."""
    known = {variant.name for variant in list_variants()}
    points = []
    for group in runs_alike(r for r in records if r.variant in known and metric in r.values):
        record, variant, placement = group[0], parse_variant(group[0].variant), group[0].options["stride_placement"]
        counted = _counted(index, variant, placement)
        if counted is None or not has_default_options(record, ModelOptions(stride_placement=placement)):
            continue
        trained = isinstance(record.settings, Training)
        runs = list(by_seed(group).values()) if trained else [max(group, key=lambda record: record.finished)]
        values = [float(run.value(metric)) for run in runs]
        mean, deviation = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
        text = f"{variant.name}: {mean:.3f} measured here, {_origin(record)}, {len(values)} run(s)"
        text += f", standard deviation {deviation:.3f}" if len(values) > 1 else ""
        text = f"{text}; {_operations(counted, variant)}"
        points.append(_Point(variant, counted.values["macs"] / 1e9, mean, deviation, True, text))
    return points


def _origin(record: Record) -> str:
    """E.g. "recipe cbam, 100 epochs", or the name of a file of weights."""
    settings = record.settings
    if not isinstance(settings, Training):
        return settings.weights if isinstance(settings, GivenWeights) else ""
    facts, images = DATASET_FACTS.get(settings.dataset), record.environment.get("train_images")
    partly = facts is not None and type(images) is int and images != facts.train_images
    trained_on = f", on {images:,} of {facts.train_images:,} training images" if facts and partly else ""
    return f"recipe {settings.recipe.name}, {shown_length(settings.recipe.json_object)}{trained_on}"


def _figure(name: str, title: str, caption: str, label: str, points: list[_Point]) -> Figure:
    with new_figure(name, title, caption, 3.9) as figure:
        axes = figure.drawing.subplots()
        drawn: dict[str, Any] = {}
        for point in points:
            colour = colour_of(point.variant.setting)
            if point.deviation:
                ends = [point.value - point.deviation, point.value + point.deviation]
                axes.plot([point.gmacs] * 2, ends, color=colour, linewidth=1.2)
            face = colour if point.here else "none"
            (point_drawn,) = axes.plot(
                point.gmacs, point.value, "o", markersize=6, markeredgecolor=colour, markerfacecolor=face, linestyle=""
            )
            figure.describe(point_drawn, point.text)
            drawn.setdefault(point.variant.setting, point_drawn)
        axes.margins(0.08)
        axes.set_xlabel("multiply-accumulates of one image (G)")
        axes.set_ylabel(label)
        figure.add_legend(drawn)
    return figure
