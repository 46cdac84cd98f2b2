"""Training curves, from the metrics that runs write beside their checkpoints."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from awbench.records import Record, RecordStore
from awbench.report.figures.picture import WIDTH_INCHES, Picture, add_legend, colour_of, style
from awbench.variants import list_variants, parse_variant

_EVALUATED = {"accuracy": ("top1_percent", "top-1 (%)"), "detection": ("ap50", "AP50")}
_PROXIES = ("digits", "shapes", "fake")


def training_pictures(store: RecordStore) -> list[Picture]:
    """For each task, dataset, recipe and architecture: loss, and accuracy or AP, of every run whose metrics exist."""
    known = {variant.name for variant in list_variants()}
    groups: dict[tuple[str, str, str, str, str], list[tuple[Record, list[dict[str, Any]]]]] = {}
    for kind in _EVALUATED:
        for record in store.load(kind):
            rows = _metrics(store.results, record) if record.variant in known else []
            if record.settings.get("origin") == "trained" and rows:
                settings, network = record.settings, parse_variant(record.variant).architecture_name
                recipe = json.dumps(settings["recipe"], sort_keys=True)  # a changed one keeps its name
                group = (kind, settings["dataset"], recipe, settings.get("engine", ""), network)
                groups.setdefault(group, []).append((record, rows))
    return [_picture(group, runs) for group, runs in sorted(groups.items())]


def _metrics(results: Path, record: Record) -> list[dict[str, Any]]:
    """The rows a run wrote; a kill may have cut the last line, and a finished run's folder may be gone."""
    rows = []
    for path in sorted((results / "runs").glob(f"{record.variant}-*-{record.key[:8]}/metrics.jsonl")):
        text = path.read_text(errors="replace")
        for line in text[: text.rfind("\n") + 1].splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows


def _picture(group: tuple[str, str, str, str, str], runs: list[tuple[Record, list[dict[str, Any]]]]) -> Picture:
    kind, dataset, of_recipe, engine, network = group
    recipe = str(json.loads(of_recipe)["name"])
    digest = hashlib.sha256(of_recipe.encode()).hexdigest()[:6]
    metric, label = _EVALUATED[kind]
    proxy = "; a proxy, no evidence on ImageNet or COCO" if dataset in _PROXIES else ""
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, 5.4), layout="constrained")
        name = "-".join(part for part in ("training", dataset, recipe, engine, network, digest) if part)
        picture = Picture(
            name,
            f"Training on {dataset}, {network}, recipe {recipe}{f', {engine}' if engine else ''}",
            f"A line a run; runs with different seeds share a colour{proxy}.",
            figure,
        )
        loss_axes, metric_axes = figure.subplots(2, 1, sharex=True)
        drawn: dict[str, Any] = {}
        for record, rows in sorted(runs, key=lambda run: (run[0].variant, run[0].settings["seed"])):
            setting = parse_variant(record.variant).setting
            words = f"{record.variant}, seed {record.settings['seed']}"
            for axes, wanted in ((loss_axes, "loss"), (metric_axes, metric)):
                points = [(row["step"], row[wanted]) for row in rows if isinstance(row.get(wanted), (int, float))]
                if not points:
                    continue
                style_of = "o" if len(points) == 1 else "-"
                (line,) = axes.plot(
                    *zip(*points, strict=True), style_of, color=colour_of(setting), linewidth=1, alpha=0.8, markersize=4
                )
                picture.mark(line, f"{words}: {wanted} {points[-1][1]:.4g} at step {points[-1][0]:,}")
                drawn.setdefault(setting, line)
        loss_axes.set_ylabel("training loss")
        metric_axes.set_ylabel(label)
        metric_axes.set_xlabel("step")
        add_legend(figure, drawn)
    return picture
