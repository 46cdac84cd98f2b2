"""Tiny detection sets in COCO's layout, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from awbench.data.coco import annotation_path, image_folder

Box = Sequence[float]


def make_truth(
    objects: Sequence[tuple[int, int, Box]], images: Sequence[int] = (10, 3, 7), categories: Sequence[int] = (1, 4, 9)
) -> dict[str, Any]:
    """The content of an annotation file.

    Args:
        objects: (image id, category id, [x, y, width, height]).
        images: ids of images of 640x480.
        categories: ids; category 4 is named "c4".
    """
    return {
        "images": [{"id": i, "file_name": f"{i:03}.jpg", "width": 640, "height": 480} for i in images],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": list(box), "area": box[2] * box[3]}
            | {"iscrowd": 0, "segmentation": [[0, 0, 1, 1, 0, 1]]}
            for n, (image, category, box) in enumerate(objects, start=1)
        ],
        "categories": [{"id": i, "name": f"c{i}", "supercategory": "thing"} for i in categories],
    }


def write_coco(directory: Path, truth: Any, split: str = "val", files: bool = True) -> Path:
    """Write an annotation file and, unless told otherwise, its images without content; returns the former."""
    path, folder = annotation_path(directory, split), image_folder(directory, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(truth))
    if files:
        folder.mkdir(exist_ok=True)
        for image in truth["images"]:
            (folder / image["file_name"]).touch()
    return path
