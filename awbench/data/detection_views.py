"""Detection samples as a training loop sees them: resized, flipped, ordered and shared, all derived from the seed.

The rules are Detectron2's (shorter side resized by PIL, aspect ratios grouped, images without objects not
trained on), the same for every engine; the randomness derives from (seed, epoch, sample index), as in `views`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from awbench.data.coco import SMALLEST_SIDE, DetectionImage
from awbench.data.datasets import DECODE_REMEDY, ImageDecodeError, decode_rgb
from awbench.data.views import SampleKey, derive_seed, epoch_order
from awbench.errors import UserError


@dataclass(frozen=True, eq=False)
class DetectionSample:
    """One image as a network sees it.

    Attributes:
        image: (3, H, W) uint8, RGB.
        boxes: (n, 4) float32, x1 y1 x2 y2 in pixels of `image`.
        categories: (n,) int64, category ids of the annotation file.
        image_id: of the annotation file.
        original_size: (height, width) of the file's image, in pixels.
    """

    image: Tensor
    boxes: Tensor
    categories: Tensor
    image_id: int
    original_size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class DetectionBatch:
    """The samples of a micro-batch, and the messages of images that could not be decoded."""

    samples: tuple[DetectionSample, ...]
    bad: tuple[str, ...] = ()


@dataclass(frozen=True)
class DetectionView:
    """Images of a split resized for a network, addressed by (epoch, index).

    Attributes:
        images: of the split.
        sizes: shorter sides in pixels, one of which is drawn for each sample.
        max_size: the longer side is at most this; it wins over `sizes`.
        horizontal_flip: mirror half of the samples.
        seed: of the run.
        skip_bad_images: report an image that cannot be decoded instead of raising.
    """

    images: Sequence[DetectionImage]
    sizes: tuple[int, ...]
    max_size: int
    horizontal_flip: bool = False
    seed: int = 0
    skip_bad_images: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: SampleKey) -> DetectionSample | str:
        epoch, index = key
        source = self.images[index]
        try:
            image = read_image(source)
        except ImageDecodeError as error:
            if self.skip_bad_images:
                return str(error)
            raise
        generator = torch.Generator().manual_seed(derive_seed("augmentation", self.seed, epoch, index))
        chosen = int(torch.randint(len(self.sizes), (), generator=generator))
        flip = self.horizontal_flip and bool(torch.rand((), generator=generator) < 0.5)
        height, width = resized_shape(source.height, source.width, self.sizes[chosen], self.max_size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        boxes = source.boxes * np.array([width / source.width, height / source.height] * 2, dtype=np.float32)
        if flip:
            image = ImageOps.mirror(image)
            boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        # A box thinner than a rounding error may have vanished, and trainers reject boxes without area.
        whole = (boxes[:, 2:] - boxes[:, :2] > SMALLEST_SIDE).all(axis=1)
        return DetectionSample(
            image=torch.from_numpy(np.array(image).transpose(2, 0, 1).copy()),
            boxes=torch.from_numpy(boxes[whole].astype(np.float32)),
            categories=torch.from_numpy(source.categories[whole]),
            image_id=source.id,
            original_size=(source.height, source.width),
        )


def read_image(source: DetectionImage) -> Image.Image:
    """The image as RGB, upright.

    Raises:
        ImageDecodeError: it cannot be decoded, or has another size than the annotations say.
    """
    image = decode_rgb(source.path, upright=True)
    if image.size != (source.width, source.height):
        raise ImageDecodeError(
            f"{source.path} is {image.width}x{image.height} pixels; its annotations say "
            f"{source.width}x{source.height}; {DECODE_REMEDY}"
        )
    return image


def resized_shape(height: int, width: int, size: int, max_size: int) -> tuple[int, int]:
    """(height, width) with the shorter side `size`, or the longer one `max_size` where it would be more."""
    scale = min(size / min(height, width), max_size / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


@dataclass
class DetectionOrder:
    """Which samples make up each micro-batch of each step, for one process.

    Micro-batches hold images of one orientation, wide or tall, so that padding them to one size wastes little.
    Micro-batch p of a step belongs to process p modulo `world_size`: what a step computes does not depend
    on how many processes share it. What does not fill a micro-batch at an epoch's end is left out.

    Attributes:
        images: the split's; those without objects are left out.
        size: samples of a micro-batch, the recipe's images_per_part.
        per_step: micro-batches of a step, of all processes together.
        first_step, last_step: global step numbers, the last not included.

    Raises:
        UserError: there are too few images with objects for one micro-batch.
    """

    images: Sequence[DetectionImage]
    size: int
    per_step: int
    seed: int
    first_step: int
    last_step: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        self.indices = [index for index, image in enumerate(self.images) if len(image.boxes)]
        self.wide = [self.images[index].width > self.images[index].height for index in self.indices]
        wide = sum(self.wide)
        self.per_epoch = wide // self.size + (len(self.wide) - wide) // self.size
        if not self.per_epoch:
            raise UserError(
                f"{len(self.indices)} images with objects do not fill a micro-batch of {self.size} images of one "
                "orientation; use a smaller images_per_part"
            )

    def __len__(self) -> int:
        return (self.last_step - self.first_step) * len(range(self.rank, self.per_step, self.world_size))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, batches = -1, []
        for step in range(self.first_step, self.last_step):
            for position in range(self.rank, self.per_step, self.world_size):
                number = step * self.per_step + position
                if number // self.per_epoch != epoch:
                    epoch = number // self.per_epoch
                    batches = self._micro_batches(epoch)
                yield [(epoch, index) for index in batches[number % self.per_epoch]]

    def _micro_batches(self, epoch: int) -> list[list[int]]:
        """Those of an epoch, in the order in which they are filled."""
        filling: dict[bool, list[int]] = {True: [], False: []}
        batches = []
        for position in epoch_order(self.seed, epoch, len(self.indices)):
            batch = filling[self.wide[position]]
            batch.append(self.indices[position])
            if len(batch) == self.size:
                batches.append(batch.copy())
                batch.clear()
        return batches


def collate(samples: Sequence[DetectionSample | str]) -> DetectionBatch:
    """What could be decoded, and what could not."""
    return DetectionBatch(
        samples=tuple(sample for sample in samples if not isinstance(sample, str)),
        bad=tuple(sample for sample in samples if isinstance(sample, str)),
    )
