"""JPEG files decoded, cropped and resized on a GPU: loading processes read them, nvJPEG decodes a batch at a time.

The pixels are not Pillow's: nvJPEG has an inverse transform and an upsampling of colours of its own, and a GPU another
resampling. torchvision calls its decoders deprecated since 0.29, in favour of TorchCodec.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from awbench.data.datasets import ImageDecodeError, decode_to_tensor
from awbench.data.views import Batch, seeded
from awbench.errors import UserError
from awbench.system import open_regular

_END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True)
class Encoded:
    """An image file as a loading process hands it over.

    Attributes:
        content: flat, uint8: the file, or its pixels where the loading process decoded it.
        shape: (3, H, W) of the pixels; None for a file.
    """

    path: str
    content: Tensor
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class EncodedBatch:
    """A micro-batch that is not decoded.

    Attributes:
        content: of all files, one after the other: a tensor takes one of the open files that a process may have.
        sources: of each, path, size of its content, shape as in `Encoded`, seed of its transform, label.
        bad: messages of images that could not be decoded.
    """

    content: Tensor
    sources: tuple[tuple[str, int, tuple[int, ...] | None, int, int], ...]
    bad: tuple[str, ...]


@dataclass(frozen=True)
class EncodedFiles:
    """Images in files, as `awbench.data.datasets.ImageFiles`, read but not decoded."""

    files: list[tuple[str, int]]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Encoded, int]:
        path, label = self.files[index]
        return read_encoded(path), label


def read_encoded(path: str) -> Encoded:
    """A JPEG file; or its pixels where nvJPEG may refuse it, or decode it to other colours or to less than the whole:
    progressive, grey, CMYK, RGB, cut, followed by something, or no JPEG.

    Raises:
        ImageDecodeError: it cannot be decoded.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
        with Image.open(io.BytesIO(content)) as image:
            plain = image.format == "JPEG" and image.mode == "RGB" and "progressive" not in image.info
            plain = plain and image.info.get("adobe_transform", 1) == 1 and content.endswith(_END_OF_IMAGE)
    except Exception:  # as in `decode_rgb`; the decoder says what is wrong
        plain = False
    if plain:
        return Encoded(path, torch.frombuffer(bytearray(content), dtype=torch.uint8), None)
    pixels = decode_to_tensor(path)
    return Encoded(path, pixels.flatten(), tuple(pixels.shape))


def keep_seed(image: Encoded) -> tuple[Encoded, int]:
    """A view's transform: the one on the device will draw from the seed that was set for this sample."""
    return image, torch.initial_seed()


def collate_encoded(samples: Sequence[Any]) -> EncodedBatch:
    """Of an `EncodedFiles` view under `keep_seed`."""
    good = [sample for sample in samples if not isinstance(sample, str)]
    contents = [image.content for (image, _), _ in good]
    sources = ((image.path, len(image.content), image.shape, seed, label) for (image, seed), label in good)
    bad = tuple(sample for sample in samples if isinstance(sample, str))
    return EncodedBatch(torch.cat(contents) if contents else torch.empty(0), tuple(sources), bad)


class DeviceDecoder:
    """Makes batches of encoded ones, on a device.

    Args:
        transform: a tensor (3, H, W) -> (3, h, w), uint8.
        skip_bad_images: report an image that cannot be decoded instead of raising.

    Raises:
        UserError: the device decodes no JPEG.
    """

    def __init__(self, device: torch.device, transform: Callable[[Tensor], Tensor], skip_bad_images: bool) -> None:
        self.device, self.transform, self.skip_bad_images = device, transform, skip_bad_images
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, "JPEG")
        try:
            with self._own_stream():
                self._decode([torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)])
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{device} decodes no JPEG ({reason}); use --set decoder=torchvision") from None

    def __call__(self, batch: EncodedBatch) -> Batch:
        """
        Raises:
            ImageDecodeError: an image cannot be decoded, and is not to be skipped.
        """
        with self._own_stream():
            made = self._batch(batch)
        if self.stream is not None:
            training = torch.cuda.current_stream(self.device)
            training.wait_stream(self.stream)
            if len(made.labels):
                made.images.record_stream(training)
        return made

    @contextlib.contextmanager
    def _own_stream(self) -> Iterator[None]:
        """torchvision's decoder writes from a stream that waits for no other; without this, into memory that kernels
        of the training, still queued, use.
        """
        if self.stream is None:
            yield
            return
        self.stream.synchronize()
        with torch.cuda.stream(self.stream):
            yield

    def _batch(self, batch: EncodedBatch) -> Batch:
        contents = batch.content.split([size for _, size, *_ in batch.sources]) if batch.sources else ()
        files = [content for content, source in zip(contents, batch.sources, strict=True) if source[2] is None]
        try:
            decoded = iter(self._decode(files) if files else [])
        except RuntimeError as error:  # of the whole batch
            _require_refusal(error)
            decoded = None
        images, labels, bad, on_cpu = [], [], [*batch.bad], len(contents) - len(files)
        for (path, _, shape, seed, label), content in zip(batch.sources, contents, strict=True):
            try:
                if shape is not None:
                    pixels = content.view(shape).to(self.device)
                elif decoded is not None:
                    pixels = next(decoded)
                elif (alone := self._alone(content)) is not None:
                    pixels = alone
                else:
                    on_cpu += 1
                    pixels = decode_to_tensor(path).to(self.device)
            except ImageDecodeError as error:
                if not self.skip_bad_images:
                    raise
                bad.append(str(error))
                continue
            images.append(seeded(self.transform, seed, pixels))
            labels.append(label)
        stacked = torch.stack(images) if images else torch.empty(0)
        return Batch(stacked, torch.tensor(labels, dtype=torch.int64), tuple(bad), on_cpu)

    def _alone(self, content: Tensor) -> Tensor | None:
        """An image of a batch in which one was refused; None for that one."""
        try:
            return self._decode([content])[0]
        except RuntimeError as error:
            _require_refusal(error)
            return None

    def _decode(self, files: list[Tensor]) -> list[Tensor]:
        from torchvision.io import ImageReadMode, decode_jpeg

        decoded: list[Tensor] = decode_jpeg(files, ImageReadMode.RGB, self.device)
        return decoded


def require_gpu(device: torch.device) -> None:
    """
    Raises:
        UserError: the device is none; a CPU's pixels would be recorded as nvJPEG's.
    """
    if device.type != "cuda":
        raise UserError(f"decoder=nvjpeg needs a GPU, not {device}; use --device cuda, or --set decoder=torchvision")


def _require_refusal(error: RuntimeError) -> None:
    """Raise an error that is the device's and not the file's; torchvision makes one kind of both."""
    if "CUDA" in str(error):
        raise error
