from __future__ import annotations

import copy
import json
import math
import re

import numpy as np
import pytest
from coco_files import make_truth, write_coco

from awbench.data import detection_datasets
from awbench.data.coco import read_annotations
from awbench.data.detection_datasets import DETECTION_DATASETS, find_detection_dataset, open_detection_split
from awbench.errors import UserError

TRUTH = make_truth(
    [
        (7, 9, [10, 20, 30, 40]),
        (3, 1, [-0.5, 0, 640.9, 480]),
        (7, 4, [1.25, 2.5, 0.5, 477.5]),
        (3, 4, [100, 100, 50, 0]),
        (7, 1, [640.5, 10, 0.25, 10]),
    ],
    categories=(9, 4, 1),
)


def changed(change):
    """The truth after a change in place."""
    truth = copy.deepcopy(TRUTH)
    change(truth)
    return truth


def test_a_split_is_what_its_file_says(tmp_path):
    split = open_detection_split("coco", tmp_path, "val") if write_coco(tmp_path, TRUTH) else None
    assert [image.id for image in split.images] == [3, 7, 10]
    assert list(split.categories.items()) == [(1, "c1"), (4, "c4"), (9, "c9")]
    whole, two, none = split.images
    assert (whole.path, whole.width, whole.height) == (tmp_path / "val2017/003.jpg", 640, 480)
    np.testing.assert_array_equal(whole.boxes, [[0, 0, 640, 480]])  # clipped
    np.testing.assert_array_equal(two.boxes, [[10, 20, 40, 60], [1.25, 2.5, 1.75, 480]])  # in the file's order
    assert (two.boxes.dtype, two.categories.dtype) == (np.float32, np.int64)
    assert two.categories.tolist() == [9, 4]
    assert (none.boxes.shape, none.categories.shape) == ((0, 4), (0,))
    assert split.notes == ("2 boxes without area left out",)
    assert split.annotations == tmp_path / "annotations/instances_val2017.json"


def test_segmentations_are_not_kept_in_memory(tmp_path):
    truth, _ = read_annotations(write_coco(tmp_path, TRUTH))
    assert set(TRUTH["annotations"][0]) - set(truth["annotations"][0]) == {"segmentation"}


def test_crowds_are_left_out(tmp_path):
    write_coco(tmp_path, changed(lambda truth: truth["annotations"][0].update(iscrowd=1)))
    split = open_detection_split("coco", tmp_path, "val")
    assert split.images[1].categories.tolist() == [4]


def test_no_annotations_at_all(tmp_path):
    write_coco(tmp_path, make_truth([]), "train")
    split = open_detection_split("coco", tmp_path, "train")
    assert [len(image.boxes) for image in split.images] == [0, 0, 0]
    assert split.notes == ()


def test_the_digest_changes_with_the_file(tmp_path):
    first, second = (
        read_annotations(write_coco(tmp_path / name, truth))[1]
        for name, truth in (("a", TRUTH), ("b", changed(lambda truth: truth["images"][0].update(file_name="x.jpg"))))
    )
    assert first != second
    assert first == read_annotations(write_coco(tmp_path / "c", TRUTH))[1]


@pytest.mark.parametrize(
    "categories, whole, description, complete",
    [
        (sorted(detection_datasets.COCO_CATEGORY_IDS), 3, "COCO val2017, 3 images", True),
        (sorted(detection_datasets.COCO_CATEGORY_IDS), 5_000, "subset of COCO val2017, 3 images", False),
        ((1, 4, 9), 3, "data in COCO's format with 3 categories, not COCO's 80: val, 3 images", False),
    ],
)
def test_a_subset_or_other_data_does_not_pass_for_coco(categories, whole, description, complete, tmp_path, monkeypatch):
    monkeypatch.setitem(detection_datasets.COCO_IMAGES, "val", whole)
    write_coco(tmp_path, make_truth([], categories=categories))
    split = open_detection_split("coco", tmp_path, "val")
    assert (split.description, split.complete) == (description, complete)


