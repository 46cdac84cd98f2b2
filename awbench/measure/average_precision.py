"""COCO's average precision of boxes, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

from awbench.data.coco import read_annotations
from awbench.errors import UserError

Detection = dict[str, Any]
"""COCO's results format: image_id, category_id, bbox [x, y, width, height] in pixels of the original image, score."""


@dataclass(frozen=True)
class AveragePrecision:
    """Result of an evaluation, in AP points (0..100); None where the ground truth has no such object.

    Attributes:
        ap: mean over IoU thresholds .50:.05:.95 and over categories, COCO's main number.
        ap50, ap75: at one IoU threshold.
        ap_small, ap_medium, ap_large: `ap` of objects of below 32², up to 96², and above 96² pixels.
        images: how many were evaluated.
        by_category: `ap` by the category's name, in order of category id.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    images: int
    by_category: dict[str, float | None]


def measure_average_precision(
    annotations: Path, detections: Sequence[Detection], image_ids: Sequence[int]
) -> AveragePrecision:
    """Evaluate detections against an annotation file; their order makes no difference.

    Args:
        annotations: COCO's JSON.
        detections: at most 100 an image and category count, the first by score. None at all is AP 0.
        image_ids: the images to evaluate; detections in other images of the file are ignored.

    Raises:
        UserError: the file is at fault, an image or category is not in it, or a detection is not finite.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, _ = read_annotations(annotations)
    names = {category["id"]: category["name"] for category in truth["categories"]}
    known = {image["id"] for image in truth["images"]}
    unknown = [image_id for image_id in image_ids if image_id not in known]
    if unknown or not len(image_ids):
        found = f"{len(unknown):,} images to evaluate are not in it, first {unknown[0]}" if unknown else "no images"
        raise UserError(f"{annotations}: {found}; give ids of its {len(known):,} images")

    # COCOeval takes equal scores in the order given; sorted, the number does not depend on who detected first.
    ordered = sorted(
        (_checked(detection, known, names.keys(), annotations) for detection in detections),
        key=lambda d: (d["image_id"], -d["score"], d["category_id"], d["bbox"]),
    )
    # COCOeval marks a match by the other's id and "no match" by 0, so an object whose id is 0 could not be found.
    for number, entry in enumerate(truth["annotations"], start=1):
        entry["id"] = number
    for number, entry in enumerate(ordered, start=1):
        entry |= {"id": number, "area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0}

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        sides = COCO(), COCO()
        for side, entries in zip(sides, (truth["annotations"], ordered), strict=True):  # loadRes fails without any
            side.dataset = truth | {"annotations": entries}
            side.createIndex()
        evaluation = COCOeval(*sides, iouType="bbox")
        evaluation.params.imgIds = sorted(set(image_ids))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()

    precision = evaluation.eval["precision"][..., 0, -1]  # (IoU, recall, category), all sizes, 100 detections
    by_category = {}
    for column, category_id in enumerate(evaluation.params.catIds):
        by_category[names[category_id]] = _points(precision[:, :, column].mean())
    ap, ap50, ap75, small, medium, large = map(_points, evaluation.stats[:6])
    return AveragePrecision(ap, ap50, ap75, small, medium, large, len(evaluation.params.imgIds), by_category)


def _points(value: float) -> float | None:
    """0..1 -> AP points; pycocotools' -1 stands for "nothing to find"."""
    return None if value < 0 else 100 * float(value)


def _checked(
    detection: Detection, images: Collection[int], categories: Collection[int], annotations: Path
) -> Detection:
    """The detection in Python's numbers, without anything else it carries."""
    try:
        image_id, category_id = index(detection["image_id"]), index(detection["category_id"])
        bbox, score = [float(value) for value in detection["bbox"]], float(detection["score"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"detection {detection!r} is not in COCO's results format ({error!r})") from None
    if image_id not in images:
        raise UserError(f"a detection is in image {image_id}, which is not in {annotations}")
    if category_id not in categories:
        raise UserError(f"a detection in image {image_id} has category {category_id}, which is not in {annotations}")
    if len(bbox) != 4 or not all(map(math.isfinite, [*bbox, score])) or min(bbox[2:]) < 0:
        raise UserError(
            f"a detection in image {image_id} has bbox {bbox} and score {score}; "
            "they must be finite numbers x, y, width, height, with neither width nor height negative"
        )
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": score}
