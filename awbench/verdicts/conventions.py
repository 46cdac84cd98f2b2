"""Conventions of counting operations: which the field uses, their names, and in what two differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from awbench.reference.conventions import ComplexityConvention, Layer
from awbench.variants import STRIDE_PLACEMENTS

# Sets of counted layers that tools in the field use; tried when a number is not met under its stated convention.
# mmcv's counter: mmcv/cnn/utils/flops_counter.py of open-mmlab/mmcv.
KNOWN_LAYER_SETS: dict[str, dict[Layer, int]] = {
    "conv + linear": {"convolution": 1, "linear": 1},
    "conv + linear + pooling": {"convolution": 1, "linear": 1, "pooling": 1},
    "what ECA's repository counts": {
        "convolution": 1, "linear": 1, "normalisation": 4, "activation": 1, "pooling": 1,
    },
    "what mmcv counts": {
        "convolution": 1, "linear": 1, "convolution_bias": 1, "normalisation": 2, "activation": 1, "pooling": 1,
    },
}  # fmt: skip


_COUNTERS = {"what ECA's repository counts": "pytorch-OpCounter"}


def other_conventions(stated: ComplexityConvention) -> Iterator[tuple[str, ComplexityConvention]]:
    """(in words, convention) of those that the field uses, at the stated image size, the stated placement first."""
    others = [placement for placement in STRIDE_PLACEMENTS if placement != stated.stride_placement]
    known = [] if stated.stride_placement == "unknown" else [stated.stride_placement]
    for placement in (*known, *others):
        for name, layers in KNOWN_LAYER_SETS.items():
            for operation in ("mac", "flop"):
                tool = {"counter": _COUNTERS.get(name, "") if not stated.engine else ""}
                changes = {"stride_placement": placement, "operation": operation, "layers": layers, **tool}
                convention = ComplexityConvention.model_validate({**stated.model_dump(), **changes})
                yield f"{placement}, {operation.upper()}, {name}", convention


def convention_differences(own: ComplexityConvention, other: ComplexityConvention) -> list[str]:
    """In what two counts differ, a few words each: what the other one has, and what this one has."""
    differences = []
    if own.stride_placement != other.stride_placement:
        differences.append(f"stride placement {other.stride_placement}, here {own.stride_placement}")
    if own.layers != other.layers:
        differences.append(f"layers counted {describe_layers(other.layers)}, here {describe_layers(own.layers)}")
    if own.operation != other.operation:
        differences.append(f"counted as {other.operation.upper()}, here {own.operation.upper()}")
    if own.image_size != other.image_size:
        differences.append(f"image size {other.image_size}, here {own.image_size}")
    return differences


def describe_layers(layers: Mapping[Layer, int] | Literal["unknown"]) -> str:
    """The name of a well-known set of counted layers, or e.g. "convolution + linear + 2 x normalisation"."""
    if layers == "unknown":
        return "layers unknown"
    for name, known in KNOWN_LAYER_SETS.items():
        if layers == known:
            return name
    return " + ".join(layer if weight == 1 else f"{weight} x {layer}" for layer, weight in layers.items())
