from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from awbench.data.datasets import (
    DATASETS,
    ImageDecodeError,
    ImageFiles,
    decode_rgb,
    decode_to_tensor,
)
from awbench.data.loader import Loader
from awbench.data.opening import find_dataset, open_split
from awbench.data.views import EvaluationOrder, TrainingOrder, View
from awbench.errors import UserError
from awbench.recipes.classification import load_recipe
from awbench.recipes.datasets import DATASET_FACTS
from awbench.tasks.transforms import evaluation_transform, normalise, training_transform


def test_digits_are_split_once_and_for_all():
    train, val = (open_split("digits", None, split) for split in ("train", "val"))
    assert (len(train.images), len(val.images)) == (1438, 359)
    assert train.digest == "33ce7a1489f84633544cadb9e7a9f26d9274ac0103a043238ded5d57ef64dae0"
    assert min(np.bincount(val.images.labels)) >= 20  # every class is evaluated


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_evaluation_sees_every_image_exactly_once(world_size):
    seen = [
        index
        for rank in range(world_size)
        for batch in EvaluationOrder(359, 64, rank, world_size)
        for _, index in batch
    ]
    assert sorted(seen) == list(range(359))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_a_step_is_the_same_samples_however_many_processes_share_it(world_size):
    def steps(world_size):
        orders = [TrainingOrder(100, 32, 8, 5, 0, 9, rank, world_size) for rank in range(world_size)]
        parts = [iter(list(order)) for order in orders]
        return [
            {tuple(next(parts[rank])) for rank, order in enumerate(orders) for _ in range(order.own_per_step)}
            for _ in range(9)
        ]

    assert steps(world_size) == steps(1)


def test_an_epoch_visits_samples_once_and_epochs_differ():
    order = list(TrainingOrder(96, 32, 32, 5, 0, 6))
    first, second = ([index for batch in order[i : i + 3] for _, index in batch] for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(96))
    assert first != second


def test_an_order_that_starts_later_goes_on_where_the_other_would_be():
    whole = list(TrainingOrder(100, 32, 16, 5, 0, 9))
    assert list(TrainingOrder(100, 32, 16, 5, 4, 9)) == whole[8:]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers):
    split, recipe = open_split("digits", None, "train"), load_recipe("digits-quick")
    view = View(split.images, training_transform(recipe.augmentation), 7)
    order = TrainingOrder(len(split.images), 64, 64, 7, 0, 5)
    alone, helped = (list(Loader(view, order, n, False)) for n in (0, workers))
    assert all(torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in zip(alone, helped))  # noqa: B905


def test_augmentation_depends_on_seed_epoch_and_sample_alone():
    split, recipe = open_split("digits", None, "train"), load_recipe("digits-quick")
    transform = training_transform(recipe.augmentation)
    images = [View(split.images, transform, seed)[epoch, 3][0] for seed, epoch in ((1, 0), (1, 0), (1, 5), (2, 5))]
    assert torch.equal(images[0], images[1])
    before = torch.random.get_rng_state()
    View(split.images, transform, 1)[0, 3]
    assert torch.equal(torch.random.get_rng_state(), before)
    distinct = {View(split.images, transform, 1)[epoch, 3][0].numpy().tobytes() for epoch in range(20)}
    assert len(distinct) > 3


