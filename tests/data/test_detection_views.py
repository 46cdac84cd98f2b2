"""Detection samples: resized as Detectron2 does, derived from the seed alone, each part on one process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from awbench.data.coco import DetectionImage
from awbench.data.datasets import ImageDecodeError
from awbench.data.detection_views import DetectionOrder, DetectionView, collate, resized_shape
from awbench.data.loader import Loader
from awbench.errors import UserError


@pytest.fixture
def images(tmp_path):
    """Six wide and five tall images, one of each without objects."""
    found = []
    for index in range(11):
        width, height = (60, 40) if index % 2 == 0 else (40, 60)
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[10:20, 5:25] = 255
        path = tmp_path / f"{index}.png"
        Image.fromarray(pixels).save(path)
        boxes = np.array([[5, 10, 25, 20]], np.float32) if index not in (4, 7) else np.zeros((0, 4), np.float32)
        found.append(DetectionImage(index + 100, path, width, height, boxes, np.full(len(boxes), 3)))
    return found


@pytest.mark.parametrize(
    ("height", "width", "size", "max_size", "expected"),
    [
        (480, 640, 800, 1333, (800, 1067)),  # 1066.67 rounds up, as Detectron2's ResizeShortestEdge
        (427, 640, 800, 1333, (800, 1199)),
        (300, 1000, 800, 1333, (400, 1333)),  # the longer side wins
        (640, 480, 640, 1333, (853, 640)),
    ],
)
def test_the_shorter_side_is_resized_as_in_detectron2(height, width, size, max_size, expected):
    assert resized_shape(height, width, size, max_size) == expected
    transforms = pytest.importorskip("detectron2.data.transforms", reason="Detectron2 is not installed")
    theirs = transforms.ResizeShortestEdge.get_output_shape(height, width, size, max_size)
    assert theirs == expected


def test_boxes_follow_the_pixels_through_resizing_and_flipping(images):
    view = DetectionView(images, (80,), 200, horizontal_flip=True, seed=3)
    flipped = set()
    for epoch in range(12):
        sample = view[epoch, 0]
        white = (sample.image[0] > 127).nonzero()
        (top, left), (bottom, right) = white.min(0).values, white.max(0).values + 1
        box = sample.boxes[0]
        assert torch.allclose(box, torch.tensor([left, top, right, bottom]).float(), atol=1.01)
        assert sample.image.shape == (3, 80, 120) and sample.original_size == (40, 60)
        flipped.add(bool(box[0] > 40))
    assert flipped == {True, False}


def test_samples_derive_from_seed_epoch_and_index_alone(images):
    view = DetectionView(images, (40, 64, 80), 200, horizontal_flip=True, seed=3)
    order = DetectionOrder(images, 2, 2, seed=3, first_step=0, last_step=5)
    alone, helped = (list(Loader(view, order, n, False, collate)) for n in (0, 2))
    for one, other in zip(alone, helped, strict=True):
        for a, b in zip(one.samples, other.samples, strict=True):
            assert torch.equal(a.image, b.image) and torch.equal(a.boxes, b.boxes) and a.image_id == b.image_id
    shapes = {sample.image.shape[1:] for batch in alone for sample in batch.samples}
    assert len(shapes) > 3  # both orientations, several sizes
    other_seed = DetectionView(images, (40, 64, 80), 200, horizontal_flip=True, seed=4)
    assert any(not torch.equal(view[e, 0].boxes, other_seed[e, 0].boxes) for e in range(8))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_the_parts_of_every_step(images, world_size):
    whole = list(DetectionOrder(images, 2, 3, 7, 0, 6))
    shared = [list(DetectionOrder(images, 2, 3, 7, 0, 6, rank, world_size)) for rank in range(world_size)]
    for step in range(6):
        for part in range(3):
            rank, position = part % world_size, part // world_size
            per_step = len(range(rank, 3, world_size))
            assert shared[rank][step * per_step + position] == whole[step * 3 + part]


def test_an_epoch_has_every_image_at_most_once_and_parts_of_one_orientation(images):
    order = DetectionOrder(images, 2, 1, 7, 0, 12)
    parts = list(order)
    assert order.per_epoch == 4  # five wide and four tall images with objects
    for epoch in range(3):
        keys = [key for part in parts[epoch * 4 : epoch * 4 + 4] for key in part]
        assert {key[0] for key in keys} == {epoch}
        seen = [index for _, index in keys]
        assert len(seen) == len(set(seen)) == 8 and not {4, 7} & set(seen)
    for part in parts:
        assert len({images[index].width > images[index].height for _, index in part}) == 1
    assert list(DetectionOrder(images, 2, 1, 7, 5, 12)) == parts[5:]  # resumed


def test_too_few_images_are_said(images):
    with pytest.raises(UserError, match="2 images with objects do not fill a micro-batch of 2 images of one "):
        DetectionOrder(images[:2], 2, 1, 0, 0, 1)


def test_an_image_of_another_size_than_its_annotations_say_is_named(images):
    Image.new("RGB", (30, 40)).save(images[0].path)
    with pytest.raises(ImageDecodeError, match=r"0\.png is 30x40 pixels; its annotations say 60x40"):
        DetectionView(images, (40,), 100)[0, 0]
    assert "30x40" in collate([DetectionView(images, (40,), 100, skip_bad_images=True)[0, 0]]).bad[0]
