"""Datasets by name: the known ones, and one's own, which are a folder of images by class or what a function opens."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from awbench.data.datasets import (
    DATASETS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Dataset,
    ImageFiles,
    Split,
    require_folder,
    visible,
)
from awbench.errors import UserError, suggestion
from awbench.module_files import locate
from awbench.modules import described
from awbench.recipes.datasets import FOLDER, is_own, title_of

_SAMPLES = 1000  # that the digest of a function's images is of, spread evenly


def open_split(name: str, directory: Path | None, split: str) -> Split:
    """Open one split of a dataset.

    Args:
        name: a key of `DATASETS`, or of a dataset of one's own.
        directory: where its files lie; not needed for embedded sets.
        split: "train" or "val".

    Raises:
        UserError: no such dataset, the directory is missing, or its layout is not the standard one.
    """
    dataset = find_dataset(name, directory)
    if dataset.needs_directory:
        require_folder(name, dataset.title, directory)
    return dataset.open_split(directory, split)


def find_dataset(name: str, directory: Path | None = None) -> Dataset:
    """The dataset of a name, see `open_split`.

    Raises:
        UserError: no such dataset, or one of one's own cannot be opened.
    """
    if is_own(name):
        return _own_dataset(name, directory)
    if name not in DATASETS:
        raise UserError(
            f"dataset {name!r} is not known{suggestion(name, DATASETS)} Known: {', '.join(DATASETS)}; your own are "
            "folder:NAME with --data DIR, or module:function."
        )
    return DATASETS[name]


def _own_dataset(name: str, directory: Path | None) -> Dataset:
    """The dataset that `folder:NAME` or `module:function` names.

    Args:
        directory: of `--data`: the folder, or what the function gets.

    Raises:
        UserError: the folder's layout is another, or the function is not found, raises, or gives something else.
    """
    if name.startswith(FOLDER):
        folder = require_folder(name, title_of(name), directory)
        classes = _class_folders(folder)
        return _dataset(name, len(classes), lambda _, split: _open_folder(name, folder, split, classes))
    return _dataset(name, _call(name, directory, "val").num_classes, lambda _, split: _call(name, directory, split))


def _dataset(name: str, num_classes: int, open_split: Callable[[Path | None, str], Split]) -> Dataset:
    return Dataset(title_of(name), num_classes, IMAGENET_MEAN, IMAGENET_STD, False, "", open_split)


def _class_folders(directory: Path) -> list[str]:
    """Names of the class folders, which both splits have, in the order of labels."""
    of_split = {}
    for split in ("train", "val"):
        root = directory / split
        if not root.is_dir():
            raise UserError(f"{root} is missing; a folder of images is DIR/train/<class>/ and DIR/val/<class>/")
        of_split[split] = sorted(path.name for path in visible(root) if path.is_dir())
    if other := set(of_split["train"]).symmetric_difference(of_split["val"]):
        raise UserError(f"{directory}/train and {directory}/val have different class folders, e.g. {min(other)}")
    if len(of_split["val"]) < 2:
        raise UserError(f"{directory}/val has {len(of_split['val'])} class folders; a dataset has 2 or more")
    return of_split["val"]


def _open_folder(name: str, directory: Path, split: str, classes: list[str]) -> Split:
    """The digest is of the files' names and sizes."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    files: list[tuple[str, int]] = []
    digest = hashlib.sha256()
    for label, of_class in enumerate(classes):
        folder = directory / split / of_class
        found = sorted(path for path in visible(folder) if path.suffix.lower() in IMG_EXTENSIONS)
        if not found:
            raise UserError(f"class folder {folder} has no images ({', '.join(IMG_EXTENSIONS)})")
        files += [(str(path), label) for path in found]
        digest.update(b"".join(os.fsencode(f"{of_class}/{p.name}\0{p.stat().st_size}\n") for p in found))
    return Split(ImageFiles(files), len(classes), digest.hexdigest(), _description(name, split, len(files)))


def _description(name: str, split: str, count: int) -> str:
    return f"{title_of(name)} {split}, {count:,} images"


@dataclass(frozen=True)
class OwnImages:
    """What a function of one's own gave, as RGB. Attributes: name of the dataset; samples, `len` and `[index]`."""

    name: str
    samples: Any = field(repr=False)
    num_classes: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        try:
            image, label = self.samples[index]
            label = int(label)
        except Exception as error:  # whatever code of others raises
            raise UserError(f"dataset {self.name}: image {index} is no (image, label): {described(error)}") from None
        if not isinstance(image, Image.Image):
            raise UserError(f"dataset {self.name}: image {index} is of {type(image).__name__}; give Pillow's images")
        if not 0 <= label < self.num_classes:
            raise UserError(
                f"dataset {self.name}: image {index} has label {label}; {self.num_classes} classes are 0 to "
                f"{self.num_classes - 1}"
            )
        return image.convert("RGB"), label

    def digest(self) -> str:
        """Of how many there are, and of samples spread evenly over them."""
        digest = hashlib.sha256(str(len(self)).encode())
        for index in range(0, len(self), max(1, len(self) // _SAMPLES)):
            image, label = self[index]
            digest.update(f"{index} {label} {image.size}".encode() + image.tobytes())
        return digest.hexdigest()


@functools.cache
def _call(name: str, directory: Path | None, split: str) -> Split:
    """What `function(directory, "train" or "val")` gives, as a split."""
    module, _, function = name.partition(":")
    locate(module)
    try:
        samples = getattr(importlib.import_module(module), function)(directory, split)
        count = len(samples)
        classes = samples.num_classes if hasattr(samples, "num_classes") else len(samples.classes)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever code of others raises
        raise UserError(
            f"dataset {name}: {function}({directory}, {split!r}) must give images with len, [index], and classes or "
            f"num_classes: {described(error)}"
        ) from None
    if count < 1 or not isinstance(classes, int) or classes < 2:
        raise UserError(f"dataset {name}: {split} has {count} images of {classes} classes; give 1 or more of 2 or more")
    images = OwnImages(name, samples, classes)
    digest = images.digest()
    if images.digest() != digest:
        raise UserError(f"dataset {name}: {split} gives other images each time; leave augmentation to the recipe")
    return Split(images, classes, digest, _description(name, split, count))
