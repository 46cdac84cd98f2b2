"""`awbench reproduce`: measure what this machine can, compare, write every table."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from awbench.cli.common import add_json, add_references, add_results, print_json, say
from awbench.cli.grid import count_detectors, count_grid, time_grid
from awbench.cli.sweep import backbones_in
from awbench.cli.training_options import recipe_of
from awbench.errors import UserError
from awbench.recipes import IMAGENET_CHANGES, IMAGENET_RECIPE
from awbench.records import Records, RecordStore
from awbench.variants import ModelOptions, describe_options, parse_variant

# The CIFAR-style grid that trains where there is nothing: every combination of the paper at one depth.
PROXY_VARIANTS = ("resnet20", "aw_resnet20", "se_resnet20", "aw_se_resnet20", "cbam_resnet20", "aw_cbam_resnet20")
PROXY_SEEDS = (0, 1, 2)
# In the order that answers the claims soonest: the headline pair first, then the combined claim's.
IMAGENET_VARIANTS = (
    "resnet101", "aw_resnet101", "se_resnet101", "aw_se_resnet101", "cbam_resnet101", "aw_cbam_resnet101",
)  # fmt: skip
IMAGENET_SEEDS = (0, 1, 2)


# Where there is no COCO: one pair trains on procedural shapes.
SHAPES_VARIANTS = ("faster_rcnn_resnet18_fpn", "faster_rcnn_aw_resnet18_fpn")
SHAPES_SEEDS = (0,)
COCO_VARIANTS = tuple(f"faster_rcnn_{name}_fpn" for name in IMAGENET_VARIANTS)
COCO_SEEDS = (0, 1, 2)
_MOST_WORKERS = 8
_FOLDERS = {
    "AWBENCH_IMAGENET": "train/ and val/",
    "AWBENCH_COCO": "annotations/, train2017/ and val2017/",
    "AWBENCH_BACKBONES": "ImageNet weights such as resnet101.pth",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "reproduce",
        help="measure what this machine can, compare with published numbers, write tables",
        description="Count the whole classification grid under both stride placements with two independent\n"
        "counters, and the detectors; time the ImageNet grid; train the CIFAR-style grid on digits with several\n"
        "seeds, and a pair of detectors on procedural shapes; compare with every published number, and write\n"
        "tables, pictures and a page below the results folder. Stop it any time: what is recorded is not measured\n"
        "again, and a run that was stopped is resumed.\n\n"
        "With CUDA and AWBENCH_IMAGENET=DIR, train the ImageNet rows too; with AWBENCH_COCO=DIR the COCO rows,\n"
        "each from the ImageNet weights of its backbone: those trained here, or a file of AWBENCH_BACKBONES=DIR\n"
        "that is named after the backbone, e.g. aw_resnet101.safetensors or resnet101.pth.\n\n"
        "Exit code 1 means that a count is not the one this project has locked.",
    )
    add_results(parser)
    add_references(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.gate.locked import load_locked, off_from_locked
    from awbench.reference.load import load_references

    references, locked = load_references(args.references), load_locked()
    require_folders()
    store = RecordStore(args.results)
    off = off_from_locked([*count_grid(store), *count_detectors(store)], locked)
    for problem in off:
        say(f"awbench: {problem}")
    time_grid(store)
    failed: dict[str, str] = {}
    for train in (train_proxy, train_shapes, train_imagenet, train_coco):
        try:
            failed |= train(store)
        except UserError as error:  # the other stages and the tables are made all the same
            failed[train.__name__.replace("train_", "")] = str(error)
    records = store.read()
    written = _write(records, references, args.results)
    summary = {**_summary(records, references), "failed": failed}
    if args.json:
        print_json({**summary, "off_from_locked": off, "files": [str(path) for path in written]})
    else:
        print(_describe(summary, args.results))
    return 1 if off else 2 if failed else 0


def require_folders() -> None:
    """Refuse what is given by the environment and is no folder before anything is trained.

    Raises:
        UserError: naming it.
    """
    for name, holds in _FOLDERS.items():
        given = os.environ.get(name)
        if given and not Path(given).is_dir():
            raise UserError(f"{name}={given} is not a folder; give the one that holds {holds}")


def train_proxy(store: RecordStore) -> dict[str, str]:
    """Train the proxy grid on digits, a run a core; returns what failed."""
    return _train(store, "digits", PROXY_VARIANTS, PROXY_SEEDS, "digits")


def train_shapes(store: RecordStore) -> dict[str, str]:
    """Train a pair of detectors on procedural shapes, a run a core; returns what failed."""
    return _train(store, "shapes", SHAPES_VARIANTS, SHAPES_SEEDS, "shapes")


def train_imagenet(store: RecordStore) -> dict[str, str]:
    """Train the ImageNet rows where AWBENCH_IMAGENET names the data and there is a GPU; returns what failed."""
    data = _data("AWBENCH_IMAGENET", "ImageNet")
    if data is None:
        return {}
    recipe = IMAGENET_RECIPE, IMAGENET_CHANGES
    return _train(store, "ImageNet", IMAGENET_VARIANTS, IMAGENET_SEEDS, "imagenet", data, *recipe)


def train_coco(store: RecordStore) -> dict[str, str]:
    """Train the COCO rows where AWBENCH_COCO names the data and there is a GPU; returns what failed."""
    data = _data("AWBENCH_COCO", "COCO")
    if data is None:
        return {}
    names = {name: parse_variant(name, "detection").backbone for name in COCO_VARIANTS}
    weights = backbone_weights(store, list(names.values()))
    for name, backbone in names.items():
        if backbone not in weights:
            say(
                f"COCO: {name} stays not measured: it needs ImageNet weights of {backbone}, "
                "trained with AWBENCH_IMAGENET=DIR or a file of that name in AWBENCH_BACKBONES=DIR"
            )
    able = [name for name, backbone in names.items() if backbone in weights]
    return _train(store, "COCO", able, COCO_SEEDS, "coco", data, weights=weights)


def _data(variable: str, title: str) -> Path | None:
    """The folder that the environment names, where there is a GPU to train on it."""
    directory = os.environ.get(variable)
    if not directory:
        return None
    import torch

    if not torch.cuda.device_count():
        say(f"{title}: {variable} is set, but there is no CUDA GPU; its rows stay not measured")
        return None
    return Path(directory).resolve()


def _train(
    store: RecordStore,
    title: str,
    names: Sequence[str],
    seeds: Sequence[int],
    dataset: str,
    data: Path | None = None,
    recipe_name: str | None = None,
    changes: Sequence[str] = (),
    weights: Mapping[str, Path] | None = None,
) -> dict[str, str]:
    """Train every network with every seed, seeds outermost: on all GPUs, or a run a core; returns what failed."""
    from awbench.experiments.sweep import plan_runs, run_sweep
    from awbench.tasks import Job

    if not names:
        return {}
    variants = [parse_variant(name) for name in names]
    recipe = recipe_of(variants[0].task, recipe_name, dataset, changes)
    jobs = [
        Job(variant, ModelOptions(), dataset, data, recipe, seed, (weights or {}).get(variant.backbone))
        for seed in seeds
        for variant in variants
    ]
    cores, argv, parallel, processes = os.cpu_count() or 1, [], 1, 1
    if data is None:
        parallel = min(cores, _MOST_WORKERS)
    else:
        import torch

        processes = min(torch.cuda.device_count(), recipe.micro_batches)
        argv = ["--workers", str(max(1, min(_MOST_WORKERS, cores // processes - 1)))]
    runs = plan_runs(jobs, store.results.resolve(), argv)
    result = run_sweep(runs, store, parallel, processes, say)
    say(f"{title}: {len(result.trained)} trained, {len(result.found)} found in {store.results}")
    return result.failed


def backbone_weights(store: RecordStore, names: list[str]) -> dict[str, Path]:
    """ImageNet weights by the network's name: of the user's folder, else of the first run of `train_imagenet`.

    Raises:
        UserError: AWBENCH_BACKBONES is not a folder.
    """
    from awbench.recipes import PROTOCOLS, load_recipe

    recipe = load_recipe(IMAGENET_RECIPE, IMAGENET_CHANGES).identity()
    found = {}
    for record in sorted(store.load("accuracy"), key=lambda record: record.settings.get("seed", 0), reverse=True):
        settings = record.settings
        wanted = {"origin": "trained", "dataset": "imagenet", "recipe": recipe, "protocol": PROTOCOLS["accuracy"]}
        if record.variant in names and all(settings.get(name) == value for name, value in wanted.items()):
            if record.options != describe_options(parse_variant(record.variant), ModelOptions(num_classes=1000)):
                continue
            for path in (store.results / "runs").glob(
                f"{record.variant}-imagenet-*-{record.key[:8]}/weights.safetensors"
            ):
                found[record.variant] = path.resolve()
    given = os.environ.get("AWBENCH_BACKBONES")
    if given:
        found |= backbones_in(Path(given), names)
    return {name: found[name] for name in names if name in found}


def _write(records: Records, references: Any, results: Path) -> list[Path]:
    from awbench.cli.report import write_report
    from awbench.records.atomic import remove_stale_temporaries, write_text
    from awbench.report.formats import EXTENSIONS, render
    from awbench.report.tables import TABLES

    written = []
    remove_stale_temporaries(results / "tables")
    for kind, make in TABLES.items():
        table = make(records, references)
        for format, extension in EXTENSIONS.items():
            path = results / "tables" / f"{kind}.{extension}"
            write_text(path, render(table, format))
            written.append(path)
    page, figures = write_report(records, references, results / "report.html", results / "figures")
    written += [*figures, page]
    return written


def _summary(records: Records, references: Any) -> dict[str, Any]:
    from awbench.report.tables import TABLES

    complexity = TABLES["complexity"](records, references).objects
    verdicts = Counter(str(row["verdict"]).partition(" by ")[0] for row in complexity)
    differing = [row for row in complexity if str(row["verdict"]).startswith("differs")]
    not_measured = {
        kind: Counter(str(row["verdict"]) for row in TABLES[kind](records, references).objects)
        for kind in ("accuracy", "detection", "latency", "claims")
    }
    proxy = [
        f"{row[0]:17} {row[2]} % over {row[1]} runs  {row[6]}" for row in TABLES["proxy"](records, references).rows
    ]
    shapes = [
        f"{row[0]:29} {row[1]}: AP {row[3]}, AP50 {row[4]} over {row[2]} runs  {row[10]}"
        for row in TABLES["shapes"](records, references).rows
    ]
    speed = [
        f"{row['variant']:14} {row['latency_ms']:8.2f} ms, {row['ratio_to_plain']:.3f} of {row['over']} "
        f"({row['ratio_ci'][0]:.3f} to {row['ratio_ci'][1]:.3f}), batch {row['batch_size']}, {row['device_name']}"
        for row in TABLES["speed"](records, references).objects
        if str(row["variant"]).startswith("aw_resnet")
    ]
    return {
        "complexity": dict(verdicts),
        "speed": speed,
        "differing": differing,
        "proxy": proxy,
        "shapes": shapes,
        "not_measured": not_measured,
    }


def _describe(summary: dict[str, Any], results: Path) -> str:
    lines = ["complexity, published numbers beside counted ones:"]
    lines += [f"  {count:4} {verdict}" for verdict, count in summary["complexity"].items()]
    for row in summary["differing"]:
        published = f"{row['published_as_printed']} {row['unit']}"
        lines.append(f"       {row['variant']}, {row['source']} prints {published}: {row['verdict']}; {row['note']}")
    lines += ["latency beside the plain network (95 % interval):", *(f"  {line}" for line in summary["speed"])]
    lines += ["digits, a proxy, top-1 over seeds:", *(f"  {line}" for line in summary["proxy"])]
    lines += ["procedural shapes, a proxy:", *(f"  {line}" for line in summary["shapes"])]
    lines += [f"failed: {name}: {why}" for name, why in summary["failed"].items()]
    for kind, needs in summary["not_measured"].items():
        for need, count in needs.items():
            lines.append(f"{kind}: {count} {need}")
    lines.append(f"tables: {results / 'tables'}   figures: {results / 'figures'}   page: {results / 'report.html'}")
    return "\n".join(lines)
