"""Options that `train`, `eval` and `sweep` share."""

from __future__ import annotations

import argparse
from pathlib import Path


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
