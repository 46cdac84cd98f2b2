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


def training_transform(augmentation: Augmentation) -> Transform:
    """An image, of Pillow or a tensor (3, H, W), -> (3, size, size) uint8, randomly augmented."""
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
    return v2.Compose([*steps, v2.PILToTensor(), v2.ToPureTensor()])


def evaluation_transform(evaluation: Evaluation) -> Transform:
    """An image -> (3, crop, crop) uint8: shorter side to `resize`, centre crop; nothing random."""
    steps: list[Any] = []
    if evaluation.resize:
        steps.append(
            v2.Resize(evaluation.resize, interpolation=InterpolationMode(evaluation.interpolation), antialias=True)
        )
    steps.append(v2.CenterCrop(evaluation.crop))
    return v2.Compose([*steps, v2.PILToTensor(), v2.ToPureTensor()])


def normalise(images: Tensor, dataset: Dataset) -> Tensor:
    """(N, 3, H, W) uint8 -> float32, normalised, on the device that holds them: a quarter of the bytes goes there."""
    scaled = v2.functional.to_dtype(images, torch.float32, scale=True)
    return v2.functional.normalize(scaled, list(dataset.mean), list(dataset.std), inplace=True)
