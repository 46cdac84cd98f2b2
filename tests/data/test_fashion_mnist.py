"""Fashion-MNIST is read whole from its idx files, or refused in a line."""

from __future__ import annotations

import gzip
import shutil
import struct
import subprocess
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from awbench.data import fashion_mnist
from awbench.data.opening import open_split
from awbench.errors import UserError

installed = pytest.mark.skipif(not fashion_mnist.DEBIAN.is_dir(), reason="dataset-fashion-mnist is not installed")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder, images=None, labels=None, suffix="") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.zeros((10_000, 28, 28)) if images is None else images
    labels = np.arange(10_000) % 10 if labels is None else labels
    for name, array in (("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels)):
        content = array if isinstance(array, bytes) else idx(array)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)


@installed
def test_the_installed_files_are_complete_and_the_published_ones():
    train, val = (open_split("fashion-mnist", None, split) for split in ("train", "val"))
    assert (len(train.images), len(val.images), train.num_classes) == (60_000, 10_000, 10)
    assert np.bincount(val.images.labels).tolist() == [1000] * 10
    image, label = train.images[0]
    assert image.size == (28, 28) and label == 9  # an ankle boot, as the authors show it first


@installed
def test_a_recipe_is_chosen_without_the_test_images():
    train, val = (open_split("fashion-mnist-dev", None, split) for split in ("train", "val"))
    whole = open_split("fashion-mnist", None, "train")
    assert (len(train.images), len(val.images)) == (55_000, 5_000)
    pixels = np.concatenate([train.images.pixels, val.images.pixels])
    assert (pixels == whole.images.pixels).all()
    assert len({split.digest for split in (train, val, whole)}) == 3


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_read_plain_or_compressed(suffix, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28))
    write(tmp_path, images, suffix=suffix)
    found, labels = fashion_mnist.read_fashion_mnist(tmp_path, "val")
    assert (found == images).all() and labels.tolist() == [index % 10 for index in range(10_000)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": idx(np.zeros((10_000, 28, 28)))[:-1]}, "by its header it should hold 10,000 x 28 x 28"),
        ({"images": b"PNG" + bytes(100)}, "is not an idx file of bytes with 3 dimension"),
        ({"images": idx(np.zeros((10_000, 28)))}, "is not an idx file of bytes with 3 dimension"),
        ({"images": idx(np.zeros((10_000, 32, 32)))}, "has images (10000, 32, 32)"),
        ({"labels": np.full(10_000, 10)}, "has the label 10; Fashion-MNIST's are 0 to 9"),
        ({"images": b""}, "is not an idx file"),
        ({"images": bytes([0, 0, 8, 3, 0, 0])}, "is not an idx file"),
        ({"images": idx(np.zeros((10_000, 28, 28))) + b"more"}, "holds 7,840,004 bytes"),
        ({"labels": bytes([0, 0, 13, 1, 0, 0, 0, 0])}, "is not an idx file of bytes with 1 dimension"),
        ({"labels": np.arange(60_000) % 10}, "and labels (60000,); val has (10000, 28, 28)"),
        ({"labels": np.zeros(0)}, "and labels (0,); val has"),
        (  # sizes below zero: their product is the number of bytes
            {"images": struct.pack(">BBBB3i", 0, 0, 8, 3, -10_000, -28, 28) + bytes(7_840_000)},
            "holds 7,840,000 bytes; by its header it should hold 4,294,957,296 x 4,294,967,268 x 28",
        ),
    ],
)
def test_files_that_are_cut_short_or_others_are_named(changes, message, tmp_path):
    write(tmp_path, **changes)
    with pytest.raises(UserError) as error:
        fashion_mnist.read_fashion_mnist(tmp_path, "val")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_other_images_in_the_same_form_are_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(UserError, match="not the published Fashion-MNIST"):
        open_split("fashion-mnist", tmp_path, "val")


def test_a_compressed_file_is_not_unpacked_without_end(tmp_path):
    write(tmp_path)
    for path in tmp_path.glob("t10k-images*"):
        path.unlink()
    with gzip.open(tmp_path / "t10k-images-idx3-ubyte.gz", "wb", 1) as file:
        file.write(struct.pack(">BBBB3i", 0, 0, 8, 3, 10_000, 28, 28))
        for _ in range(8):
            file.write(bytes(2**24))
    tracemalloc.start()
    with pytest.raises(UserError, match="holds more than 67,108,864 bytes"):
        fashion_mnist.read_fashion_mnist(tmp_path, "val")
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()


