"""Samples as a training loop sees them: augmented, ordered and shared, all derived from the seed.

Randomness derives from (seed, epoch, sample index), never from worker or process state: any number
of workers and processes sees the same samples, and a resumed run sees those that it would have seen.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from awbench.data.datasets import ImageDecodeError, Images

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
SampleKey = tuple[int, int]  # (epoch, index)


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from the parts, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class Batch:
    """A micro-batch.

    Attributes:
        images: (N, 3, H, W), uint8 until they are normalised on the network's device.
        labels: (N,) int64.
        bad: messages of images that could not be decoded.
        on_cpu: of its images, how many a CPU decoded where a GPU was to.
    """

    images: Tensor
    labels: Tensor
    bad: tuple[str, ...] = ()
    on_cpu: int = 0

    def pin_memory(self) -> Batch:
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())


def seeded(transform: Callable[[Any], T], seed: int, image: Any) -> T:
    """What a transform that draws from torch's global generator alone makes of an image with this seed."""
    # The CPU's generator alone: torch.manual_seed would also queue a call for every GPU, with a stack trace.
    before = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        return transform(image)
    finally:
        torch.set_rng_state(before)


@dataclass(frozen=True)
class View:
    """A split under a transform, addressed by (epoch, index).

    Attributes:
        images: the split's samples.
        transform: image -> (3, H, W) uint8 tensor, or what the loader's `collate` takes; draws from torch's global
            generator alone.
        seed: of the run.
        skip_bad_images: report an image that cannot be decoded instead of raising.
    """

    images: Images
    transform: Callable[[Any], Any]
    seed: int
    skip_bad_images: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, int] | str:
        epoch, index = key
        try:
            image, label = self.images[index]
        except ImageDecodeError as error:
            if self.skip_bad_images:
                return str(error)
            raise
        return seeded(self.transform, derive_seed("augmentation", self.seed, epoch, index), image), label


def collate(samples: Sequence[tuple[Tensor, int] | str]) -> Batch:
    """Stack what could be decoded."""
    good = [sample for sample in samples if not isinstance(sample, str)]
    bad = tuple(sample for sample in samples if isinstance(sample, str))
    images = torch.stack([image for image, _ in good]) if good else torch.empty(0)
    return Batch(images, torch.tensor([label for _, label in good], dtype=torch.int64), bad)


def epoch_order(seed: int, epoch: int, length: int) -> list[int]:
    """The order of all samples in an epoch."""
    generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
    return torch.randperm(length, generator=generator).tolist()


@dataclass(frozen=True)
class TrainingOrder:
    """Which samples make up each micro-batch of each step, for one process.

    A step's global batch is cut into micro-batches of `norm_batch_size`; micro-batch p belongs to process
    p modulo `world_size`. What a step computes therefore does not depend on how many processes
    share it. The incomplete batch at an epoch's end is left out.

    Attributes:
        length: samples of the split.
        batch_size: global batch, a multiple of norm_batch_size.
        first_step, last_step: global step numbers, the last not included.
    """

    length: int
    batch_size: int
    norm_batch_size: int
    seed: int
    first_step: int
    last_step: int
    rank: int = 0
    world_size: int = 1

    @property
    def steps_per_epoch(self) -> int:
        return self.length // self.batch_size

    @property
    def per_step(self) -> int:
        """Of all processes together."""
        return self.batch_size // self.norm_batch_size

    @property
    def own_per_step(self) -> int:
        return len(range(self.rank, self.per_step, self.world_size))

    def __len__(self) -> int:
        return (self.last_step - self.first_step) * self.own_per_step

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, order = -1, []
        for step in range(self.first_step, self.last_step):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = epoch_order(self.seed, epoch, self.length)
            start = step % self.steps_per_epoch * self.batch_size
            for position in range(self.rank, self.per_step, self.world_size):
                at = start + position * self.norm_batch_size
                yield [(epoch, index) for index in order[at : at + self.norm_batch_size]]


@dataclass(frozen=True)
class EvaluationOrder:
    """Every sample exactly once over all processes, none padded: process r has samples r, r + world_size, ..."""

    length: int
    batch_size: int
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        own = len(range(self.rank, self.length, self.world_size))
        return -(-own // self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        own = range(self.rank, self.length, self.world_size)
        for at in range(0, len(own), self.batch_size):
            yield [(0, index) for index in own[at : at + self.batch_size]]
