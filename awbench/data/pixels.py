"""What pixels a network was trained on: the order of their channels, and how they were normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pixels:
    """The input of a network is (pixel - mean) / std, each channel by its own.

    Attributes:
        order: of the channels.
        mean: a channel, on the 0..255 scale, in the order of `order`.
        std: a channel, on the 0..255 scale, in the order of `order`.
    """

    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# torchvision's (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225), times 255.
IMAGENET_RGB = Pixels("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
# Caffe's: the same mean in the other order, nothing divided. MSRA's ResNets, and Detectron2's defaults.
CAFFE_BGR = Pixels("BGR", (103.53, 116.28, 123.675), (1.0, 1.0, 1.0))
