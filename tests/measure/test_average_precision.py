from __future__ import annotations

import math
import random

import numpy as np
import pytest
from coco_files import make_truth, write_coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from awbench.errors import UserError
from awbench.measure.average_precision import measure_average_precision

BIG, MIDDLE, SMALL = [100, 100, 200, 100], [10, 10, 60, 60], [400, 300, 20, 30]


def found(image_id, category_id, bbox, score=0.9):
    return {"image_id": image_id, "category_id": category_id, "bbox": list(bbox), "score": score}


@pytest.fixture
def measure(tmp_path):
    def measure(objects, detections, image_ids=(3, 7, 10), change=None):
        truth = make_truth(objects)
        if change:
            change(truth)
        return measure_average_precision(write_coco(tmp_path, truth, files=False), detections, image_ids)

    return measure


def test_perfect_detections(measure):
    objects = [(3, 1, BIG), (3, 1, MIDDLE), (7, 4, MIDDLE), (10, 4, SMALL)]
    result = measure(objects, [found(*thing) for thing in objects])
    numbers = (result.ap, result.ap50, result.ap75, result.ap_small, result.ap_medium, result.ap_large)
    assert numbers == (pytest.approx(100),) * 6
    assert result.images == 3
    assert result.by_category == {"c1": pytest.approx(100), "c4": pytest.approx(100), "c9": None}


def test_no_detections_are_zero(measure):
    result = measure([(3, 1, BIG), (7, 4, BIG)], [])
    assert (result.ap, result.ap50, result.ap75, result.ap_large) == (0.0,) * 4
    assert (result.ap_small, result.ap_medium) == (None, None)
    assert result.by_category == {"c1": 0.0, "c4": 0.0, "c9": None}


def test_nothing_to_find(measure):
    result = measure([], [found(3, 1, BIG)])
    assert (result.ap, result.ap50, result.by_category) == (None, None, {"c1": None, "c4": None, "c9": None})


@pytest.mark.parametrize(
    "objects, detections, ap, ap50, ap75",
    [
        # A false positive ranked above: precision is 1/2 at every recall.
        ([(3, 1, BIG)], [found(3, 1, BIG, 0.5), found(3, 1, SMALL, 0.6)], 50, 50, 50),
        # Ranked below, it costs nothing.
        ([(3, 1, BIG)], [found(3, 1, BIG, 0.5), found(3, 1, SMALL, 0.4)], 100, 100, 100),
        # In another image, the same.
        ([(3, 1, BIG)], [found(3, 1, BIG, 0.5), found(7, 1, BIG, 0.6)], 50, 50, 50),
        # One of two found: precision 1 at recalls 0, .01, ... .50, which are 51 of 101.
        ([(3, 1, BIG), (7, 1, BIG)], [found(3, 1, BIG)], *[5100 / 101] * 3),
        # A second detection of the same object is a false positive, ranked before the other object's.
        ([(3, 1, BIG), (7, 1, BIG)], [found(3, 1, BIG, 0.9), found(3, 1, BIG, 0.8), found(7, 1, BIG, 0.7)],
         *[(51 + 50 * 2 / 3) * 100 / 101] * 3),
        # IoU .62 counts at thresholds .50, .55 and .60 of ten.
        ([(3, 1, BIG)], [found(3, 1, [100, 100, 200, 62])], 30, 100, 0),
        # The right box with another category is no hit, and c4 has none of its own.
        ([(3, 1, BIG), (3, 4, BIG)], [found(3, 1, BIG)], 50, 50, 50),
    ],
)  # fmt: skip
def test_precision_by_hand(objects, detections, ap, ap50, ap75, measure):
    result = measure(objects, detections)
    assert (result.ap, result.ap50, result.ap75) == pytest.approx((ap, ap50, ap75))


def test_sizes_are_apart(measure):
    result = measure([(3, 1, SMALL), (3, 1, MIDDLE)], [found(3, 1, SMALL)])
    assert (result.ap_small, result.ap_medium, result.ap_large) == (pytest.approx(100), 0.0, None)


def test_a_subset_ignores_the_other_images(measure):
    objects, detections = [(3, 1, BIG), (7, 1, BIG)], [found(3, 1, BIG), found(7, 1, SMALL, 0.95)]
    assert measure(objects, detections, [3]).ap == pytest.approx(100)
    assert measure(objects, detections, [7, 7]).ap == 0
    assert measure(objects, detections, [7, 7]).images == 1
    assert measure(objects, detections, np.array([3, 10])).images == 2


