"""The project's ResNet as a detector's backbone: without its classifier, frozen as Detectron2 freezes.

The attention branches of AW-convolutions, SE and CBAM belong to the stage they are in: they are frozen with it,
and their normalisations are frozen where the backbone's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from awbench.models.resnet import Bottleneck, ResNet
from awbench.variants import ModelOptions, Variant, parse_variant

Norm = Literal["frozen", "batch"]

STRIDES = (4, 8, 16, 32)


def make_body(variant: Variant, options: ModelOptions, norm: Norm, freeze_at: int) -> ResNet:
    """A detector's backbone, with fresh weights.

    Args:
        variant: of a detector or of the ImageNet network inside it.
        options: of the network; its number of classes does not matter.
        norm: "frozen": every batch normalisation is a fixed scale and shift; "batch": only those of frozen stages.
        freeze_at: stages that are not trained: 1 the stem, 2 the first stage too, ..., 0 none.

    Returns:
        a network whose `stages` gives four feature maps, at 1/4 to 1/32 of the image.

    Raises:
        UserError: an option does not fit the network.
    """
    body = ResNet(parse_variant(variant.backbone), options)
    del body.avgpool, body.fc
    freeze(body, norm, freeze_at)
    return body


def freeze(body: ResNet, norm: Norm, freeze_at: int) -> None:
    """Freeze the first stages of a network, and its normalisations as `make_body` says, in place."""
    stages: list[Sequence[str]] = [("conv1", "bn1"), *((name,) for name in body.stage_names)]
    for stage in stages[:freeze_at]:
        for name in stage:
            body.get_submodule(name).requires_grad_(False)
            _freeze_norms(body, only=name)
    if norm == "frozen":
        _freeze_norms(body)


def channels(body: ResNet) -> list[int]:
    """Of the four feature maps, finest first."""
    architecture = body.variant.architecture
    expansion = Bottleneck.expansion if architecture.block == "bottleneck" else 1
    return [width * expansion for width in architecture.widths]


def _freeze_norms(body: nn.Module, only: str = "") -> None:
    for name, module in list(body.named_modules()):
        if isinstance(module, nn.BatchNorm2d) and f"{name}.".startswith(f"{only}." if only else ""):
            parent, _, attribute = name.rpartition(".")
            setattr(body.get_submodule(parent), attribute, _frozen(module))


class FrozenNorm(FrozenBatchNorm2d):
    """torchvision's, in the precision of its input as Detectron2's: under autocast it would widen to float32."""

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.to(x.dtype)[:, None, None] + shift.to(x.dtype)[:, None, None]


def _frozen(norm: nn.BatchNorm2d) -> FrozenBatchNorm2d:
    frozen = FrozenNorm(norm.num_features, norm.eps)
    with torch.no_grad():
        for name, buffer in frozen.named_buffers():
            buffer.copy_(getattr(norm, name))
    return frozen
