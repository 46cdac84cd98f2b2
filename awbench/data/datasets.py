"""The known classification datasets: what each is, and how it is opened; `awbench.data.opening` finds them.

A split is a map-style sequence: `len`, and `[index] -> (PIL image, label)`. Everything random happens
later, in `awbench.data.views`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from awbench.cache import one_downloads
from awbench.errors import UserError
from awbench.recipes.datasets import DATASET_FACTS
from awbench.system import open_regular

FAKE_IMAGES, DEV_IMAGES = (1_280, 256), (55_000, 5_000)  # of the two splits of fake and fashion-mnist-dev
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

DECODE_REMEDY = "replace the file, or leave such files out with --skip-bad-images"


class ImageDecodeError(UserError):
    """An image file could not be decoded; the message names it."""


class Images(Protocol):
    """What every split's images are."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """(image of Pillow, tensor (3, H, W), or a file to decode on a GPU; label)."""
        ...


@dataclass(frozen=True)
class Split:
    """One split of a dataset.

    Attributes:
        images: the samples.
        num_classes: of the dataset.
        digest: sha256 that changes when the set of samples does.
        description: what it is, in words, for records ("ImageNet-1k val, 50,000 images").
        complete: False for a subset of the benchmark's split.
    """

    images: Images
    num_classes: int
    digest: str
    description: str
    complete: bool = True


@dataclass(frozen=True)
class Dataset:
    """A dataset the command line knows.

    Attributes:
        title: its name in the literature.
        num_classes: classes.
        mean, std: of its pixels in RGB, on the scale 0..1, for normalisation.
        needs_directory: whether `--data` must be given.
        proxy: what a result on it does not say, or "" for a benchmark of the field.
        open_split: (directory, "train" or "val") -> Split.
    """

    title: str
    num_classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    needs_directory: bool
    proxy: str
    open_split: Callable[[Path | None, str], Split] = field(repr=False)


def require_folder(name: str, title: str, directory: Path | None) -> Path:
    """The folder of --data, for a dataset that needs one.

    Raises:
        UserError: none is given, or it is no folder.
    """
    if directory is None:
        raise UserError(f"dataset {name} needs its files: give their folder with --data DIR")
    if not directory.is_dir():
        raise UserError(f"--data {directory} is not a folder; give the folder that holds {title}")
    return directory


@dataclass(frozen=True)
class ImageFiles:
    """Images in files, decoded on access as RGB.

    Attributes:
        decoder: "pillow", or "torchvision", which gives tensors (3, H, W): the same pixels, resampled by another code.
    """

    files: list[tuple[str, int]]
    decoder: str = "pillow"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image | Tensor, int]:
        path, label = self.files[index]
        return (decode_to_tensor(path) if self.decoder == "torchvision" else decode_rgb(path)), label


def decode_rgb(path: str | Path, upright: bool = False) -> Image.Image:
    """An image file as RGB.

    Args:
        upright: turned as its EXIF orientation says.

    Raises:
        ImageDecodeError: it cannot be decoded.
    """
    try:
        with open_regular(path) as file, Image.open(file) as image:
            return (ImageOps.exif_transpose(image) if upright else image).convert("RGB")
    except Exception as error:  # Pillow's decoders raise struct.error, KeyError, NotImplementedError, MemoryError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageDecodeError(f"{path} cannot be decoded ({reason}); {DECODE_REMEDY}") from None


def decode_to_tensor(path: str | Path) -> Tensor:
    """An image file as RGB, (3, H, W) uint8, by torchvision's decoder; by Pillow where that does not know the format.

    torchvision calls it deprecated since 0.29, in favour of TorchCodec.

    Raises:
        ImageDecodeError: it cannot be decoded.
    """
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2.functional import pil_to_tensor

    try:
        with open_regular(path) as file:
            content = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
        return decode_image(content, ImageReadMode.RGB)
    except (OSError, ValueError, RuntimeError):
        return pil_to_tensor(decode_rgb(path))


