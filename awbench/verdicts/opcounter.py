"""How the first versions of pytorch-OpCounter count a network, as ECA's numbers were made.

A module's hook sets its count, so that of a module that is called several times the last call alone stays: the ReLU
that a block's convolutions share, and CBAM's perceptron. A linear layer counts its multiplications and its additions;
max pooling counts nothing (github.com/Lyken17/pytorch-OpCounter, `thop/count_hooks.py` of 2018 and 2019).
"""

from __future__ import annotations

from collections.abc import Iterator

from awbench.reference.conventions import ComplexityConvention
from awbench.variants import Variant
from awbench.verdicts.counts import EXPANSION, REDUCTION


def opcounter_correction(variant: Variant, convention: ComplexityConvention) -> int:
    """What it counts more than a convention's layers do of the same classifier, each with its weight.

    Args:
        convention: that counts activations once; its image size is known.
    """
    architecture, size = variant.architecture, convention.image_size
    assert isinstance(size, int) and convention.layers != "unknown", "counting is known"
    features = architecture.widths[-1] * EXPANSION[architecture.block]
    correction = (features - 1) * architecture.num_classes
    if architecture.stem == "imagenet":
        correction -= convention.layers.get("pooling", 0) * architecture.widths[0] * (size // 2) ** 2
    for inner, outer, before, after in _blocks(variant, size):
        first = before if convention.stride_placement == "v1.5" else after
        if architecture.block == "bottleneck":
            correction -= inner * (first**2 + after**2)
        else:
            correction -= outer * after**2
        squeezed = max(1, outer // REDUCTION)
        if variant.attention in ("se", "cbam"):
            correction += 2 * outer * squeezed - outer - squeezed
        if variant.attention == "cbam":
            correction -= 2 * outer * squeezed + squeezed
    return correction


def _blocks(variant: Variant, image_size: int) -> Iterator[tuple[int, int, int, int]]:
    """(channels of the 3x3, of the output, pixels a side before and after) of each residual block."""
    architecture = variant.architecture
    side = image_size // 4 if architecture.stem == "imagenet" else image_size
    for stage, blocks in enumerate(architecture.blocks_per_stage):
        outer = architecture.widths[stage] * EXPANSION[architecture.block]
        for block in range(blocks):
            after = side // 2 if stage and not block else side
            yield architecture.inner_width(stage), outer, side, after
            side = after