def test_evaluation_pixels_are_the_images_own():
    split, recipe = open_split("digits", None, "val"), load_recipe("digits-quick")
    dataset = find_dataset("digits")
    pixels = evaluation_transform(recipe.evaluation)(split.images[0][0])
    assert pixels.dtype == torch.uint8
    image = normalise(pixels[None], dataset)[0]
    raw = torch.from_numpy(split.images.pixels[0].copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(image, (raw - torch.tensor(dataset.mean)[:, None, None]) / dataset.std[0])


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A thousand classes with one tiny image each, in the standard layout."""
    root = tmp_path_factory.mktemp("imagenet")
    Image.fromarray(np.full((40, 30, 3), 128, np.uint8)).save(root / "one.JPEG")
    for split in ("train", "val"):
        for label in range(1000):
            folder = root / split / f"n{label:08}"
            folder.mkdir(parents=True)
            (folder / "a.JPEG").hardlink_to(root / "one.JPEG")
    return root


def test_imagenet_says_what_it_found_and_that_it_is_a_subset(imagenet):
    val = open_split("imagenet", imagenet, "val")
    assert (len(val.images), val.complete) == (1000, False)
    assert val.description.endswith("val, 1,000 images")
    image, label = val.images[17]
    assert (image.size, image.mode, label) == ((30, 40), "RGB", 17)


def test_an_empty_class_folder_is_named(imagenet):
    image = imagenet / "val/n00000123/a.JPEG"
    image.unlink()
    try:
        with pytest.raises(UserError, match="n00000123 is empty"):
            open_split("imagenet", imagenet, "val")
    finally:
        image.hardlink_to(imagenet / "one.JPEG")


def test_a_missing_class_or_folder_is_named(imagenet, tmp_path):
    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    with pytest.raises(UserError, match="has 1 class folders; ImageNet-1k has 1000"):
        open_split("imagenet", tmp_path, "val")
    with pytest.raises(UserError, match="train is missing"):
        open_split("imagenet", tmp_path, "train")
    with pytest.raises(UserError, match="--data DIR"):
        open_split("imagenet", None, "val")
    with pytest.raises(UserError, match="is not a folder"):
        open_split("imagenet", tmp_path / "nowhere", "val")


def imagenet_like(directory, names, split="val"):
    """Folders with one empty file each; what is opened is not decoded."""
    for name in names:
        (directory / split / name).mkdir(parents=True)
        (directory / split / name / "a.JPEG").touch()
    return directory


@pytest.mark.parametrize("width", [1, 3])
def test_numbered_folders_are_in_the_order_of_numbers(width, tmp_path):
    files = open_split("imagenet", imagenet_like(tmp_path, [f"{i:0{width}}" for i in range(1000)]), "val").images.files
    assert [(int(path.split("/")[-2]), label) for path, label in files] == [(i, i) for i in range(1000)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([str(i) for i in range(1, 1001)], "folders 1 to 1000; numbers must be 0 to 999, .* ILSVRC's own"),
        ([*map(str, range(999)), "0998"], "numbers must be 0 to 999"),
        ([*(f"n{i:08}" for i in range(999)), "0"], "numbers must be 0 to 999"),
        ([*(f"n{i:08}" for i in range(1000)), "lost+found"], r"lost\+found is no class of ImageNet"),
        ([f"class{i}" for i in range(1000)], "class0 is no class of ImageNet: .* a WordNet id such as"),
        (["\u0660", *map(str, range(1, 1000))], "is no class of ImageNet"),
    ],
)
def test_folders_that_do_not_say_which_class_they_are_are_refused(names, message, tmp_path):
    with pytest.raises(UserError, match=message):
        open_split("imagenet", imagenet_like(tmp_path, names), "val")


def test_hidden_folders_and_files_are_no_classes_and_no_images(imagenet, tmp_path):
    plain = open_split("imagenet", imagenet, "val")
    (imagenet / "val/.thumbnails").mkdir()
    (imagenet / "val/n00000007/._a.JPEG").touch()
    try:
        assert open_split("imagenet", imagenet, "val") == plain
    finally:
        (imagenet / "val/.thumbnails").rmdir()
        (imagenet / "val/n00000007/._a.JPEG").unlink()


def test_training_and_validation_have_the_same_classes(tmp_path):
    imagenet_like(tmp_path, [f"n{i:08}" for i in range(1000)])
    imagenet_like(tmp_path, [f"n{i:08}" for i in range(1, 1001)], "train")
    with pytest.raises(UserError, match=r"train and .*val have different class folders, e\.g\. n00000000"):
        open_split("imagenet", tmp_path, "train")


def test_other_classes_are_not_called_imagenets(imagenet, monkeypatch):
    split = open_split("imagenet", imagenet, "train")
    assert (split.complete, split.description) == (
        False, "1000 classes other than ImageNet-1k's, train, 1,000 images"
    )  # fmt: skip
    ids = "\n".join(f"n{i:08}" for i in range(1000)).encode()
    monkeypatch.setattr("awbench.data.datasets._IMAGENET_IDS_SHA256", hashlib.sha256(ids).hexdigest())
    assert open_split("imagenet", imagenet, "train").description == "subset of ImageNet-1k train, 1,000 images"
    facts = dataclasses.replace(DATASET_FACTS["imagenet"], train_images=1000)
    monkeypatch.setitem(DATASET_FACTS, "imagenet", facts)
    assert open_split("imagenet", imagenet, "train").complete


def test_names_of_any_bytes_are_read(imagenet, tmp_path):
    odd = os.fsdecode(b"val/n00000007/\xff.JPEG")
    (imagenet / odd).hardlink_to(imagenet / "one.JPEG")
    try:
        split = open_split("imagenet", imagenet, "val")
        assert [label for path, label in split.images.files if path.endswith(odd)] == [7]
    finally:
        (imagenet / odd).unlink()


@pytest.mark.parametrize("error", [struct.error, RuntimeError, NotImplementedError, MemoryError, KeyError, OSError])
def test_whatever_a_decoder_raises_names_the_file(error, monkeypatch, tmp_path):
    def fail(self):
        raise error

    path = tmp_path / "odd.JPEG"
    Image.new("RGB", (8, 8)).save(path)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    files = ImageFiles([(str(path), 0)])
    with pytest.raises(ImageDecodeError, match=rf"odd.JPEG cannot be decoded \({error.__name__}\)"):
        files[0]
    view = View(files, lambda image: image, 0, skip_bad_images=True)
    assert "odd.JPEG" in view[0, 0]


def test_a_fifo_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.JPEG")
    with pytest.raises(ImageDecodeError, match="not a regular file"):
        ImageFiles([(str(tmp_path / "a.JPEG"), 0)])[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0" + bytes(50), b"not an image"])
def test_an_image_that_cannot_be_decoded_is_named(content, tmp_path):
    path = tmp_path / "broken.JPEG"
    path.write_bytes(content)
    with pytest.raises(ImageDecodeError, match=r"broken.JPEG cannot be decoded .*--skip-bad-images"):
        ImageFiles([(str(path), 0)])[0]


def test_a_truncated_jpeg_stops_or_is_left_out_and_listed(tmp_path):
    whole = tmp_path / "whole.JPEG"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    broken = tmp_path / "broken.JPEG"
    broken.write_bytes(whole.read_bytes()[:900])
    files = ImageFiles([(str(whole), 0), (str(broken), 1), (str(whole), 2)])
    recipe = load_recipe("cbam", ["augmentation.size=8"])
    transform = training_transform(recipe.augmentation)
    with pytest.raises(ImageDecodeError, match="broken.JPEG"):
        list(Loader(View(files, transform, 0), EvaluationOrder(3, 3), 0, False))
    (batch,) = Loader(View(files, transform, 0, skip_bad_images=True), EvaluationOrder(3, 3), 0, False)
    assert batch.labels.tolist() == [0, 2]
    assert "broken.JPEG" in batch.bad[0]


def test_a_batch_is_normalised_to_the_bits_that_its_images_were():
    """Image by image with torchvision's transforms, as loading processes did; and in channels_last."""
    dataset = find_dataset("imagenet")
    images = torch.randint(256, (4, 3, 9, 8), dtype=torch.uint8)
    steps = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(dataset.mean), list(dataset.std))]
    one_by_one = torch.stack([v2.Compose(steps)(image) for image in images])
    assert torch.equal(normalise(images, dataset), one_by_one)
    channels_last = normalise(images.to(memory_format=torch.channels_last), dataset)
    assert torch.equal(channels_last, one_by_one)
    assert channels_last.is_contiguous(memory_format=torch.channels_last)


