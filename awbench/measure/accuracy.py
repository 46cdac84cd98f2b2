"""Top-1 and top-5 accuracy: every image counted exactly once, at any number of processes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from awbench.data.views import Batch
from awbench.errors import UserError


@dataclass(frozen=True)
class Accuracy:
    """Result of an evaluation.

    Attributes:
        images: how many were counted.
        correct1, correct5: how many had their label first, or among the first five.
        loss: mean cross-entropy, in nats.
        bad: messages of images that could not be decoded and were not counted.
        on_cpu: images that a CPU decoded where a GPU was to.
    """

    images: int
    correct1: int
    correct5: int
    loss: float
    bad: tuple[str, ...] = ()
    on_cpu: int = 0

    @property
    def top1_percent(self) -> float:
        return 100 * self.correct1 / self.images

    @property
    def top5_percent(self) -> float:
        return 100 * self.correct5 / self.images

    @property
    def top1_standard_error_percent(self) -> float:
        """Binomial: the standard deviation of the top-1 over samples of as many images."""
        p = self.correct1 / self.images
        return 100 * math.sqrt(p * (1 - p) / self.images)


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """(correct among the first 1, correct among the first 5, samples) as int64 (3,).

    Args:
        logits: (N, classes).
        labels: (N,).
    """
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = ranked == labels[:, None]
    samples = torch.tensor(len(labels), device=logits.device)
    return torch.stack([hits[:, 0].sum(), hits.sum(), samples])


def measure_accuracy(
    model: nn.Module,
    batches: Iterable[Batch],
    world: Any,
    autocast: AbstractContextManager[Any],
    channels_last: bool = False,
) -> Accuracy:
    """Evaluate a model in evaluation mode; its mode is restored.

    Args:
        model: (N, 3, H, W) -> logits.
        batches: this process's share of the images.
        world: see `awbench.training.distributed.World`; counts are summed over its processes.
        autocast: the context of the forward pass.

    Raises:
        UserError: no image of any process could be decoded.
    """
    was_training = model.training
    model.eval()
    counts = torch.zeros(4, dtype=torch.int64, device=world.device)
    loss = torch.zeros((), dtype=torch.float64, device=world.device)
    bad: list[str] = []
    layout = torch.channels_last if channels_last else torch.contiguous_format
    with torch.inference_mode():
        for batch in batches:
            bad += batch.bad
            if not len(batch.labels):
                continue
            images = batch.images.to(world.device, non_blocking=True, memory_format=layout)
            labels = batch.labels.to(world.device, non_blocking=True)
            with autocast:
                logits = model(images)
            counts[:3] += count_correct(logits, labels)
            counts[3] += batch.on_cpu
            loss += F.cross_entropy(logits.float(), labels, reduction="sum")
    world.sum(counts)
    world.sum(loss)
    model.train(was_training)
    correct1, correct5, images_counted, on_cpu = (int(value) for value in counts)
    bad = world.gather(bad)
    if not images_counted:
        raise UserError(f"not one image could be decoded: {bad[0]}" if bad else "there are no images to evaluate")
    return Accuracy(images_counted, correct1, correct5, float(loss) / images_counted, tuple(bad), on_cpu)
