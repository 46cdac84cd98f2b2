"""Options that `train`, `eval` and `sweep` share, and the job that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import model_options, say
from awbench.errors import UserError
from awbench.recipes import DetectionRecipe, Recipe, default_dataset, default_recipe, load_detection_recipe, load_recipe
from awbench.studies import find_study
from awbench.system import rank_and_size, stray_rank
from awbench.variants import Task, parse_variant

if TYPE_CHECKING:
    from awbench.tasks import Job


def add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="imagenet, cifar10, cifar100, digits (default) or fake; for detectors coco or shapes (default)",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder that holds the dataset")
    parser.add_argument(
        "--skip-bad-images", action="store_true", help="leave out images that cannot be decoded, and list them"
    )


def add_detection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        metavar="{detectron2,torchvision}",
        help="of detectors (default: detectron2 where it is installed, else torchvision)",
    )


def add_recipe(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"{what}: digits-quick (default), cifar, cbam, torchvision-v1; "
        "for detectors shapes-quick (default), detectron2-1x, detectron2-3x (default for COCO); or a YAML file",
    )


def add_recipe_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="change a value of the recipe, e.g. epochs=4 or optimizer.lr=0.05",
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", metavar="{auto,cpu,cuda}", help="default: auto")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="loading processes; never change a result")


def is_main_process() -> bool:
    """Whether this process speaks for all that torchrun started."""
    return rank_and_size()[0] == 0


def recipe_of(task: Task, name: str | None, dataset: str, changes: Sequence[str]) -> Recipe | DetectionRecipe:
    """The recipe of a name, or the dataset's own, with its changes."""
    load: Any = load_detection_recipe if task == "detection" else load_recipe
    recipe: Recipe | DetectionRecipe = load(name or default_recipe(task, dataset), changes)
    return recipe


def job_of(args: argparse.Namespace, recipe: Recipe | DetectionRecipe | None = None, **fields: Any) -> Job:
    """The job of `train` and `eval`. `fields` are those of one of the two.

    Args:
        recipe: as a sweep has planned it; None for the one that the arguments name.
    """
    from awbench.tasks import Job

    if args.workers < 0:
        raise UserError(f"--workers {args.workers} is negative; use 0 or more")
    if line := stray_rank():
        say(f"awbench: {line}")
    variant = parse_variant(args.variant)
    dataset = args.dataset or default_dataset(variant.task)
    return Job(
        variant,
        model_options(args, [variant]),
        dataset,
        args.data,
        recipe or recipe_of(variant.task, args.recipe, dataset, args.changes),
        engine=args.engine,
        skip_bad_images=args.skip_bad_images,
        study=find_study(args.study) if getattr(args, "study", None) else None,
        **fields,
    )
