"""Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747): 60,000 + 10,000 grey images of 28x28 pixels, ten classes.

Read from the four standard idx files: of a given folder, else of Debian's package `dataset-fashion-mnist`, else of the
user's cache, into which torchvision downloads them.
"""

from __future__ import annotations

import gzip
import math
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np

from awbench.cache import cache_directory, one_downloads
from awbench.errors import UserError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NAMES = {"train": "train", "val": "t10k"}
IMAGES = {"train": 60_000, "val": 10_000}
CLASSES = 10
_LARGEST_FILE = 2**26  # the training images take 47 MB; a compressed file may become as large as it likes
_REMEDY = "as root: apt-get install dataset-fashion-mnist; or give the folder of its four idx files with --data DIR"


def read_fashion_mnist(directory: Path | None, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of a split: (N, 28, 28) uint8, (N,) int64.

    Args:
        directory: that holds the idx files, as they are or compressed by gzip; None for the places above.
        split: "train" or "val", which is the published test set.

    Raises:
        UserError: a file is missing, cut short, or not what its name says.
    """
    folder = _find(directory)
    images = read_idx(_file(folder, f"{NAMES[split]}-images-idx3-ubyte"), 3)
    labels = read_idx(_file(folder, f"{NAMES[split]}-labels-idx1-ubyte"), 1)
    wanted = (IMAGES[split], 28, 28)
    if images.shape != wanted or labels.shape != wanted[:1]:
        raise UserError(f"{folder} has images {images.shape} and labels {labels.shape}; {split} has {wanted}")
    if labels.max() >= CLASSES:
        raise UserError(f"{folder} has the label {labels.max()}; Fashion-MNIST's are 0 to {CLASSES - 1}")
    return images, labels.astype(np.int64)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx file of bytes (http://yann.lecun.com/exdb/mnist), compressed or not.

    Args:
        dimensions: that it must have.

    Raises:
        UserError: it cannot be read, is cut short, or is not such a file.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); it may be cut short: fetch it again") from None
    if len(content) > _LARGEST_FILE:
        raise UserError(f"{path} holds more than {_LARGEST_FILE:,} bytes; Fashion-MNIST's files do not: fetch it again")
    header = 4 * (1 + dimensions)
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < header:
        raise UserError(f"{path} is not an idx file of bytes with {dimensions} dimension(s); fetch it again")
    shape = tuple(int(size) for size in np.frombuffer(content[4:header], ">u4"))
    if len(content) - header != math.prod(shape):
        sizes = " x ".join(f"{size:,}" for size in shape)
        raise UserError(
            f"{path} holds {len(content) - header:,} bytes; by its header it should hold {sizes}: fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def folder_here() -> Path | None:
    """Where its files are on this machine, of Debian's package or in the user's cache; None where they are not."""
    if DEBIAN.is_dir():
        return DEBIAN
    try:
        folder = cache_directory() / "FashionMNIST" / "raw"
    except UserError:
        return None
    return folder if folder.is_dir() else None


def _find(directory: Path | None) -> Path:
    if directory is not None:
        if not directory.is_dir():
            raise UserError(f"{directory} is not a folder; {_REMEDY}")
        for folder in (directory, directory / "FashionMNIST" / "raw"):
            if any(folder.glob("[!.]*-ubyte*")):
                return folder
        raise UserError(f"{directory} has no idx files such as train-images-idx3-ubyte.gz; {_REMEDY}")
    if found := folder_here():
        return found
    from torchvision.datasets import FashionMNIST

    root = cache_directory()
    try:
        if not (root / "FashionMNIST").exists():
            with one_downloads(root):
                for abandoned in root.glob(".FashionMNIST-*"):  # by a process that was killed
                    shutil.rmtree(abandoned, ignore_errors=True)
                if not (root / "FashionMNIST").exists():  # another process was faster
                    with tempfile.TemporaryDirectory(dir=root, prefix=".FashionMNIST-") as partial:
                        FashionMNIST(partial, download=True)
                        Path(partial, "FashionMNIST").rename(root / "FashionMNIST")
    except Exception as error:  # whatever the network layer raises: there is one remedy
        raise UserError(f"Fashion-MNIST could not be downloaded ({error}); {_REMEDY}") from None
    return root / "FashionMNIST" / "raw"


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UserError(f"{folder / name}.gz is missing; {_REMEDY}")
