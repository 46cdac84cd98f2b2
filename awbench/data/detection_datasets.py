"""The detection datasets, in COCO's format: what each is, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from awbench.data.coco import DetectionSplit, read_split
from awbench.data.datasets import require_folder
from awbench.errors import UserError, suggestion

COCO_IMAGES = {"train": 118_287, "val": 5_000}
# 80 of the 91 categories of the COCO paper were annotated for detection; the others left gaps.
COCO_CATEGORY_IDS = frozenset(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


@dataclass(frozen=True)
class DetectionDataset:
    """A detection dataset the command line knows.

    Attributes:
        title: its name in the literature.
        needs_directory: whether `--data` must be given.
        proxy: what a result on it does not say, or "" for a benchmark of the field.
        open_split: (directory, "train" or "val") -> DetectionSplit.
    """

    title: str
    needs_directory: bool
    proxy: str
    open_split: Callable[[Path | None, str], DetectionSplit] = field(repr=False)


def open_detection_split(name: str, directory: Path | None, split: str) -> DetectionSplit:
    """Open one split of a detection dataset.

    Args:
        name: a key of `DETECTION_DATASETS`.
        directory: where its files lie; for "digits-detection" also where they are made, None for the user's cache.
        split: "train" or "val".

    Raises:
        UserError: no such dataset, the directory is missing, or its files are not whole and consistent.
    """
    dataset = find_detection_dataset(name)
    if split not in COCO_IMAGES:
        raise UserError(f"split {split!r} is not known; the splits are train and val")
    if dataset.needs_directory:
        require_folder(name, dataset.title, directory)
    return dataset.open_split(directory, split)


def find_detection_dataset(name: str) -> DetectionDataset:
    """The detection dataset of a name.

    Raises:
        UserError: no such dataset.
    """
    if name not in DETECTION_DATASETS:
        close, known = suggestion(name, DETECTION_DATASETS), ", ".join(DETECTION_DATASETS)
        raise UserError(f"detection dataset {name!r} is not known{close} Known: {known}.")
    return DETECTION_DATASETS[name]


def _open_coco(directory: Path | None, split: str) -> DetectionSplit:
    assert directory is not None
    opened = read_split(directory, split)
    count = len(opened.images)
    if opened.categories.keys() != COCO_CATEGORY_IDS:
        what = f"data in COCO's format with {len(opened.categories)} categories, not COCO's 80"
        return replace(opened, description=f"{what}: {split}, {count:,} images", complete=False)
    complete = count == COCO_IMAGES[split]
    title = f"COCO {split}2017" if complete else f"subset of COCO {split}2017"
    return replace(opened, description=f"{title}, {count:,} images", complete=complete)


def _open_digits_detection(directory: Path | None, split: str) -> DetectionSplit:
    from awbench.data import digits_detection

    directory = directory or digits_detection.default_directory()
    digits_detection.provide(directory)
    opened, facts = read_split(directory, split), digits_detection.FACTS
    if opened.categories != digits_detection.CATEGORIES:
        names = ", ".join(list(opened.categories.values())[:5])
        raise UserError(f"{opened.annotations} has the categories {names}, ...; these are not digits to detect")
    complete = opened.digest == (facts.train_sha256 if split == "train" else facts.val_sha256)
    title = facts.title if complete else f"other {facts.title}"
    return replace(opened, description=f"{title}, {split}, {len(opened.images):,} images", complete=complete)


DETECTION_DATASETS: dict[str, DetectionDataset] = {
    "coco": DetectionDataset("COCO 2017", True, "", _open_coco),
    "digits-detection": DetectionDataset(
        "digits to detect", False,
        "digits to detect: a proxy that shows the path works, not evidence on COCO", _open_digits_detection,
    ),
}  # fmt: skip
