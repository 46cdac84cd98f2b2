"""What publications report that attention adds to the plain network, and what trainings here did, a row a source."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from awbench.recipes.datasets import DATASET_FACTS
from awbench.records import Record, Records
from awbench.records.settings import Training
from awbench.reference.load import References
from awbench.reference.metrics import CLAIM_DATASETS
from awbench.report.answers import shown_length
from awbench.report.figures.figure import BAND, SOFT, Figure, colour_of, new_figure
from awbench.report.figures.runs import runs_alike
from awbench.report.names import architecture_title, metric_title, setting_title
from awbench.variants import ModelOptions, Variant, list_settings, list_variants, parse_variant
from awbench.verdicts.measured import IMAGENET_VAL_IMAGES
from awbench.verdicts.protocol import has_default_options, training_protocol
from awbench.verdicts.runs import by_seed

# (name, title, dataset, metric, kind of its records)
_FIGURES = (
    ("published-imagenet", "ImageNet: what attention adds", "imagenet", "top1", "accuracy"),
    ("published-coco", "COCO: what attention adds to Faster R-CNN", "coco", "box_ap", "detection"),
)
_ABBREVIATIONS = {"aw": "AW", "cbam": "CBAM", "eca": "ECA", "senet": "SENet", "rg": "RG"}


@dataclass(frozen=True)
class _Point:
    """A network's gain over the plain one of its row, in points. Attributes: here, measured in this folder."""

    setting: str
    gain: float
    here: bool
    text: str


@dataclass(frozen=True)
class _Row:
    """What one source, or one protocol here, has of one architecture."""

    architecture: str
    label: str
    points: tuple[_Point, ...]


@dataclass(frozen=True)
class _Value:
    """A network's metric and where it is from."""

    variant: Variant
    value: float
    text: str


def published_figures(records: Records, references: References) -> list[Figure]:
    """ImageNet top-1, and COCO box AP; those that have nothing to show are left out."""
    figures = []
    for name, title, dataset, metric, kind in _FIGURES:
        runs = [record for record in records.of_kind(kind) if _is_complete(record, dataset)]
        rows = [*_claimed(references, dataset, metric), *_published(references, dataset, metric)]
        rows += _measured(runs, metric)
        if rows:
            figures.append(_figure(name, title, metric, rows))
    return figures


def _claimed(references: References, dataset: str, metric: str) -> Iterator[_Row]:
    for source, claim in references.claims:
        if (claim.dataset_name, claim.metric, claim.relation) != (dataset, metric, "equal"):
            continue
        for name, over in zip(*claim.sides, strict=True):
            variant = next((one for one in list_variants() if (one.name, one.plain) == (name, over)), None)
            if variant:
                text = f"{name}: {claim.delta:+} {claim.unit} over {over}, claimed by {source.id}, no numbers known"
                point = _Point(variant.setting, float(claim.delta), False, text)
                yield _Row(variant.architecture_name, f"{_words(source.id)}: claim", (point,))


def _published(references: References, dataset: str, metric: str) -> Iterator[_Row]:
    """A row for each source and architecture: of several versions the one with most networks, of equals the first."""
    versions: dict[tuple[str, str], dict[str, dict[str, _Value]]] = {}
    for number in references.numbers:
        if number.network or number.metric not in (metric, f"{metric}_error"):
            continue
        if CLAIM_DATASETS.get(number.dataset, dataset) != dataset:
            continue
        variant = parse_variant(number.variant)
        value = float(number.value) if number.metric == metric else 100 - float(number.value)
        version = " ".join(filter(None, (number.weights, number.schedule)))
        text = f"{number.variant}: {value:g} published by {number.source}{f' ({version})' if version else ''}"
        found = _Value(variant, value, f"{text}, {number.provenance}")
        of_source = versions.setdefault((number.source, variant.architecture_name), {})
        for each in (version, ""):  # versions that each have one network alone are compared all together
            of_source.setdefault(each, {}).setdefault(variant.setting, found)
    for (source, architecture), named in versions.items():
        alone = {version: found for version, found in named.items() if version}
        rows = [_row(architecture, _words(source), found, False) for found in alone.values()]
        rows = [row for row in rows if row.points] or [_row(architecture, _words(source), named[""], False)]
        best = max(rows, key=lambda row: len(row.points))
        if best.points:
            yield best


