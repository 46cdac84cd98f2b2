"""What of the datasets is on this machine; nothing is opened or downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from awbench.cache import cache_directory
from awbench.data import digits_detection, fashion_mnist
from awbench.errors import UserError
from awbench.recipes.datasets import DATA_VARIABLES


def place_of(name: str) -> str:
    """Where a dataset is looked for, and whether it is there, e.g. "found in PATH", "needs --data DIR"."""
    if name in DATA_VARIABLES:
        return _named(DATA_VARIABLES[name])
    if name in ("cifar10", "cifar100"):
        return "needs --data DIR, and is downloaded into it where it is not there"
    if name.startswith("fashion-mnist"):
        found = fashion_mnist.folder_here()
        return f"found in {found}" if found else f"not here: downloaded into {_cache()}, or --data DIR"
    if name == "digits-detection":
        folder = _or_none(digits_detection.default_directory)
        return f"found in {folder}" if folder and folder.is_dir() else f"made here, in {_cache()}"
    return "comes with scikit-learn" if name == "digits" else "made here"


def _named(variable: str) -> str:
    folder = os.environ.get(variable)
    if not folder:
        return f"needs --data DIR; for reproduce and study run also {variable}"
    found = "found in" if Path(folder).is_dir() else "not in"
    return f"{found} {folder} ({variable}, for reproduce and study run); elsewhere --data DIR"


def _cache() -> str:
    return str(_or_none(cache_directory) or "a cache folder, which AWBENCH_CACHE has to name")


def _or_none(folder: Callable[[], Path]) -> Path | None:
    try:
        return folder()
    except UserError:
        return None
