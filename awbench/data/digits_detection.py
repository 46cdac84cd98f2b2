"""Digits to detect: scikit-learn's handwritten digits at several sizes on a noisy canvas, in COCO's layout.

Any machine makes the same set for itself: an image derives from its split and number alone, by uniform draws and
arithmetic in integers. Its digits are those of the same split of the dataset `digits`: no digit is in both splits.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from awbench.cache import cache_directory
from awbench.data.coco import annotation_path, image_folder
from awbench.data.datasets import ArrayImages
from awbench.data.opening import open_split
from awbench.data.views import derive_seed
from awbench.errors import UserError
from awbench.recipes.datasets import DATASET_FACTS

VERSION = 1  # of the images: counts up with every change that moves a pixel or a box
FACTS = DATASET_FACTS["digits-detection"]
WIDTH, HEIGHT = 160, 120
_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CATEGORIES = {3 * digit + 1: name for digit, name in enumerate(_NAMES)}  # gaps, as COCO's: no id is an index
_SIDES = (32, 100)  # of a digit in pixels; of what does not fit, the canvas's height
_MOST_DIGITS = 4  # of an image
_PLACES_TRIED = 20  # for a digit that no other lies under; one that finds none is left out
_STALE_SECONDS = 86_400

Objects = list[tuple[int, list[int], int]]  # category id, box, pixels


def draw(rng: np.random.Generator, digits: ArrayImages, width: int, height: int) -> tuple[np.ndarray, Objects]:
    """One image: one to four bright digits, apart from each other, on a darker canvas with noise.

    Args:
        digits: to take them from.

    Returns:
        (height, width, 3) bytes; and of each digit its category id, its box [x, y, width, height], and how many
        pixels are at least half ink.
    """
    canvas = rng.integers(20, 100, 3) + rng.integers(-20, 21, (height, width, 1))
    taken = np.zeros((height, width), bool)
    objects: Objects = []
    for _ in range(rng.integers(1, _MOST_DIGITS + 1)):
        index, side = rng.integers(len(digits)), min(int(rng.integers(*_SIDES)), height, width)
        glyph = Image.fromarray(digits.pixels[index, :, :, 0]).resize((side, side), Image.Resampling.BILINEAR)
        ink = _cropped(np.asarray(glyph, dtype=np.int64))
        rows, columns = ink.shape
        colour = rng.integers(160, 256, 3)
        for _ in range(_PLACES_TRIED):
            x, y = int(rng.integers(0, width - columns + 1)), int(rng.integers(0, height - rows + 1))
            place = slice(y, y + rows), slice(x, x + columns)
            if not taken[place].any():
                taken[place] = True
                canvas[place] += ink[..., None] * (colour - canvas[place]) // 255
                category, area = 3 * int(digits.labels[index]) + 1, int((ink >= 128).sum())
                objects.append((category, [x, y, columns, rows], area))
                break
    return canvas.astype(np.uint8), objects


def _cropped(ink: np.ndarray) -> np.ndarray:
    """The part around all pixels that are at least half ink."""
    rows, columns = (np.flatnonzero((ink >= 128).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def default_directory() -> Path:
    """The set's folder in the user's cache.

    Raises:
        UserError: there is no cache folder.
    """
    return cache_directory() / f"digits-detection-v{VERSION}"


def provide(directory: Path) -> None:
    """Make the set in a folder that is empty or does not exist; leave any other as it is.

    Raises:
        UserError: it cannot be made there.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        write(directory, FACTS.train_images, FACTS.val_images)


def write(directory: Path, train_images: int, val_images: int, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Make a set of so many images, whole or not at all; where another process is faster, its set stays.

    Args:
        directory: a folder that is empty or does not exist.
        width, height: of each image in pixels.

    Raises:
        UserError: it cannot be written.
    """
    directory = directory.resolve()  # a link cannot be replaced by a folder
    _remove_stale(directory)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        temporary.mkdir(parents=True)
        for split, count in (("train", train_images), ("val", val_images)):
            _write_split(temporary, split, count, width, height)
        temporary.rename(directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            what = f"digits to detect cannot be written to {directory} ({error.strerror or error})"
            raise UserError(f"{what}; name another folder, one that does not exist yet") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_stale(directory: Path) -> None:
    """Remove what killed processes left behind; only what is a day old, for others may be at work."""
    for temporary in directory.parent.glob(f".{glob.escape(directory.name)}.*.partial"):
        with contextlib.suppress(OSError):  # its own process, or another like this one, may be removing it
            if time.time() - temporary.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(temporary, ignore_errors=True)


def _write_split(directory: Path, split: str, count: int, width: int, height: int) -> None:
    folder, path = image_folder(directory, split), annotation_path(directory, split)
    folder.mkdir()
    path.parent.mkdir(exist_ok=True)
    digits = open_split("digits", None, split).images
    assert isinstance(digits, ArrayImages)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.Generator(np.random.PCG64(derive_seed("digits-detection", VERSION, split, index)))
        pixels, objects = draw(rng, digits, width, height)
        image_id = 3 * index + (1 if split == "train" else 2)  # as in COCO, no index, and no id in both splits
        name = f"{image_id:012}.png"
        Image.fromarray(pixels).save(folder / name, compress_level=1)
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for category, box, area in objects:
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category}
            annotations.append(annotation | {"bbox": box, "area": area, "iscrowd": 0})
    truth = {
        "info": {"description": "awbench digits to detect", "version": str(VERSION)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": name, "supercategory": "digit"} for key, name in CATEGORIES.items()],
    }
    path.write_text(json.dumps(truth, separators=(",", ":")))