def _measured(records: Iterable[Record], metric: str) -> Iterator[_Row]:
    """A row for each architecture and protocol: means over seeds, of networks with default options."""
    known = {variant.name: variant for variant in list_variants()}
    found: dict[tuple[str, str], dict[str, _Value]] = {}
    for group in runs_alike(r for r in records if r.variant in known and metric in r.values):
        record, variant = group[0], known[group[0].variant]
        placement = record.options["stride_placement"]
        if not has_default_options(record, ModelOptions(stride_placement=placement)):
            continue
        values = [float(run.value(metric)) for run in by_seed(group).values()]
        protocol = json.dumps(training_protocol(record), sort_keys=True)
        text = (
            f"{variant.name}: {statistics.fmean(values):.3f} measured here, {_training(record)}, {len(values)} run(s)"
        )
        if len(values) > 1:
            text = f"{text}, standard deviation {statistics.stdev(values):.3f}"
        networks = found.setdefault((variant.architecture_name, protocol), {})
        networks[variant.setting] = _Value(variant, statistics.fmean(values), text)
    for (architecture, _), networks in found.items():
        row = _row(architecture, "measured here", networks, True)
        if row.points:
            yield row


def _row(architecture: str, label: str, values: dict[str, _Value], here: bool) -> _Row:
    """Gains over the plain network among the values; without one, none."""
    plain = values.get("plain")
    points = []
    for setting, found in values.items() if plain else ():
        if plain and setting != "plain":
            gain = found.value - plain.value
            points.append(_Point(setting, gain, here, f"{found.text}; {gain:+.2f} over {plain.text}"))
    return _Row(architecture, label, tuple(points))


def _is_complete(record: Record, dataset: str) -> bool:
    """Whether it is a training that was evaluated on all of the dataset's validation images."""
    if not isinstance(record.settings, Training) or record.settings.dataset != dataset:
        return False
    if record.kind == "accuracy":
        return bool(record.value("images") == IMAGENET_VAL_IMAGES)
    return bool(getattr(record.settings, "complete", False))


def _training(record: Record) -> str:
    """E.g. "recipe cbam, 100 epochs"."""
    settings = record.settings
    assert isinstance(settings, Training), "it was trained here"
    facts, images = DATASET_FACTS.get(settings.dataset), record.environment.get("train_images")
    partly = facts is not None and type(images) is int and images != facts.train_images
    trained_on = f", on {images:,} of {facts.train_images:,} training images" if facts and partly else ""
    return f"recipe {settings.recipe.name}, {shown_length(settings.recipe.json_object)}{trained_on}"


def _words(source: str) -> str:
    """E.g. "CBAM paper"."""
    return " ".join(_ABBREVIATIONS.get(word, word) for word in source.split("_"))


def _figure(name: str, title: str, metric: str, rows: list[_Row]) -> Figure:
    panels: dict[str, list[_Row]] = {}
    for row in sorted(rows, key=lambda row: parse_variant(row.architecture).architecture.depth):
        panels.setdefault(row.architecture, []).append(row)
    with new_figure(
        name,
        title,
        "Gain over the plain network of the same source, a line a source: numbers of different sources have different "
        "recipes and are not compared. Hollow: published, mostly single runs. Filled: mean of the runs here.",
        0.9 + sum(0.36 + 0.19 * len(of_panel) for of_panel in panels.values()),
    ) as figure:
        heights = [1.2 + len(of_panel) for of_panel in panels.values()]
        drawn = figure.drawing.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        handles: dict[str, Any] = {}
        for axes, (architecture, of_panel) in zip(drawn, panels.items(), strict=True):
            axes.axvline(0, color=SOFT, linewidth=0.8)
            for place, row in enumerate(of_panel):
                gains = [point.gain for point in row.points]
                axes.plot([min(0, *gains), max(0, *gains)], [place] * 2, color=BAND, linewidth=2, zorder=1)
                for point in sorted(row.points, key=lambda point: list_settings().index(point.setting)):
                    handles.setdefault(setting_title(point.setting), _draw(figure, axes, place, point))
            axes.set_title(architecture_title(architecture), loc="left", fontweight="bold", pad=3)
            axes.set_yticks(range(len(of_panel)), [row.label for row in of_panel])
            axes.set_ylim(len(of_panel) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        drawn[-1].set_xlabel(f"gain ({'percentage' if metric == 'top1' else 'AP'} points of {metric_title(metric)})")
        figure.drawing.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure


def _draw(figure: Figure, axes: Any, place: int, point: _Point) -> Any:
    colour = colour_of(point.setting)
    face = colour if point.here else "#ffffff"
    (drawn,) = axes.plot(
        point.gain, place, "o", markersize=5, markeredgecolor=colour, markerfacecolor=face, linestyle=""
    )
    figure.describe(drawn, point.text)
    return drawn