def test_a_compressed_file_that_is_cut_short_is_named(tmp_path):
    write(tmp_path, suffix=".gz")
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content in (whole[:-20], whole[:5], whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:], b"<html>", whole + b"<"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="t10k-images-idx3-ubyte.gz cannot be read .*cut short"):
            fashion_mnist.read_fashion_mnist(tmp_path, "val")


def test_a_folder_without_the_files_and_a_machine_without_network_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="has no idx files .*apt-get install dataset-fashion-mnist"):
        fashion_mnist.read_fashion_mnist(tmp_path, "val")
    write(tmp_path)
    with pytest.raises(UserError, match="train-images-idx3-ubyte.gz is missing"):
        fashion_mnist.read_fashion_mnist(tmp_path, "train")
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nowhere")
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "cache"))

    def no_network(*args, **kwargs):
        raise OSError("no")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    with pytest.raises(UserError, match="could not be downloaded \\(no\\); as root: apt-get install"):
        fashion_mnist.read_fashion_mnist(None, "val")


def test_on_the_command_line_each_is_one_line_and_exit_code_2(awbench, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nowhere")
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "cache"))

    def no_network(*args, **kwargs):  # torchvision's message has several lines
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried http://mirror/, got:\nno name\n")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    write(tmp_path / "labels", labels=np.full(10_000, 255))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for given, message in (
        (["--data", str(tmp_path / "labels")], "has the label 255; Fashion-MNIST's are 0 to 9"),
        (["--data", str(tmp_path / "empty")], "empty has no idx files"),
        (["--data", str(tmp_path / "file")], "file is not a folder"),
        (["--data", str(tmp_path / "none")], "none is not a folder"),
        ([], "could not be downloaded (Error downloading train-images-idx3-ubyte.gz: Tried http://mirror/"),
    ):
        code, out, err = awbench("train", "resnet20", "--dataset", "fashion-mnist", *given)
        assert (code, out, err.count("\n")) == (2, "", 1) and message in err


def make_data(root, folder, tools, target):
    """`make data` on a machine whose only tools are these shell scripts, by name."""
    folder.mkdir()
    for name, script in {"grep": "", **tools}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": str(folder), "TARGET": str(target)}
    command = [shutil.which("make"), "data", f"FASHION_MNIST={target}", "KEY=none", "SHELL=/bin/sh"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_make_data_installs_the_package_or_says_what_to_do(root, tmp_path):
    apt = 'echo "apt-get $*"; [ "$1" = update ] || /bin/mkdir "$TARGET"'
    user, superuser = "echo 1000", "echo 0"
    target = tmp_path / "installed"
    code, said = make_data(root, tmp_path / "root", {"id": superuser, "apt-get": apt}, target)
    assert code == 0 and "apt-get install -y -qq dataset-fashion-mnist" in said and target.is_dir()
    code, said = make_data(root, tmp_path / "again", {"id": superuser, "apt-get": apt}, target)
    assert (code, said.count("apt-get")) == (0, 0) and f"Fashion-MNIST is in {target}" in said
    target.rmdir()
    sudo = {"id": user, "apt-get": apt, "sudo": 'echo sudo; exec "$@"'}
    code, said = make_data(root, tmp_path / "sudo", sudo, target)
    assert code == 0 and said.count("sudo\n") == 2 and target.is_dir()
    target.rmdir()
    for name, tools, message in (
        ("user", {"id": user, "apt-get": apt}, "needs root or sudo: as root, apt-get install dataset-fashion-mnist"),
        ("elsewhere", {"id": superuser}, "no apt-get here; awbench downloads Fashion-MNIST itself on first use"),
        ("unknown", {"id": superuser, "apt-get": "exit 100"}, "apt-get could not install dataset-fashion-mnist"),
    ):
        code, said = make_data(root, tmp_path / name, tools, target)
        assert code == 2 and f"make data: {message}" in said and "--data DIR" in said and not target.exists()


def test_of_two_that_download_at_once_one_does_and_what_a_killed_one_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nowhere")
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "cache"))
    half = tmp_path / "cache/.FashionMNIST-killed/FashionMNIST/raw"
    half.mkdir(parents=True)
    (half / "t10k-images-idx3-ubyte").write_bytes(b"cut")
    downloads = []

    def download(root, download):
        downloads.append(root)
        assert not (Path(root) / "FashionMNIST").exists()
        (Path(root) / "FashionMNIST").mkdir()
        time.sleep(0.3)
        write(Path(root) / "FashionMNIST/raw")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", download)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda _: fashion_mnist.read_fashion_mnist(None, "val"), range(4)))
    assert len(downloads) == 1 and len({images.tobytes() for images, _ in read}) == 1
    assert not list((tmp_path / "cache").glob(".FashionMNIST-*"))