def test_crowds_are_neither_missed_nor_false(measure):
    def crowded(truth):
        truth["annotations"][1]["iscrowd"] = 1

    objects = [(3, 1, MIDDLE), (3, 1, BIG)]
    assert measure(objects, [found(3, 1, MIDDLE, 0.5), found(3, 1, BIG, 0.6)], change=crowded).ap == pytest.approx(100)
    assert measure(objects, [found(3, 1, MIDDLE, 0.5)], change=crowded).ap == pytest.approx(100)


def test_an_annotation_with_id_0_can_be_found(measure):
    """pycocotools' marker for "no match" is the id 0: handed over as it is, this object would count as missed."""

    def from_zero(truth):
        for number, entry in enumerate(truth["annotations"]):
            entry["id"] = number

    assert measure([(3, 1, BIG)], [found(3, 1, BIG)], change=from_zero).ap == pytest.approx(100)


def test_the_order_of_detections_makes_no_difference(measure):
    tied = [found(3, 1, BIG), found(3, 1, SMALL)]  # of equal score: taken in the order given, AP is 100 or 50
    assert measure([(3, 1, BIG)], tied) == measure([(3, 1, BIG)], tied[::-1])


SPANS = (0, 300), (0, 200), (5, 150), (5, 150)


def random_case(seed):
    """Objects, and detections near some of them, with many equal scores."""
    draw = random.Random(seed)
    objects = [
        (draw.choice([3, 7, 10]), draw.choice([1, 4, 9]), [draw.randrange(*span) for span in SPANS]) for _ in range(60)
    ]
    detections = []
    for image, category, box in objects * 3:
        if draw.random() < 0.5:
            category = draw.choice([1, 4, 9])
        detections.append(found(image, category, [value + draw.random() * 8 for value in box], draw.randrange(20) / 20))
    return objects, detections


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_pycocotools_alone(seed, tmp_path, capsys):
    objects, detections = random_case(seed)
    path = write_coco(tmp_path, make_truth(objects), files=False)
    before = [detection | {} for detection in detections]
    result = measure_average_precision(path, detections, [10, 3])
    assert capsys.readouterr() == ("", "")
    assert detections == before
    assert [path] == [path for path in tmp_path.rglob("*") if path.is_file()]

    truth = COCO(str(path))
    ordered = sorted(detections, key=lambda d: (d["image_id"], -d["score"], d["category_id"], d["bbox"]))
    evaluation = COCOeval(truth, truth.loadRes(ordered), "bbox")
    evaluation.params.imgIds = [3, 10]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    numbers = [result.ap, result.ap50, result.ap75, result.ap_small, result.ap_medium, result.ap_large]
    assert [value / 100 for value in numbers] == pytest.approx(list(evaluation.stats[:6]), abs=1e-12)
    for category, value in zip((1, 4, 9), result.by_category.values(), strict=True):
        evaluation.params.catIds = [category]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert value / 100 == pytest.approx(evaluation.stats[0], abs=1e-12)
    assert 0.01 < result.ap / 100 < 0.9  # a case that says something


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"image_id": 4}, "a detection is in image 4, which is not in .*instances_val2017.json"),
        ({"category_id": 2}, "in image 3 has category 2, which is not in"),
        ({"score": math.nan}, "in image 3 has bbox .* and score nan; they must be finite"),
        ({"bbox": [0, 0, math.inf, 5]}, "in image 3 has bbox .*inf.* finite numbers"),
        ({"bbox": [0, 0, -1, 5]}, "neither width nor height negative"),
        ({"bbox": [0, 0, 5]}, "finite numbers x, y, width, height"),
        ({"bbox": None}, "is not in COCO's results format"),
        ({"image_id": 3.5}, "is not in COCO's results format"),
        ({"score": "high"}, "is not in COCO's results format"),
    ],
)
def test_a_wrong_detection_is_named(wrong, message, measure):
    with pytest.raises(UserError, match=message):
        measure([(3, 1, BIG)], [found(3, 1, BIG), found(3, 1, BIG) | wrong])


def test_numbers_of_numpy_are_numbers(measure):
    detection = found(np.int64(3), np.int64(1), np.array(BIG, np.float32), np.float32(0.5))
    assert measure([(3, 1, BIG)], [detection]).ap == pytest.approx(100)


@pytest.mark.parametrize("image_ids, message", [([], "no images; give"), ([3, 4, 5], "2 images .* first 4; give ids")])
def test_wrong_images(image_ids, message, measure):
    with pytest.raises(UserError, match=message):
        measure([(3, 1, BIG)], [], image_ids)


def test_a_broken_annotation_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.json cannot be read"):
        measure_average_precision(tmp_path / "nowhere.json", [], [3])
