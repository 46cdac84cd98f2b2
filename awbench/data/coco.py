"""Detection data in COCO's format, read and checked.

The layout is COCO 2017's: DIR/annotations/instances_{train,val}2017.json, and the images in DIR/{train,val}2017/.
Files are checked on opening, before any training; only the pixels are left to decoding.
"""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from awbench.errors import UserError

_OUTSIDE_PIXELS = 1.0  # COCO's polygons are rounded to hundredths, and other tools count pixels from 1
SMALLEST_SIDE = 1e-5  # Detectron2's filter_empty_instances


@dataclass(frozen=True, eq=False)
class DetectionImage:
    """One image of a split and the objects a detector learns from.

    Crowd regions and boxes without area are left out, as in Detectron2's mapper.

    Attributes:
        id: in the annotation file.
        path: of the image file.
        width, height: in pixels, as the annotation file says.
        boxes: (n, 4) float32, x1 y1 x2 y2 in pixels, clipped to the image.
        categories: (n,) int64, category ids as in the file.
    """

    id: int
    path: Path
    width: int
    height: int
    boxes: np.ndarray
    categories: np.ndarray


@dataclass(frozen=True, eq=False)
class DetectionSplit:
    """One split of a detection dataset.

    Attributes:
        images: all of them, sorted by id, those without objects too.
        categories: id -> name, sorted by id; ids may have gaps.
        annotations: the JSON file, the ground truth of an evaluation.
        digest: sha256 of the annotation file, which also names every image.
        description: what it is, in words, for records ("COCO val2017, 5,000 images").
        complete: False for a subset of the benchmark's split, or other data in its format.
        notes: what was left out, in words.
    """

    images: tuple[DetectionImage, ...]
    categories: dict[int, str]
    annotations: Path
    digest: str
    description: str
    complete: bool = True
    notes: tuple[str, ...] = ()


def annotation_path(directory: Path, split: str) -> Path:
    return directory / "annotations" / f"instances_{split}2017.json"


def image_folder(directory: Path, split: str) -> Path:
    return directory / f"{split}2017"


def read_annotations(path: Path) -> tuple[dict[str, Any], str]:
    """A COCO annotation file, checked: ids are unique and known, numbers are numbers, boxes lie in their image.

    Returns:
        its content without the segmentations, which are most of its size and which boxes do not need; its sha256.

    Raises:
        UserError: it cannot be read or its content is not as above; names the file, the entry and what would be right.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from None
    try:
        truth = json.loads(content, object_hook=_without_segmentation)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); it may be cut short: fetch it again") from None
    _check_entries(path, truth)
    _check_ids(path, truth)
    _check_boxes(path, truth)
    return truth, hashlib.sha256(content).hexdigest()


def _without_segmentation(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop("segmentation", None)
    return entry


# Python's JSON has NaN, Infinity and integers of any length. Below 2**53 an integer is exact as a float, too.
def _is_integer(value: Any) -> bool:
    return type(value) is int and -(2**53) < value < 2**53


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -(2**53) < value < 2**53


def _is_name(value: Any) -> bool:
    return type(value) is str and value != ""


def _is_box(value: Any) -> bool:
    return type(value) is list and len(value) == 4 and all(map(_is_number, value)) and value[2] >= 0 and value[3] >= 0


_ID = (_is_integer, "a whole number")
_SIZE = (lambda value: _is_integer(value) and value > 0, "a whole number of pixels above 0")
_AREA = (lambda value: _is_number(value) and value >= 0, "a finite number, not negative")
_BOX = (_is_box, "[x, y, width, height] in finite numbers, width and height not negative")
_ENTRIES: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "images": {
        "id": _ID,
        "file_name": (lambda value: _is_name(value) and "/" not in value, "the name of a file, without folders"),
        "width": _SIZE,
        "height": _SIZE,
    },
    "annotations": {
        "id": _ID,
        "image_id": _ID,
        "category_id": _ID,
        "bbox": _BOX,
        "area": _AREA,
        "iscrowd": (lambda value: _is_integer(value) and value in (0, 1), "0 or 1"),
    },
    "categories": {"id": _ID, "name": (_is_name, "a name")},
}


def _check_entries(path: Path, truth: Any) -> None:
    """That every key is there and every value is of its kind."""
    if type(truth) is not dict:
        raise UserError(f"{path} holds {reprlib.repr(truth)}; it must be an object with {', '.join(_ENTRIES)}")
    for section, keys in _ENTRIES.items():
        entries = truth.get(section)
        if type(entries) is not list:
            found = f"{section} is {reprlib.repr(entries)}" if section in truth else f"{section} is missing"
            raise UserError(f"{path}: {found}; it must be a list of objects with {', '.join(keys)}")
        if not entries and section != "annotations":
            raise UserError(f"{path}: {section} is empty; there must be at least one")
        for index, entry in enumerate(entries):
            if type(entry) is not dict:
                wanted = f"an object with {', '.join(keys)}"
                raise UserError(f"{path}: {section}[{index}] is {reprlib.repr(entry)}; it must be {wanted}")
            for key, (is_right, wanted) in keys.items():
                if key not in entry:
                    raise UserError(f"{path}: {section}[{index}] has no {key}; it must be {wanted}")
                if not is_right(entry[key]):
                    shown = reprlib.repr(entry[key])
                    raise UserError(f"{path}: {key} of {section}[{index}] is {shown}; it must be {wanted}")


def _check_ids(path: Path, truth: dict[str, Any]) -> None:
    """That nothing is there twice, and that annotations refer to what is there."""
    for section, key in (("images", "id"), ("annotations", "id"), ("categories", "id"), ("categories", "name")):
        _require_none(path, f"{key}s of {section} more than once", _repeated(entry[key] for entry in truth[section]))
    for section, key in (("images", "image_id"), ("categories", "category_id")):
        known = {entry["id"] for entry in truth[section]}
        unknown = [f"{entry['id']} with {entry[key]}" for entry in truth["annotations"] if entry[key] not in known]
        _require_none(path, f"annotations with a {key} that is not among the {section}", unknown)


def _check_boxes(path: Path, truth: dict[str, Any]) -> None:
    """That boxes, crowd regions' too, lie in their images: otherwise these are other images, or resized ones."""
    sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    corners = _corners(truth["annotations"])
    limits = np.array([sizes[entry["image_id"]] for entry in truth["annotations"]], dtype=np.float64).reshape(-1, 2)
    outside = (corners[:, :2] < -_OUTSIDE_PIXELS) | (corners[:, 2:] > limits + _OUTSIDE_PIXELS)
    found = []
    for index in np.flatnonzero(outside.any(axis=1)):
        entry = truth["annotations"][index]
        width, height = sizes[entry["image_id"]]
        found.append(f"{entry['bbox']} in image {entry['image_id']} of {width}x{height}")
    _require_none(path, "boxes [x, y, width, height] outside their images", found)