# A class is its place among the sorted WordNet ids; ImageNetV2's folders bear the places themselves.
_WORDNET_ID = re.compile(r"n[0-9]{8}")
_IMAGENET_IDS_SHA256 = (
    "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"  # of ILSVRC 2012's, a line each
)


def _open_imagenet(directory: Path | None, split: str) -> Split:
    """The standard layout: DIR/train and DIR/val, each with one folder a class; hidden files are an editor's."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert directory is not None
    root = directory / split
    if not root.is_dir():
        raise UserError(f"{root} is missing; ImageNet's layout is DIR/train/<class>/ and DIR/val/<class>/")
    classes = _class_folders(root)
    if split == "train" and (directory / "val").is_dir():
        other = set(_class_folders(directory / "val")).symmetric_difference(classes)
        if other:
            raise UserError(f"{root} and {directory / 'val'} have different class folders, e.g. {min(other)}")
    files: list[tuple[str, int]] = []
    digest = hashlib.sha256()
    for label, name in enumerate(classes):
        found = sorted(path for path in visible(root / name) if path.suffix.lower() in IMG_EXTENSIONS)
        if not found:
            raise UserError(f"class folder {root / name} is empty; each of the 1000 classes needs at least one image")
        files += [(str(path), label) for path in found]
        digest.update(os.fsencode("".join(f"{name}/{path.name}\n" for path in found)))
    ids = hashlib.sha256("\n".join(classes).encode()).hexdigest()
    known = ids == _IMAGENET_IDS_SHA256 or classes[0].isdigit()
    facts = DATASET_FACTS["imagenet"]
    complete = known and len(files) == (facts.val_images if split == "val" else facts.train_images)
    title = f"ImageNet-1k {split}" if complete else f"subset of ImageNet-1k {split}"
    if not known:
        title = f"1000 classes other than ImageNet-1k's, {split}"
    return Split(ImageFiles(files), 1000, digest.hexdigest(), f"{title}, {len(files):,} images", complete)


def _class_folders(root: Path) -> list[str]:
    """Names in the order of labels.

    Raises:
        UserError: they are not 1000, or their names do not say which class each is.
    """
    names = sorted(path.name for path in visible(root) if path.is_dir())
    numbered = [name for name in names if name.isascii() and name.isdigit()]
    odd = [name for name in names if not _WORDNET_ID.fullmatch(name) and name not in numbered]
    if odd:
        raise UserError(
            f"{root / odd[0]} is no class of ImageNet: its name is neither a WordNet id such as n01440764 "
            "nor a number of 0 to 999; move it elsewhere"
        )
    if len(names) != 1000:
        raise UserError(f"{root} has {len(names)} class folders; ImageNet-1k has 1000")
    if not numbered:
        return names
    if sorted(map(int, numbered)) != list(range(1000)):
        raise UserError(
            f"{root} has folders {min(numbered, key=int)} to {max(numbered, key=int)}; numbers must be 0 to 999, the "
            "places of the sorted WordNet ids (1 to 1000 are ILSVRC's own, in another order)"
        )
    return sorted(numbered, key=int)


def visible(folder: Path) -> list[Path]:
    """What lies in a folder; hidden files are an editor's or a file system's own."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


