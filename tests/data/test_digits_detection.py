"""Digits to detect: the same set on any machine, true boxes, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from coco_files import make_truth, write_coco
from PIL import Image

from awbench.data import digits_detection
from awbench.data.coco import annotation_path, read_annotations
from awbench.data.datasets import ArrayImages
from awbench.data.detection_datasets import open_detection_split
from awbench.data.digits_detection import CATEGORIES, FACTS, default_directory, draw, provide, write
from awbench.data.opening import open_split
from awbench.errors import UserError
from awbench.measure.average_precision import measure_average_precision
from awbench.recipes.datasets import DatasetFacts

TINY = {"train_images": 3, "val_images": 2}


@pytest.fixture
def tiny_default(monkeypatch, tmp_path):
    """A default set that takes no time, and a cache of its own."""
    tiny = DatasetFacts(FACTS.title, "detection", **TINY, proxy=True)
    monkeypatch.setattr(digits_detection, "FACTS", tiny)
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "cache"))
    return default_directory()


def contents(directory):
    """Annotations as bytes, images as pixels: PNG bytes are zlib's affair."""
    return {
        path.relative_to(directory): path.read_bytes()
        if path.suffix == ".json"
        else np.asarray(Image.open(path)).tobytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_the_set_that_this_machine_makes_is_the_one_that_studies_know(tmp_path):
    """Boxes by the digest of the annotations; pixels too, which a machine could compute otherwise."""
    provide(tmp_path / "set")
    for split, wanted in (("train", FACTS.train_sha256), ("val", FACTS.val_sha256)):
        opened = open_detection_split("digits-detection", tmp_path / "set", split)
        assert (opened.digest, opened.complete) == (wanted, True)
    made = contents(tmp_path / "set")
    digest = hashlib.sha256(b"".join(made.values())).hexdigest()
    # If this changed on purpose, raise VERSION, which is part of the cache's folder name.
    assert (digits_detection.VERSION, digest) == (1, "44b9ceab3c848585178a494f1c51c0cd2b79f3cb75eb3a74305a114e9cd9231b")
    write(tmp_path / "short", **TINY)
    short = {path: pixels for path, pixels in contents(tmp_path / "short").items() if path.suffix == ".png"}
    assert len(short) == 5 and short == {path: made[path] for path in short}  # no image depends on how many there are


def test_no_digit_is_in_both_splits_and_all_are_there_in_several_sizes(tmp_path):
    provide(tmp_path / "set")
    splits = [open_detection_split("digits-detection", tmp_path / "set", split) for split in ("train", "val")]
    assert not {image.id for image in splits[0].images} & {image.id for image in splits[1].images}
    digits = [set(map(bytes, open_split("digits", None, split).images.pixels)) for split in ("train", "val")]
    assert digits[0].isdisjoint(digits[1])
    for split in splits:
        truth, _ = read_annotations(split.annotations)
        found = [entry["category_id"] for entry in truth["annotations"]]
        assert min(found.count(category) for category in CATEGORIES) >= 15
        heights = np.array([entry["bbox"][3] for entry in truth["annotations"]])
        assert np.histogram(heights, [0, 40, 60, 80, 120])[0].min() >= 0.1 * len(heights)
        assert min(entry["id"] for entry in truth["annotations"]) == 1  # pycocotools takes 0 for "no match"
        perfect = [entry | {"score": 1.0} for entry in truth["annotations"]]
        result = measure_average_precision(split.annotations, perfect, [image.id for image in split.images])
        assert result.ap == pytest.approx(100)


def test_boxes_are_around_ink_and_apart_from_each_other():
    """On a digit that is a white bar of known place: columns 2 to 4 of its eight, all rows."""
    bar = np.zeros((1, 8, 8, 3), np.uint8)
    bar[:, :, 2:5] = 255
    for seed in range(30):
        pixels, objects = draw(np.random.default_rng(seed), ArrayImages(bar, np.array([7])), 160, 120)
        assert pixels.shape == (120, 160, 3) and 1 <= len(objects) <= 4
        ink = np.zeros((120, 160), int)
        for category, (x, y, width, height), area in objects:
            assert CATEGORIES[category] == "seven" and width == pytest.approx(3 / 8 * height, abs=2)
            assert x >= 0 and y >= 0 and x + width <= 160 and y + height <= 120 and area == width * height
            ink[y : y + height, x : x + width] += 1
        assert ink.max() == 1  # no box lies over another
        bright = (pixels.astype(int).min(axis=2) >= 120).astype(int)  # the canvas is below, ink at its middle above
        assert not (bright > ink).any() and all(
            bright[y + height // 2, x + width // 2] for _, (x, y, width, height), _ in objects
        )


def test_the_default_set_is_made_on_first_use(tiny_default):
    assert not tiny_default.exists()
    assert len(open_detection_split("digits-detection", None, "val").images) == 2
    before = annotation_path(tiny_default, "train").stat().st_mtime_ns
    opened = open_detection_split("digits-detection", None, "train")
    assert (len(opened.images), opened.complete) == (3, False)  # its digest is not the one that studies know
    assert annotation_path(tiny_default, "train").stat().st_mtime_ns == before  # not made again
    assert [path.name for path in tiny_default.parent.iterdir()] == [tiny_default.name] == ["digits-detection-v1"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_given_folder_is_filled_if_it_is_empty(exists, tiny_default, tmp_path):
    folder = tmp_path / "deep" / "set"
    if exists:
        folder.mkdir(parents=True)
        (tmp_path / "link").symlink_to(folder)
        folder = tmp_path / "link"
    assert len(open_detection_split("digits-detection", folder, "val").images) == 2
    assert not tiny_default.exists()


def test_a_given_folder_with_something_else_is_left_alone(tiny_default, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(UserError, match="instances_val2017.json is missing"):
        open_detection_split("digits-detection", tmp_path / "mine", "val")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    write_coco(tmp_path / "other", make_truth([]))
    with pytest.raises(UserError, match="has the categories c1, c4, c9, ...; these are not digits to detect"):
        open_detection_split("digits-detection", tmp_path / "other", "val")


def test_several_at_once(tiny_default):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(provide, [tiny_default] * 4))
    assert [path.name for path in tiny_default.parent.iterdir()] == [tiny_default.name]
    write(tiny_default.parent / "alone", **TINY)
    assert contents(tiny_default) == contents(tiny_default.parent / "alone")


def test_a_killed_generation_leaves_nothing_that_is_taken_for_whole(tiny_default, monkeypatch):
    write_split = digits_detection._write_split

    def write_split_until_killed(directory, split, *words):
        if split == "val":
            raise SystemExit
        write_split(directory, split, *words)

    with monkeypatch.context() as patch:
        patch.setattr(digits_detection, "_write_split", write_split_until_killed)
        patch.setattr(digits_detection.shutil, "rmtree", lambda *words, **options: None)  # who is killed leaves it
        with pytest.raises(SystemExit):
            provide(tiny_default)
    (left,) = tiny_default.parent.iterdir()
    assert annotation_path(left, "train").exists()
    assert len(open_detection_split("digits-detection", None, "val").images) == 2
    assert left.exists()  # it could have been a process at work; a day later it is none
    os.utime(left, (0, 0))
    tiny_default.rename(tiny_default.parent / "moved")
    provide(tiny_default)
    assert not left.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tiny_default, monkeypatch):
    def full(*words, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"cannot be written to .* \(No space left on device\); name another folder"):
        provide(tiny_default)
    assert list(tiny_default.parent.iterdir()) == []