def _corners(annotations: Sequence[dict[str, Any]]) -> np.ndarray:
    """(n, 4) float64, x1 y1 x2 y2, of annotations whose boxes are x y width height."""
    boxes = np.array([entry["bbox"] for entry in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _require_none(path: Path, what: str, found: Sequence[Any]) -> None:
    """Raise a UserError with the first five of what was found, if anything was."""
    if found:
        first = ", ".join(str(thing) for thing in found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserError(f"{path} has {len(found):,} {what}; the first: {first}; there must be none")


def read_split(directory: Path, split: str) -> DetectionSplit:
    """A split of the standard layout; the caller describes it."""
    path, folder = annotation_path(directory, split), image_folder(directory, split)
    for wanted, is_there in ((path, path.is_file()), (folder, folder.is_dir())):
        if not is_there:
            layout = f"DIR/annotations/{path.name} and DIR/{folder.name}/*.jpg"
            raise UserError(f"{wanted} is missing; COCO's layout is {layout}")
    truth, digest = read_annotations(path)
    with os.scandir(folder) as entries:  # one listing: asking for each of 118,287 files takes minutes on a network disk
        present = {entry.name for entry in entries}
    images = sorted(truth["images"], key=lambda image: image["id"])
    missing = [image["file_name"] for image in images if image["file_name"] not in present]
    _require_none(path, f"images that are not in {folder}", missing)

    annotations = truth["annotations"]
    row = {image["id"]: index for index, image in enumerate(images)}
    rows = np.array([row[entry["image_id"]] for entry in annotations], dtype=np.int64)
    sizes = np.array([[image["width"], image["height"]] for image in images], dtype=np.float64)
    boxes = _corners(annotations).clip(0, np.tile(sizes[rows], 2)).astype(np.float32)
    crowd = np.array([entry["iscrowd"] for entry in annotations], dtype=bool)
    empty = (boxes[:, 2:] - boxes[:, :2] <= SMALLEST_SIDE).any(axis=1)
    categories = np.array([entry["category_id"] for entry in annotations], dtype=np.int64)

    kept = np.flatnonzero(~crowd & ~empty)
    kept = kept[np.argsort(rows[kept], kind="stable")]
    boxes, categories = boxes[kept], categories[kept]
    ends = np.searchsorted(rows[kept], np.arange(len(images) + 1))
    without_area = int((empty & ~crowd).sum())
    return DetectionSplit(
        images=tuple(
            DetectionImage(
                image["id"], folder / image["file_name"], image["width"], image["height"],
                boxes[ends[index] : ends[index + 1]], categories[ends[index] : ends[index + 1]],
            )
            for index, image in enumerate(images)
        ),
        categories=dict(sorted((category["id"], category["name"]) for category in truth["categories"])),
        annotations=path,
        digest=digest,
        description="",
        notes=(f"{without_area:,} boxes without area left out",) if without_area else (),
    )  # fmt: skip
