"""Networks from their names."""

from __future__ import annotations

from typing import Any

from torch import nn

from awbench.errors import UserError
from awbench.models.resnet import ResNet
from awbench.module_options import require_types
from awbench.variants import ModelOptions, make_options, parse_variant, placement_of

__all__ = ["ResNet", "build", "build_variant"]


def build(name: str, **options: Any) -> nn.Module:
    """Build a variant with fresh random weights, on the current default device.

    Args:
        name: a name that `awbench list` prints, e.g. "aw_resnet50".
        options: `stride_placement` ("v1" or "v1.5"), `num_classes`, `attention_options`
            (a dict for the activation-attention module, e.g. {"reduction": 8}), `aw_options`
            (a dict, see `awbench.variants.AWOptions`) and `convolution_options` (a dict, for another
            module in place of convolutions).

    Returns:
        For classification, a module (N, 3, H, W) -> logits (N, num_classes).

    Raises:
        UserError: no such variant, or an option that does not exist or does not fit.
    """
    known = ("stride_placement", "num_classes", "attention_options", "aw_options", "convolution_options")
    for option in options:
        if option not in known:
            raise UserError(f"build() has no option {option!r}; known: {', '.join(known)}")
    return build_variant(name, make_options(**options))


def build_variant(name: str, options: ModelOptions) -> nn.Module:
    """`build` for options that are already a ModelOptions."""
    variant = parse_variant(name)
    if variant.task == "detection":
        raise UserError(
            f"{name} is a detector, and build() makes classification networks, e.g. its backbone {variant.backbone}; "
            "'awbench train' and 'awbench eval' build detectors"
        )
    for module in variant.modules:
        after_norm = module.slot == "after_norm"
        require_types(module, dict(options.attention_options) if after_norm else placement_of(variant, options)[2])
    return ResNet(variant, options)
