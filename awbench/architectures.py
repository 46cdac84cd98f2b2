"""The shapes of the residual networks, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Architecture:
    """The shape of one residual network (He et al., arXiv 1512.03385, table 1 and section 4.2).

    Attributes:
        groups, width_per_group: of a bottleneck's 3x3 convolution, as torchvision counts them: the width is
            width_per_group where a ResNet has 64. ResNeXt (arXiv 1611.05431) and Wide ResNet (arXiv 1605.07146).
    """

    block: Literal["basic", "bottleneck"]
    blocks_per_stage: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Literal["imagenet", "cifar"]
    total_stride: int
    image_size: int
    num_classes: int
    groups: int = 1
    width_per_group: int = 64

    @property
    def family(self) -> str:
        return self.stem

    @property
    def depth(self) -> int:
        """Layers with weights: the convolutions of stem and blocks, and the classifier. A name's first number."""
        return 2 + sum(self.blocks_per_stage) * (2 if self.block == "basic" else 3)

    @property
    def is_resnet(self) -> bool:
        """Whether it is a ResNet proper: a claim on an attention setting is about these, at every depth."""
        return (self.groups, self.width_per_group) == (1, 64)

    def inner_width(self, stage: int) -> int:
        """Output channels of the 3x3 convolutions in stage 0, 1, ..."""
        return self.widths[stage] * self.width_per_group // 64 * self.groups


def _imagenet(
    block: Literal["basic", "bottleneck"], blocks_per_stage: tuple[int, ...], groups: int = 1, width_per_group: int = 64
) -> Architecture:
    widths = (64, 128, 256, 512)
    return Architecture(block, blocks_per_stage, widths, "imagenet", 32, 224, 1000, groups, width_per_group)


def _cifar(blocks_per_stage: tuple[int, ...]) -> Architecture:
    return Architecture("basic", blocks_per_stage, (16, 32, 64), "cifar", 4, 32, 10)


# The registry of backbones: one line adds one, with every attention setting, to every command, table and test.
ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": _imagenet("basic", (2, 2, 2, 2)),
    "resnet34": _imagenet("basic", (3, 4, 6, 3)),
    "resnet50": _imagenet("bottleneck", (3, 4, 6, 3)),
    "resnet101": _imagenet("bottleneck", (3, 4, 23, 3)),
    "resnet152": _imagenet("bottleneck", (3, 8, 36, 3)),
    "resnext50_32x4d": _imagenet("bottleneck", (3, 4, 6, 3), groups=32, width_per_group=4),
    "wide_resnet50_2": _imagenet("bottleneck", (3, 4, 6, 3), width_per_group=128),
    "resnet20": _cifar((3, 3, 3)),
    "resnet32": _cifar((5, 5, 5)),
    "resnet56": _cifar((9, 9, 9)),
}

DETECTION_ARCHITECTURES: tuple[str, ...] = ("resnet18", "resnet50", "resnet101")
