"""Training curves, from the metrics that runs write beside their checkpoints."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from awbench.recipes.datasets import title_of
from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining, Training
from awbench.report.figures.figure import Figure, colour_at, new_figure
from awbench.report.figures.runs import network_label, runs_alike, told_apart
from awbench.report.names import architecture_title, metric_title, setting_title
from awbench.report.runs import shown_recipe
from awbench.system import open_regular
from awbench.variants import list_settings, list_variants, parse_variant
from awbench.verdicts.protocol import training_protocol

_EVALUATED = {"accuracy": ("top1_percent", "top-1 (%)"), "detection": ("ap50", "AP50")}
_PROXIES = ("digits", "digits-detection", "fake")
_MOST_FIGURES = 24
_DASHES, _MARKERS = ("-", "--", ":", "-."), "os^D"  # a network's with its setting's default options first
_MOST_POINTS = 250  # of a line: more are finer than the print


@dataclass(frozen=True, order=True)
class _Group:
    """What the runs of a figure share. Attributes: recipe, as JSON: a changed one keeps its name."""

    kind: str
    dataset: str
    recipe: str
    engine: str
    network: str


def training_figures(records: Records) -> list[Figure]:
    """Loss, and accuracy or AP, of recorded runs whose metrics exist: for each task, dataset, recipe and depth.

    No more than 24, of those trained last.
    """
    known = {variant.name: variant for variant in list_variants()}
    metrics = _metrics_files(records.results) if records.results else {}
    groups: dict[_Group, list[Record]] = {}
    for kind in _EVALUATED if metrics else ():
        for record in records.of_kind(kind):
            settings = record.settings
            if isinstance(settings, Training) and record.variant in known and record.key[:8] in metrics:
                recipe = json.dumps(settings.recipe.json_object, sort_keys=True)
                engine = settings.engine if isinstance(settings, DetectorTraining) else ""
                group = _Group(kind, settings.dataset, recipe, engine, known[record.variant].architecture_name)
                groups.setdefault(group, []).append(record)
    latest = sorted(groups, key=lambda group: max(record.finished for record in groups[group]), reverse=True)
    shown = sorted(latest[:_MOST_FIGURES])
    titles = told_apart([_title(group, groups[group]) for group in shown], [json.loads(g.recipe) for g in shown])
    figures = [_figure(group, title, groups[group], metrics) for group, title in zip(shown, titles, strict=True)]
    return [figure for figure in figures if figure.data]


def _metrics_files(results: Path) -> dict[str, list[Path]]:
    """The first characters of a record's key -> what its run wrote; a finished run's folder may be gone."""
    found: dict[str, list[Path]] = {}
    for path in sorted((results / "runs").glob("[!.]*/metrics.jsonl")):
        found.setdefault(path.parent.name.rpartition("-")[2], []).append(path)
    return found


def _rows(record: Record, metrics: Mapping[str, Sequence[Path]]) -> list[dict[str, Any]]:
    """What a run wrote; a kill may have cut the last line."""
    rows: list[dict[str, Any]] = []
    for path in metrics[record.key[:8]]:
        if not path.parent.name.startswith(f"{record.variant}-"):
            continue
        try:
            with open_regular(path) as file:
                text = file.read().decode(errors="replace")
        except OSError:
            continue
        for line in text[: text.rfind("\n") + 1].splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows


def _title(group: _Group, records: list[Record]) -> str:
    """With the changes of the recipe, as its newest run states them."""
    title = title_of(group.dataset)
    recipe = shown_recipe(max(records, key=lambda record: record.finished))
    engine = f", {group.engine}" if group.engine else ""
    return f"Training on {title}, {architecture_title(group.network)}, recipe {recipe}{engine}"


def _figure(group: _Group, title: str, records: list[Record], metrics: Mapping[str, Sequence[Path]]) -> Figure:
    recipe = str(json.loads(group.recipe)["name"])
    digest = hashlib.sha256(group.recipe.encode()).hexdigest()[:6]
    metric, metric_label = _EVALUATED[group.kind]
    parts = ("training", group.dataset, recipe, group.engine, group.network.removeprefix("resnet"), digest)
    proxy = " A proxy, no evidence on ImageNet or COCO." if group.dataset in _PROXIES else ""
    with new_figure(
        "-".join(filter(None, parts)),
        title,
        f"One line per network and its options: the mean of its runs with different seeds; the band spans them.{proxy}",
        4.6,
    ) as figure:
        loss_axes, metric_axes = figure.drawing.subplots(2, 1, sharex=True)
        alike = sorted(runs_alike(records), key=lambda runs: (_place(runs), network_label(runs[0])))
        protocols = [training_protocol(runs[0]) for runs in alike]
        labels = told_apart([network_label(runs[0]) for runs in alike], protocols)
        drawn: dict[str, Any] = {}
        nth: Counter[int] = Counter()  # line of its setting
        for runs, label in zip(alike, labels, strict=True):
            look = _look(_place(runs), nth[_place(runs)])
            nth[_place(runs)] += 1
            rows = [_rows(record, metrics) for record in runs]
            name = f"{runs[0].variant}{label.removeprefix(setting_title(parse_variant(runs[0].variant).setting))}"
            for axes, wanted in ((loss_axes, "loss"), (metric_axes, metric)):
                if line := _draw(figure, axes, name, [_curve(run, wanted) for run in rows], wanted, look):
                    drawn.setdefault(label, line)
        loss_axes.set_ylabel("training loss")
        metric_axes.set_ylabel(metric_label)
        metric_axes.set_xlabel("step")
        figure.add_labels(drawn)
    return figure


def _curve(rows: list[dict[str, Any]], wanted: str) -> dict[int, float]:
    """step -> value; of a step that was repeated after a kill, the later."""
    return {row["step"]: row[wanted] for row in rows if isinstance(row.get(wanted), (int, float))}


def _place(runs: Sequence[Record]) -> int:
    """Of the network's attention setting, in the grid's order."""
    return list_settings().index(parse_variant(runs[0].variant).setting)


def _look(place: int, nth: int) -> dict[str, Any]:
    """The first line of a setting is solid in its colour; others are dashed, then of further colours."""
    dash = nth % len(_DASHES)
    colour = colour_at(place + (nth // len(_DASHES)) * len(list_settings()))
    return {"color": colour, "linestyle": _DASHES[dash], "marker": _MARKERS[dash]}


def _draw(
    figure: Figure, axes: Axes, name: str, curves: list[dict[int, float]], wanted: str, look: dict[str, Any]
) -> Any:
    """The mean of the runs, which is returned, and the band that they span; None where no run has the value."""
    curves = [curve for curve in curves if curve]
    steps = sorted({step for curve in curves for step in curve})
    if not steps:
        return None
    steps = sorted({*steps[:: -(-len(steps) // _MOST_POINTS)], steps[-1]})
    values = [[curve[step] for curve in curves if step in curve] for step in steps]
    means = [statistics.fmean(at_step) for at_step in values]
    of_line = {"marker": ""} if len(steps) > 1 else {"linestyle": ""}
    (line,) = axes.plot(steps, means, **{**look, **of_line}, linewidth=1, alpha=0.8, markersize=4)
    lowest, highest = [min(at_step) for at_step in values], [max(at_step) for at_step in values]
    spanned = ""
    if len(curves) > 1:
        axes.fill_between(steps, lowest, highest, color=look["color"], alpha=0.15, linewidth=0)
        spanned = f" ({lowest[-1]:.4g} to {highest[-1]:.4g})"
    figure.describe(
        line, f"{name}, {len(curves)} run(s): {metric_title(wanted)} {means[-1]:.4g}{spanned} at step {steps[-1]:,}"
    )
    return line