def test_torchvisions_decoder_gives_pillows_pixels_and_names_what_it_cannot_decode(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for name, mode in (("a.JPEG", "RGB"), ("b.png", "RGB"), ("c.JPEG", "L"), ("d.JPEG", "CMYK"), ("e.gif", "P")):
        Image.fromarray(noise).convert(mode).save(tmp_path / name)
        ours = decode_to_tensor(tmp_path / name)
        assert torch.equal(ours, torch.from_numpy(np.array(decode_rgb(tmp_path / name))).permute(2, 0, 1)), name
    whole = (tmp_path / "a.JPEG").read_bytes()
    for name, content in (("cut.JPEG", whole[:-200]), ("text.JPEG", b"no image"), ("empty.JPEG", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageDecodeError, match=f"{name} cannot be decoded"):
            decode_to_tensor(tmp_path / name)


def test_the_transforms_take_both_decoders_images_alike(tmp_path):
    """Resampled by another code: some pixels by one level."""
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize((400, 300))
    smooth.save(tmp_path / "a.JPEG")
    recipe = load_recipe("cbam")
    for transform in (training_transform(recipe.augmentation), evaluation_transform(recipe.evaluation)):
        made = []
        for decoder in ("pillow", "torchvision"):
            torch.manual_seed(3)
            made.append(transform(ImageFiles([(str(tmp_path / "a.JPEG"), 0)], decoder)[0][0]).int())
        difference = (made[0] - made[1]).abs()
        assert difference.max() <= 1 and difference.double().mean() < 0.01


def test_cifar_that_is_neither_there_nor_downloadable_is_named(monkeypatch, tmp_path):
    def fail(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fail)
    with pytest.raises(UserError, match=rf"CIFAR-10 is not in {tmp_path} and could not be downloaded \(no network\)"):
        open_split("cifar10", tmp_path, "train")


def test_unknown_dataset():
    with pytest.raises(UserError, match=r"'digit' is not known; did you mean digits\?"):
        open_split("digit", None, "val")


def test_what_is_no_benchmark_says_so():
    assert {name for name, dataset in DATASETS.items() if dataset.proxy} == {"digits", "fake", "fashion-mnist-dev"}


@pytest.mark.parametrize("fault", [None, errno.ENOLCK, errno.EOPNOTSUPP])
def test_of_two_that_download_into_one_folder_one_does(fault, tmp_path, monkeypatch, caplog):
    """On a file system without locks too."""
    inside, most = [], []

    def flock(descriptor, operation):
        raise OSError(fault, os.strerror(fault))

    if fault:
        monkeypatch.setattr("fcntl.flock", flock)

    class Cifar:
        def __init__(self, root, train, download=False):
            if not (Path(root) / "done").exists():
                if not download:
                    raise RuntimeError("Dataset not found or corrupted.")
                inside.append(root)
                most.append(len(inside))
                time.sleep(0.2)
                (Path(root) / "done").touch()
                inside.remove(root)
            self.data, self.targets = np.zeros((3, 32, 32, 3), np.uint8), [1, 2, 3]

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Cifar)
    with ThreadPoolExecutor(4) as pool:
        splits = list(pool.map(lambda _: open_split("cifar10", tmp_path, "train"), range(4)))
    assert most == [1] and len({split.digest for split in splits}) == 1
    assert f"waiting for another process that downloads into {tmp_path}" in caplog.text
