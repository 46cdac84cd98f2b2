"""`awbench list`: what exists."""

from __future__ import annotations

import argparse
import operator
from typing import TYPE_CHECKING, Any

import awbench
from awbench.cli.common import print_json, print_table, show
from awbench.cli.logs import log
from awbench.cli.options import add_options
from awbench.errors import UserError
from awbench.modules import INPUT, modules
from awbench.recipes import RECIPES_OF, DetectionRecipe, Recipe, default_recipe, load_detection_recipe, load_recipe
from awbench.recipes.classification import RECIPES
from awbench.recipes.common import list_recipes
from awbench.recipes.datasets import DATASET_FACTS
from awbench.recipes.detection import RECIPES as DETECTION_RECIPES
from awbench.variants import Task, Variant, list_variants, parse_variants

if TYPE_CHECKING:
    from awbench.gate.locked import LockedCounts


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "list",
        help="list the variants; or modules, datasets, recipes",
        description="List every variant, one per line. Names are [convolution_][attention_]<architecture>, and\n"
        "faster_rcnn_<backbone>_fpn for detectors. --modules lists what the first two may be; --datasets what is\n"
        "trained on, and what of it is on this machine; --recipes how.\n\n"
        "  awbench list 'aw_*'\n"
        "  awbench list '*resnet50' --counts\n"
        "  awbench list --modules --module mine:Mine\n"
        "  awbench list --datasets",
    )
    parser.add_argument("variant", nargs="*", help="names, or patterns such as 'aw_*' (default: all)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--modules", action="store_true", help="the attention modules instead of the variants")
    instead.add_argument("--datasets", action="store_true", help="the datasets, and where each is looked for")
    instead.add_argument(
        "--recipes", action="store_true", help="the recipes, how long they train and for which dataset"
    )
    parser.add_argument("--counts", action="store_true", help="with their locked parameters and multiply-accumulates")
    parser.add_argument("--task", choices=("classification", "detection"), help="of one task only")
    add_options(parser, "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    for what, rows in (("modules", _modules), ("datasets", _datasets), ("recipes", _recipes)):
        if getattr(args, what):
            if args.variant or args.counts:
                raise UserError(f"--{what} lists no variants; leave out {' '.join(args.variant) or '--counts'}")
            return _list_rows({"modules": "Attention modules"}.get(what, what.capitalize()), rows(args.task), args.json)
    variants = parse_variants(args.variant, args.task) if args.variant else list_variants(args.task)
    if args.counts:
        _list_counts(variants, args.json)
    elif args.json:
        print_json([_describe(variant) for variant in variants])
    else:
        show("\n".join(variant.name for variant in variants))
    return 0


def _list_counts(variants: list[Variant], as_json: bool) -> None:
    """Of the variants that have locked counts; the others are named."""
    from awbench.gate.locked import load_locked
    from awbench.report.table import ABSENT, Column, Table

    names = {variant.name: place for place, variant in enumerate(variants)}
    rows = [row for row in load_locked() if row.variant in names and row.stride_placement == "v1.5"]
    rows.sort(key=lambda row: names[row.variant])
    without = [name for name in names if name not in {row.variant for row in rows}]
    if without:
        log(f"no locked counts: {', '.join(without)}; 'awbench complexity NAME' counts them")
    columns: tuple[Column[LockedCounts], ...] = (
        Column("variant", lambda row: row.variant),
        Column("engine", lambda row: row.engine or ABSENT),
        Column("image size", _image_size, _shown_size, key="image_size", right=True),
        Column.exact("stride_placement", lambda row: row.stride_placement),
        Column.exact("proposals", lambda row: row.proposals or ABSENT),
        Column.exact("trainable_params", lambda row: row.trainable_params or ABSENT),
        Column("params", lambda row: row.params, ","),
        Column("GMACs", lambda row: row.macs / 1e9, ".4f", key=""),
        Column.exact("macs", lambda row: row.macs),
        Column("kernel modulation (M)", lambda row: row.aw_kernel_forming / 1e6, ".3f", key=""),
        Column.exact("aw_kernel_forming", lambda row: row.aw_kernel_forming),
        Column(
            "scaling (M)",
            lambda row: None if row.attention_scaling is None else row.attention_scaling / 1e6,
            ".3f",
            key="",
            missing="unknown",
        ),
        Column.exact("attention_scaling", lambda row: row.attention_scaling),
        Column("activations (M)", lambda row: row.activations / 1e6, ".3f", key=""),
        Column.exact("activations", lambda row: row.activations),
    )
    note = "Locked: what this version counts, stride placement v1.5; 'awbench complexity NAME' counts again."
    print_table(Table("Variants", columns, rows, (note,)), "json" if as_json else None)


def _image_size(row: LockedCounts) -> int | list[int]:
    """As `complexity` has it: [height, width] of a detector."""
    size = row.image_size
    return [int(side) for side in size.split("x")] if isinstance(size, str) else size


def _shown_size(size: int | list[int]) -> str:
    return "x".join(map(str, size)) if isinstance(size, list) else str(size)


def _list_rows(title: str, rows: list[dict[str, Any]], as_json: bool) -> int:
    from awbench.report.table import Column, Table

    if as_json:
        print_json(rows)
    else:
        columns = [Column(name.replace("_", " "), operator.itemgetter(name), _shown) for name in rows[0]]
        print_table(Table(title, columns, rows))
    return 0


def _shown(value: Any) -> str:
    """A cell: several with commas, a split's images as "60,000 + 10,000"."""
    if isinstance(value, (list, tuple)):
        return (
            " + ".join(f"{number:,}" for number in value)
            if value[:1] and isinstance(value[0], int)
            else ", ".join(value)
        )
    return str(value)


def _modules(task: str | None) -> list[dict[str, Any]]:
    return [
        {
            "name": module.name,
            "title": module.title,
            "paper": module.paper,
            "slot": module.slot,
            "class": module.path,
            "version": module.inputs.get(f"{INPUT}{module.name}_version", f"awbench {awbench.__version__}"),
        }
        for module in modules().values()
    ]


def _datasets(task: str | None) -> list[dict[str, Any]]:
    from awbench.data.datasets import DATASETS, DEV_IMAGES, FAKE_IMAGES
    from awbench.data.detection_datasets import DETECTION_DATASETS
    from awbench.data.places import place_of

    known: dict[str, tuple[Task, str]] = {
        **{name: ("classification", dataset.title) for name, dataset in DATASETS.items()},
        **{name: ("detection", dataset.title) for name, dataset in DETECTION_DATASETS.items()},
    }
    images = {name: (facts.train_images, facts.val_images) for name, facts in DATASET_FACTS.items()}
    images |= {"fake": FAKE_IMAGES, "fashion-mnist-dev": DEV_IMAGES}
    return [
        {
            "name": name,
            "task": of,
            "images": images[name],
            "default_recipe": default_recipe(of, name),
            "where": place_of(name),
            "title": title,
        }
        for name, (of, title) in known.items()
        if task in (None, of)
    ]


def _recipes(task: str | None) -> list[dict[str, Any]]:
    from awbench.report.answers import shown_length

    loaded: list[tuple[Task, Recipe | DetectionRecipe]] = [
        *(("classification", load_recipe(name)) for name in list_recipes(RECIPES)),
        *(("detection", load_detection_recipe(name)) for name in list_recipes(DETECTION_RECIPES)),
    ]
    return [
        {
            "name": recipe.name,
            "task": of,
            "length": shown_length(recipe.identity()),
            "datasets": [dataset for dataset, names in RECIPES_OF.items() if recipe.name in names],
            "default_of": [dataset for dataset, names in RECIPES_OF.items() if recipe.name == names[0]],
            "title": recipe.title,
        }
        for of, recipe in loaded
        if task in (None, of)
    ]


def _describe(variant: Variant) -> dict[str, Any]:
    return {
        "variant": variant.name,
        "task": variant.task,
        "architecture": variant.architecture_name,
        "depth": variant.architecture.depth,
        "family": variant.architecture.family,
        "attention": variant.attention,
        "attention_paper": modules()[variant.attention].paper if variant.attention else None,
        "convolution": variant.convolution,
        "aw": variant.aw,
        "plain": variant.plain,
        "backbone": variant.backbone,
    }
