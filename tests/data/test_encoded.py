"""Files decoded on the device, tried on a CPU, whose decoder of batches is that of single images."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
import torchvision.io
from PIL import Image

from awbench.data import encoded
from awbench.data.datasets import ImageDecodeError, ImageFiles
from awbench.data.encoded import DeviceDecoder, EncodedFiles, collate_encoded, keep_seed
from awbench.data.loader import Loader
from awbench.data.views import TrainingOrder, View
from awbench.errors import UserError
from awbench.recipes.classification import load_recipe
from awbench.tasks.transforms import evaluation_transform, training_transform

CPU = torch.device("cpu")
RECIPE = load_recipe("cbam", ["augmentation.size=32", "evaluation.resize=40", "evaluation.crop=32"])
PLAIN = ("a.jpg", "b.jpg", "c.jpg")  # what nvJPEG is trusted with


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Photographs as they come."""
    monkeypatch.setattr(encoded, "require_gpu", lambda device: None)
    images = [
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
            (60 + seed, 50)
        )
        for seed in range(3)
    ]
    for name, image in zip(PLAIN, images, strict=True):
        image.save(tmp_path / name)
    images[0].save(tmp_path / "progressive.jpg", progressive=True)
    images[0].convert("L").save(tmp_path / "grey.jpg")
    images[0].convert("CMYK").save(tmp_path / "cmyk.jpg")
    images[0].save(tmp_path / "rgb.jpg", keep_rgb=True)
    images[0].save(tmp_path / "png.jpg", "PNG")
    images[0].save(tmp_path / "several.jpg", "MPO", save_all=True, append_images=images[1:2])
    (tmp_path / "followed.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + b"more")
    return [(str(path), label) for label, path in enumerate(sorted(tmp_path.iterdir()))]


def batches(files, decoder, transform, workers=0, skip=False):
    order = TrainingOrder(len(files), len(files), len(files), 5, 0, 2)
    if decoder != "nvjpeg":
        return list(Loader(View(ImageFiles(files, decoder), transform, 7, skip), order, workers, False))
    loader = Loader(View(EncodedFiles(files), keep_seed, 7, skip), order, workers, False, collate_encoded)
    return list(map(DeviceDecoder(CPU, transform, skip), loader))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_device_makes_of_a_file_what_a_loading_process_would(files, workers):
    """The same crops, flips and order, drawn elsewhere."""
    for transform in (training_transform(RECIPE.augmentation), evaluation_transform(RECIPE.evaluation)):
        own = batches(files, "nvjpeg", transform, workers)
        for found, right in zip(own, batches(files, "torchvision", transform), strict=True):
            assert torch.equal(found.images, right.images) and torch.equal(found.labels, right.labels)
            assert found.on_cpu == len(files) - len(PLAIN)


def test_what_nvjpeg_is_not_trusted_with_is_decoded_before(files):
    handed_over = [path.rpartition("/")[2] for path, _ in files if encoded.read_encoded(path).shape is None]
    assert tuple(handed_over) == PLAIN


def test_what_nvjpeg_refuses_a_cpu_decodes(files, monkeypatch):
    """A batch fails as a whole; then each is tried alone."""
    asked, decode_jpeg = [], torchvision.io.decode_jpeg

    def decode(contents, mode, device):
        asked.append(len(contents))
        if any(Image.open(io.BytesIO(content.numpy().tobytes())).size[0] == 61 for content in contents):
            raise RuntimeError("Error while decoding JPEG images: Failed to decode jpeg stream: 4")
        return decode_jpeg(contents, mode, device)

    transform = training_transform(RECIPE.augmentation)
    right = batches(files, "nvjpeg", transform)
    monkeypatch.setattr(torchvision.io, "decode_jpeg", decode)
    for found, wanted in zip(batches(files, "nvjpeg", transform), right, strict=True):
        assert torch.equal(found.images, wanted.images) and torch.equal(found.labels, wanted.labels)
        assert found.on_cpu == wanted.on_cpu + 1
    assert asked == [1, 3, 1, 1, 1, 3, 1, 1, 1]  # first, whether it decodes at all


def test_an_error_of_the_device_is_no_refusal(files, monkeypatch):
    decoder = DeviceDecoder(CPU, training_transform(RECIPE.augmentation), True)
    view = View(EncodedFiles(files), keep_seed, 0)

    def fail(*args):
        raise RuntimeError("Error while decoding JPEG images: CUDA out of memory")

    monkeypatch.setattr(torchvision.io, "decode_jpeg", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        decoder(collate_encoded([view[0, 0]]))


def test_a_cut_file_is_named_or_left_out(files, tmp_path):
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:-300])
    transform = training_transform(RECIPE.augmentation)
    with pytest.raises(ImageDecodeError, match="b.jpg cannot be decoded"):
        batches(files, "nvjpeg", transform)
    own = batches(files, "nvjpeg", transform, skip=True)
    for found, right in zip(own, batches(files, "torchvision", transform, skip=True), strict=True):
        assert torch.equal(found.images, right.images) and found.bad == right.bad and len(found.bad) == 1
    nothing = DeviceDecoder(CPU, transform, True)(collate_encoded(["a", "b"]))
    assert nothing.bad == ("a", "b") and not len(nothing.labels)


def test_it_needs_a_gpu_that_decodes(monkeypatch):
    with pytest.raises(UserError, match="decoder=nvjpeg needs a GPU, not cpu; use --device cuda, or --set decoder=t"):
        encoded.require_gpu(CPU)
    encoded.require_gpu(torch.device("cuda", 1))

    def fail(*args):
        raise RuntimeError("torchvision was not compiled with nvJPEG\nmore")

    monkeypatch.setattr(torchvision.io, "decode_jpeg", fail)
    with pytest.raises(UserError, match=r"cpu decodes no JPEG \(torchvision was not compiled with nvJPEG\); use"):
        DeviceDecoder(CPU, evaluation_transform(RECIPE.evaluation), False)


def test_decoded_pixels_are_apart_from_memory_of_queued_kernels(files, monkeypatch):
    """On streams that note what they are asked."""
    asked = []

    class Stream:
        def __init__(self, name):
            self.name = name

        def synchronize(self):
            asked.append(f"{self.name} is done")

        def wait_stream(self, other):
            asked.append(f"{self.name} waits for {other.name}")

    @contextlib.contextmanager
    def inside(stream):
        asked.append(f"on {stream.name}")
        yield
        asked.append(f"off {stream.name}")

    monkeypatch.setattr(torch.cuda, "stream", inside)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("training"))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: asked.append(f"kept for {stream.name}"))
    decoder = DeviceDecoder(CPU, training_transform(RECIPE.augmentation), False)
    decoder.stream = Stream("decoding")
    monkeypatch.setattr(decoder, "transform", lambda pixels: asked.append("decoded") or pixels)
    decoder(collate_encoded([View(EncodedFiles(files), keep_seed, 0)[0, 0]]))
    assert asked == [
        "decoding is done", "on decoding", "decoded", "off decoding", "training waits for decoding", "kept for training"
    ]  # fmt: skip