@dataclass(frozen=True)
class ArrayImages:
    """Images held in memory: (N, H, W, 3) bytes and their labels."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index]), int(self.labels[index])

    def digest(self) -> str:
        return hashlib.sha256(self.pixels.tobytes() + self.labels.astype(np.int64).tobytes()).hexdigest()


def _open_cifar(class_name: str, title: str, classes: int) -> Callable[[Path | None, str], Split]:
    def open_split(directory: Path | None, split: str) -> Split:
        from torchvision import datasets

        assert directory is not None
        make: Any = getattr(datasets, class_name)
        try:
            try:
                cifar = make(str(directory), train=split == "train")
            except RuntimeError:  # it is not there, or not whole
                with one_downloads(directory):  # which downloads nothing where another process has
                    cifar = make(str(directory), train=split == "train", download=True)
        except Exception as error:  # whatever the network layer raises: there is one remedy
            raise UserError(
                f"{title} is not in {directory} and could not be downloaded ({error}); "
                f"put the official python archive there"
            ) from None
        images = ArrayImages(np.asarray(cifar.data), np.asarray(cifar.targets))
        return Split(images, classes, images.digest(), f"{title} {split}, {len(images):,} images")

    return open_split


def _open_digits(directory: Path | None, split: str) -> Split:
    """scikit-learn's 1,797 handwritten 8x8 digits; every fifth is in the evaluation split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = np.arange(len(digits.target)) % 5 == 4
    if split == "train":
        chosen = ~chosen
    grey = np.round(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    images = _grey(grey, digits.target[chosen])
    return Split(images, 10, images.digest(), f"scikit-learn digits {split}, {len(images):,} images")


def _open_fashion_mnist(directory: Path | None, split: str) -> Split:
    from awbench.data.fashion_mnist import read_fashion_mnist

    images = _grey(*read_fashion_mnist(directory, split))
    digest, facts = images.digest(), DATASET_FACTS["fashion-mnist"]
    wanted = facts.train_sha256 if split == "train" else facts.val_sha256
    if digest != wanted:
        where = f" in {directory}" if directory else ""
        raise UserError(
            f"the {split} images and labels{where} are not the published Fashion-MNIST (sha256 {digest[:12]}, not "
            f"{wanted[:12]}); fetch the files again"
        )
    return Split(images, 10, digest, f"Fashion-MNIST {'train' if split == 'train' else 'test'}, {len(images):,} images")


def _open_fashion_mnist_dev(directory: Path | None, split: str) -> Split:
    """For choosing a recipe: of the training images most to train on, the others to evaluate on (DEV_IMAGES)."""
    whole = _open_fashion_mnist(directory, "train").images
    assert isinstance(whole, ArrayImages)
    part = slice(None, -DEV_IMAGES[1]) if split == "train" else slice(-DEV_IMAGES[1], None)
    images = ArrayImages(whole.pixels[part], whole.labels[part])
    return Split(images, 10, images.digest(), f"Fashion-MNIST's training images, {split} part, {len(images):,} images")


def _grey(pixels: np.ndarray, labels: np.ndarray) -> ArrayImages:
    """Grey images (N, H, W) with three equal channels."""
    return ArrayImages(np.repeat(pixels[..., None], 3, axis=-1), labels)


@dataclass(frozen=True)
class FakeImages:
    """Noise that costs nothing to make: for throughput."""

    count: int
    classes: int = 1000
    size: int = 224

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        pixels = np.random.default_rng(index).integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)
        return Image.fromarray(pixels), index % self.classes


def _open_fake(directory: Path | None, split: str) -> Split:
    images = FakeImages(FAKE_IMAGES[split == "val"])
    return Split(images, 1000, f"fake-{len(images)}", f"noise, {len(images):,} images")


DATASETS: dict[str, Dataset] = {
    "imagenet": Dataset("ImageNet-1k", 1000, IMAGENET_MEAN, IMAGENET_STD, True, "", _open_imagenet),
    "cifar10": Dataset(
        "CIFAR-10", 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), True, "",
        _open_cifar("CIFAR10", "CIFAR-10", 10),
    ),
    "cifar100": Dataset(
        "CIFAR-100", 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), True, "",
        _open_cifar("CIFAR100", "CIFAR-100", 100),
    ),
    "fashion-mnist": Dataset(
        "Fashion-MNIST", 10, (0.2860,) * 3, (0.3530,) * 3, False, "", _open_fashion_mnist,
    ),
    "fashion-mnist-dev": Dataset(
        "Fashion-MNIST's training images", 10, (0.2860,) * 3, (0.3530,) * 3, False,
        "a part of Fashion-MNIST's training images: for choosing a recipe", _open_fashion_mnist_dev,
    ),
    "digits": Dataset(
        "scikit-learn digits", 10, (0.3053,) * 3, (0.3761,) * 3, False,
        "8x8 handwritten digits: a proxy that shows the path works, not evidence on ImageNet", _open_digits,
    ),
    "fake": Dataset("noise", 1000, (0.5,) * 3, (0.25,) * 3, False, "noise: for throughput only", _open_fake),
}  # fmt: skip