def test_coco_has_80_categories():
    assert (
        len(detection_datasets.COCO_CATEGORY_IDS) == 80
    )  # 91 less those that the paper lists and the files do not have
    assert max(detection_datasets.COCO_CATEGORY_IDS) == 90


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t["images"].append(t["images"][1]), "has 1 ids of images more than once; the first: 3;"),
        (lambda t: t["annotations"].append(t["annotations"][1]), "has 1 ids of annotations more than once; .* 2;"),
        (lambda t: t["categories"].append(t["categories"][1]), "has 1 ids of categories more than once; .* 4;"),
        (lambda t: t["categories"].append({"id": 5, "name": "c4"}), "has 1 names of categories more than once; .* c4;"),
        (lambda t: t["annotations"][1].update(image_id=4), "has 1 annotations with a image_id .*: 2 with 4;"),
        (lambda t: t["annotations"][2].update(category_id=5), "has 1 annotations with a category_id .*: 3 with 5;"),
        (lambda t: t["annotations"][0].update(bbox=[-1.1, 0, 5, 5]), r"boxes .*: \[-1.1, 0, 5, 5\] in image 7 of 640x"),
        (lambda t: t["annotations"][0].update(bbox=[0, -2, 5, 5]), r"has 1 boxes .* outside their images"),
        (lambda t: t["annotations"][0].update(bbox=[0, 0, 641.1, 5]), r"has 1 boxes .* outside their images"),
        (lambda t: t["annotations"][0].update(bbox=[0, 470, 5, 11.1]), r"has 1 boxes .* of 640x480;"),
        (lambda t: t["annotations"][0].update(bbox=[0, 0, -1, 5]), r"bbox of annotations\[0\] is \[0, 0, -1, 5\]; it"),
        (lambda t: t["annotations"][0].update(bbox=[0, 0, 5]), r"is \[0, 0, 5\]; it must be \[x, y, width, height\]"),
        (lambda t: t["annotations"][4].update(bbox=[0, 0, 5, math.nan]), r"annotations\[4\] is .*nan.* finite numbers"),
        (lambda t: t["annotations"][4].update(area=math.inf), r"area of annotations\[4\] is inf; .* finite number"),
        (lambda t: t["annotations"][4].pop("bbox"), r"annotations\[4\] has no bbox"),
        (lambda t: t["images"][2].update(height=0), r"height of images\[2\] is 0; .* pixels above 0"),
        (lambda t: t["images"][2].update(file_name="../x.jpg"), r"file_name of images\[2\] is '../x.jpg'"),
        (lambda t: t.update(images=[]), "images is empty"),
        (lambda t: t.update(categories=[]), "categories is empty"),
        (lambda t: t.pop("annotations"), "annotations is missing"),
        (lambda t: t.update(annotations={}), r"annotations is {}; it must be a list"),
    ],
)
def test_what_is_wrong_is_named(change, message, tmp_path):
    path = write_coco(tmp_path, changed(change), files=False)
    with pytest.raises(UserError, match=message) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("section, key", [(section, key) for section in TRUTH for key in (None, *TRUTH[section][0])])
def test_no_value_of_a_wrong_kind_gets_through(section, key, tmp_path):
    """Keys that nobody reads may hold anything; at every other place each of these is one line, no traceback."""
    right = {"file_name": ["1"], "name": ["1", "\ud800/"], "area": [0.5]}
    for value in (None, "", "1", [], {}, [None] * 4, True, 0.5, math.nan, -math.inf, 10**400, -(10**400), "\ud800/"):
        truth = copy.deepcopy(TRUTH)
        if key is None:
            truth[section][0] = value
        else:
            truth[section][0][key] = value
        path = write_coco(tmp_path, truth, files=False)
        if key in ("segmentation", "supercategory") or value in right.get(key, []):
            read_annotations(path)
        else:
            with pytest.raises(UserError, match=f"{key or section}") as caught:
                read_annotations(path)
            assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, "x", [], [TRUTH], True])
def test_a_file_that_holds_something_else(value, tmp_path):
    with pytest.raises(UserError, match="it must be an object with images, annotations, categories"):
        read_annotations(write_coco(tmp_path, value, files=False))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", json.dumps(TRUTH).encode()[:-9], b"[" * 100_000, b"1" * 5_000, b"<html>\n</html>"]
)
def test_a_file_that_is_not_json(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="x.json is not JSON .*may be cut short") as caught:
        read_annotations(path)
    assert "\n" not in str(caught.value)


def test_an_annotation_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read_annotations(tmp_path)


def test_many_faults_are_counted_and_five_named(tmp_path):
    truth = make_truth([(3, 1, [700 + n, 0, 5, 5]) for n in range(1200)])
    with pytest.raises(UserError, match=r"has 1,200 boxes .*\[704, 0, 5, 5\] in image 3 of 640x480, \.\.\.;") as caught:
        read_annotations(write_coco(tmp_path, truth))
    assert "705" not in str(caught.value)


def test_missing_images_are_counted_and_five_named(tmp_path):
    write_coco(tmp_path, make_truth([], images=range(1, 10)))
    for number in (9, 8, 2, 3, 4, 5, 6):
        (tmp_path / f"val2017/{number:03}.jpg").unlink()
    names = "002.jpg, 003.jpg, 004.jpg, 005.jpg, 006.jpg, ...;"
    with pytest.raises(UserError, match=f"has 7 images that are not in .*val2017; the first: {re.escape(names)}"):
        open_detection_split("coco", tmp_path, "val")


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="--data DIR"):
        open_detection_split("coco", None, "val")
    with pytest.raises(UserError, match="nowhere is not a folder; give the folder that holds COCO 2017"):
        open_detection_split("coco", tmp_path / "nowhere", "val")
    with pytest.raises(UserError, match="instances_val2017.json is missing; COCO's layout is DIR/annotations/"):
        open_detection_split("coco", tmp_path, "val")
    write_coco(tmp_path, TRUTH, files=False)
    with pytest.raises(UserError, match=r"val2017 is missing; .* DIR/val2017/\*.jpg"):
        open_detection_split("coco", tmp_path, "val")


def test_unknown_names():
    with pytest.raises(UserError, match=r"'cocoa' is not known; did you mean coco\? Known: coco, digits-detection\."):
        open_detection_split("cocoa", None, "val")
    with pytest.raises(UserError, match="split 'test' is not known; the splits are train and val"):
        open_detection_split("coco", None, "test")


def test_what_is_no_benchmark_says_so():
    assert {name for name, dataset in DETECTION_DATASETS.items() if dataset.proxy} == {"digits-detection"}
    assert find_detection_dataset("coco").needs_directory
