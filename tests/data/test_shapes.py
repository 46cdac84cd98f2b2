from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from coco_files import make_truth, write_coco
from PIL import Image

from awbench.data import shapes
from awbench.data.coco import annotation_path, read_annotations
from awbench.data.detection_datasets import open_detection_split
from awbench.data.shapes import CATEGORIES, default_shapes_directory, draw, provide_shapes, write_shapes
from awbench.errors import UserError
from awbench.measure.average_precision import measure_average_precision
from awbench.recipes.datasets import DATASET_FACTS

TINY = {"train_images": 3, "val_images": 2, "width": 96, "height": 64}


@pytest.fixture(scope="module")
def pictures():
    """Sixty pictures of the default size and what is in them."""
    return [draw(np.random.Generator(np.random.PCG64(seed)), 256, 192) for seed in range(60)]


@pytest.fixture
def tiny_default(monkeypatch, tmp_path):
    """A default set that takes no time, and a cache of its own."""
    for name, value in TINY.items():
        monkeypatch.setattr(shapes, name.upper(), value)
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "cache"))
    return default_shapes_directory()


def contents(directory):
    """Annotations as bytes, images as pixels: PNG bytes are zlib's affair."""
    return {
        path.relative_to(directory): path.read_bytes()
        if path.suffix == ".json"
        else np.asarray(Image.open(path)).tobytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_the_default_sets_digest_is_the_one_that_tables_know(tmp_path):
    """Also that no machine draws another set: 160 pictures, of which one pixel at a box's edge would be enough."""
    write_shapes(tmp_path / "set", train_images=1)
    content = (tmp_path / "set" / "annotations" / "instances_val2017.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == DATASET_FACTS["shapes"].val_sha256


def test_the_same_seed_is_the_same_set_anywhere(tmp_path):
    write_shapes(tmp_path / "a", **TINY)
    digest = hashlib.sha256(b"".join(contents(tmp_path / "a").values())).hexdigest()
    # If this changed on purpose, raise shapes.VERSION, which is part of the cache's folder name.
    assert (shapes.VERSION, digest) == (1, "71fe70f733a25fac82a4890385e9eec5906c481120c88a631e29618df345bb66")
    write_shapes(tmp_path / "b", **TINY | {"train_images": 4})
    longer = contents(tmp_path / "b")
    images = {path: pixels for path, pixels in contents(tmp_path / "a").items() if path.suffix == ".png"}
    assert images == {path: longer[path] for path in images}  # an image does not depend on how many there are
    write_shapes(tmp_path / "c", seed=1, **TINY)
    assert not set(contents(tmp_path / "c").values()) & set(contents(tmp_path / "a").values())


def test_a_set_opens_and_no_id_is_in_both_splits(tmp_path):
    write_shapes(tmp_path / "set", **TINY)
    train, val = (open_detection_split("shapes", tmp_path / "set", split) for split in ("train", "val"))
    assert (train.description, train.complete) == ("procedural shapes train, 3 images", True)
    assert train.categories == CATEGORIES == {1: "disk", 2: "ring", 3: "square", 5: "triangle", 8: "cross", 13: "star"}
    assert not {image.id for image in train.images} & {image.id for image in val.images}
    with Image.open(val.images[0].path) as image:
        assert (image.size, image.mode) == ((96, 64), "RGB")
    truth, _ = read_annotations(train.annotations)
    assert min(entry["id"] for entry in truth["annotations"]) == 1  # pycocotools takes 0 for "no match"
    perfect = [entry | {"score": 1.0} for entry in truth["annotations"]]
    result = measure_average_precision(train.annotations, perfect, [image.id for image in train.images])
    assert result.ap == pytest.approx(100)


def test_sizes_counts_and_categories_are_spread(pictures):
    areas = np.array([area for _, objects in pictures for _, _, area in objects])
    assert np.histogram(areas, [0, 32**2, 96**2, 256 * 192])[0].min() >= 15
    counts = np.bincount([len(objects) for _, objects in pictures])
    assert counts[0] >= 1 and len(counts) >= 7
    found = [category for _, objects in pictures for category, _, _ in objects]
    assert min(found.count(category) for category in CATEGORIES) >= 15


def test_boxes_and_areas_are_those_of_what_can_be_seen(monkeypatch):
    """In pictures without background, texture and soft edges, each object's pixels are counted by its colour."""
    coverage, lines = shapes._Object.coverage, shapes._lines
    monkeypatch.setattr(shapes._Object, "coverage", lambda *a: (coverage(*a) >= 0.5).astype(np.float32))
    monkeypatch.setattr(shapes, "_lines", lambda *a, **k: (lines(*a, **k) >= 0.5).astype(np.float32))
    monkeypatch.setattr(shapes, "_background", lambda *a: np.zeros((192, 256, 3), np.float32))
    checked = []
    for seed in range(20):
        reds = iter(range(250, 0, -25))
        monkeypatch.setattr(shapes, "_fill", lambda *a: np.float32([next(reds), 0, 0]))  # noqa: B023
        pixels, objects = draw(np.random.Generator(np.random.PCG64(seed)), 256, 192)
        for index, (_, box, area) in enumerate(objects):
            seen = (abs(pixels - [250.0 - 25 * index, 0, 0]) <= 4).all(axis=-1)  # lines have green, and grain is 4
            rows, columns = np.nonzero(seen)
            x, y, right, bottom = columns.min(), rows.min(), columns.max(), rows.max()
            assert (box, area) == ([x, y, right - x + 1, bottom - y + 1], seen.sum())
            checked.append(area / (box[2] * box[3]))
    assert len(checked) > 40 and min(checked) < 0.3


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_shape_has_its_area(category):
    for angle in (0.3, 0.5):  # not along the grid of samples
        thing = shapes._Object(category, 100.3, 95.6, 80.0, angle, 1.1)
        pixels = thing.coverage(thing.window(200, 190))
        assert pixels.sum() == pytest.approx(thing.area, rel=2e-3)


def test_an_object_stands_out_from_what_lies_below():
    thing = shapes._Object(3, 50, 50, 40, 0.0, 1.0)
    window = thing.window(100, 100)
    for seed in range(200):
        rng = np.random.Generator(np.random.PCG64(seed))
        below = np.broadcast_to(rng.uniform(0, 255, 3), (82, 82, 3))
        filled = shapes._fill(rng, thing, window, np.ones((82, 82, 1)), below)
        assert abs(filled.mean(axis=(0, 1)) - below[0, 0]).max() > 40  # a texture moves the mean by less than 20


def test_what_is_mostly_hidden_is_neither_drawn_nor_annotated(monkeypatch):
    front = shapes._Object(3, 128, 96, 80, 0.0, 1.0)
    for offset, shown in ((0, 1), (45, 1), (52, 2)):  # 0, 15 and 35 % of the disk can be seen
        behind = shapes._Object(1, 128 + offset, 96, 20, 0.0, 1.0)
        monkeypatch.setattr(shapes, "_plan", lambda *a: [behind, front])  # noqa: B023
        _, objects = draw(np.random.Generator(np.random.PCG64(6)), 256, 192)
        assert len(objects) == shown


def test_the_default_set_is_made_on_first_use(tiny_default):
    assert not tiny_default.exists()
    assert len(open_detection_split("shapes", None, "val").images) == 2
    before = annotation_path(tiny_default, "train").stat().st_mtime_ns
    assert len(open_detection_split("shapes", None, "train").images) == 3
    assert annotation_path(tiny_default, "train").stat().st_mtime_ns == before  # not made again
    assert [path.name for path in tiny_default.parent.iterdir()] == [tiny_default.name]


@pytest.mark.parametrize("exists", [False, True])
def test_a_given_folder_is_filled_if_it_is_empty(exists, tiny_default, tmp_path):
    folder = tmp_path / "deep" / "set"
    if exists:
        folder.mkdir(parents=True)
        (tmp_path / "link").symlink_to(folder)
        folder = tmp_path / "link"
    assert len(open_detection_split("shapes", folder, "val").images) == 2
    assert not tiny_default.exists()


def test_a_given_folder_with_something_else_is_left_alone(tiny_default, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(UserError, match="instances_val2017.json is missing"):
        open_detection_split("shapes", tmp_path / "mine", "val")
    with pytest.raises(UserError, match="mine is not an empty folder"):
        write_shapes(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    write_coco(tmp_path / "other", make_truth([]))
    with pytest.raises(UserError, match="has the categories c1, c4, c9, ...; these are not the procedural shapes"):
        open_detection_split("shapes", tmp_path / "other", "val")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    name = "shapes-v1-seed0-train480-val160-256x192"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWBENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_shapes_directory() == tmp_path / ".cache/awbench" / name
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_shapes_directory() == tmp_path / "xdg/awbench" / name
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "own"))
    assert default_shapes_directory() == tmp_path / "own" / name


@pytest.mark.parametrize("seed, right", [(shapes.SEED, True), (1, False)])
def test_another_process_that_is_faster(seed, right, tiny_default, monkeypatch):
    write_split = shapes._write_split

    def after_the_other(*words):
        monkeypatch.setattr(shapes, "_write_split", write_split)
        write_shapes(tiny_default, seed=seed, **TINY)
        write_split(*words)

    monkeypatch.setattr(shapes, "_write_split", after_the_other)
    if right:
        provide_shapes(tiny_default)
    else:
        with pytest.raises(UserError, match="was filled with something else meanwhile"):
            provide_shapes(tiny_default)
    assert [path.name for path in tiny_default.parent.iterdir()] == [tiny_default.name]
    assert len(open_detection_split("shapes", None, "val").images) == 2


def test_several_at_once(tiny_default):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(provide_shapes, [tiny_default] * 4))
    assert [path.name for path in tiny_default.parent.iterdir()] == [tiny_default.name]
    write_shapes(tiny_default.parent / "alone", **TINY)
    assert contents(tiny_default) == contents(tiny_default.parent / "alone")


def test_a_killed_generation_leaves_nothing_that_is_taken_for_whole(tiny_default, monkeypatch):
    write_split = shapes._write_split

    def write_split_until_killed(directory, split, *words):
        if split == "val":
            raise SystemExit
        write_split(directory, split, *words)

    with monkeypatch.context() as patch:
        patch.setattr(shapes, "_write_split", write_split_until_killed)
        patch.setattr(shapes.shutil, "rmtree", lambda *words, **options: None)  # who is killed does not tidy up
        with pytest.raises(SystemExit):
            provide_shapes(tiny_default)
    (left,) = tiny_default.parent.iterdir()
    assert annotation_path(left, "train").exists()
    assert len(open_detection_split("shapes", None, "val").images) == 2
    assert left.exists()  # it could have been a process at work; a day later it is none
    os.utime(left, (0, 0))
    tiny_default.rename(tiny_default.parent / "moved")
    provide_shapes(tiny_default)
    assert not left.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tiny_default, monkeypatch):
    def full(*words, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"cannot be written to .* \(No space left on device\); name another folder"):
        provide_shapes(tiny_default)
    assert list(tiny_default.parent.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"train_images": 0}, {"val_images": -1}, {"width": 31}, {"height": 8}])
def test_what_cannot_be_drawn(wrong, tmp_path):
    with pytest.raises(UserError, match="cannot be drawn; give at least one of each, of at least 32x32 pixels"):
        write_shapes(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def test_the_smallest_pictures(tmp_path):
    write_shapes(tmp_path / "set", train_images=30, val_images=1, width=32, height=32)
    assert len(open_detection_split("shapes", tmp_path / "set", "train").images) == 30
