"""Recipes' augmentation and evaluation transforms, made of torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from awbench.data.datasets import Dataset
from awbench.recipes.classification import Augmentation, Evaluation

Transform = Callable[[Any], Tensor]


def training_transform(augmentation: Augmentation, dataset: Dataset) -> Transform:
    """PIL image -> normalised (3, size, size) float32, randomly augmented."""
    steps: list[Any] = []
    if augmentation.name == "random_resized_crop":
        steps.append(
            v2.RandomResizedCrop(
                augmentation.size,
                scale=(augmentation.min_scale, 1.0),
                interpolation=InterpolationMode(augmentation.interpolation),
                antialias=True,
            )
        )
    elif augmentation.name == "pad_crop":
        steps.append(v2.RandomCrop(augmentation.size, padding=augmentation.padding))
    else:
        steps.append(v2.CenterCrop(augmentation.size))
    if augmentation.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip(0.5))
    return v2.Compose([*steps, *_to_tensor(dataset)])


def evaluation_transform(evaluation: Evaluation, dataset: Dataset) -> Transform:
    """PIL image -> normalised (3, crop, crop) float32: shorter side to `resize`, centre crop; nothing random."""
    steps: list[Any] = []
    if evaluation.resize:
        steps.append(
            v2.Resize(evaluation.resize, interpolation=InterpolationMode(evaluation.interpolation), antialias=True)
        )
    steps.append(v2.CenterCrop(evaluation.crop))
    return v2.Compose([*steps, *_to_tensor(dataset)])


def _to_tensor(dataset: Dataset) -> list[Any]:
    return [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(dataset.mean), list(dataset.std)),
        v2.ToPureTensor(),
    ]
