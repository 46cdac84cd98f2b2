"""What an AW-convolution is not defined for, in one line each. Kernels of our own read memory as it is described."""

from __future__ import annotations

import torch
from torch import Tensor

from awbench.errors import UserError
from awbench.kernels.geometry import Geometry
from awbench.kernels.strategies import DTYPES


def check_request(
    input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry
) -> None:
    """Check that tensors and geometry fit each other, as `awbench.kernels.aw_conv2d` describes them.

    Raises:
        UserError: naming what does not fit, its value and what would.
    """
    _check_dtype(input.dtype)
    _check_geometry(geometry)
    _check_sizes(input, weight, geometry)
    _check_map(input, weight, attention_map)
    if bias is not None and tuple(bias.shape) != (len(weight),):
        raise UserError(f"the bias has shape {tuple(bias.shape)}; it must be (C2,) = ({len(weight)},)")
    _check_same_kind(input, {"kernel": weight, "attention map": attention_map, "bias": bias})


def check_gradient(grad_output: Tensor, input: Tensor, weight: Tensor, geometry: Geometry) -> None:
    """Check that a gradient is like the output, (N, C2, H', W').

    Raises:
        UserError: naming its shape, dtype or device and what it must be.
    """
    size = (len(input), len(weight), *geometry.output_size(input, weight))
    if tuple(grad_output.shape) != size:
        raise UserError(f"the output's gradient has shape {tuple(grad_output.shape)}; it must be {size}")
    _check_same_kind(input, {"output's gradient": grad_output})


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype not in DTYPES:
        usual = ", ".join(_name(known) for known in DTYPES)
        raise UserError(f"dtype {_name(dtype)} has no AW-convolution; use one of {usual}")


def _check_geometry(geometry: Geometry) -> None:
    for name, least in (("stride", 1), ("padding", 0), ("dilation", 1)):
        values = getattr(geometry, name)
        if len(values) != 2 or min(values) < least:
            raise UserError(f"{name} is {tuple(values)}; it must be two numbers of {least} or more")


def _check_sizes(input: Tensor, weight: Tensor, geometry: Geometry) -> None:
    if input.dim() != 4 or weight.dim() != 4:
        required = "they must be (N, C1, H, W) and (C2, C1/groups, h, w)"
    elif not all((*input.shape[1:], *weight.shape)):
        required = "nothing but the batch may be empty"
    else:
        required = ""
    if required:
        shapes = f"{tuple(input.shape)} and the kernel {tuple(weight.shape)}"
        raise UserError(f"the input has shape {shapes}; {required}")
    groups = geometry.groups
    if groups < 1 or len(weight) % groups:
        raise UserError(f"groups is {groups}; it must divide the {len(weight)} output channels")
    if input.shape[1] != weight.shape[1] * groups:
        required = f"{weight.shape[1]} of the kernel times {groups} groups"
        raise UserError(f"the input has {input.shape[1]} channels; it must have {required}")
    for axis, name in enumerate(("rows", "columns")):
        padded = input.shape[2 + axis] + 2 * geometry.padding[axis]
        covered = geometry.dilation[axis] * (weight.shape[2 + axis] - 1) + 1
        if padded < covered:
            raise UserError(f"the kernel covers {covered} {name}; the input has {padded}, padding included")


def _check_map(input: Tensor, weight: Tensor, attention_map: Tensor) -> None:
    C2, channels, h, w = weight.shape
    fits = (
        attention_map.dim() == 5
        and attention_map.shape[0] == input.shape[0]
        and attention_map.shape[1] == C2
        and attention_map.shape[2] > 0
        and channels % attention_map.shape[2] == 0
        and tuple(attention_map.shape[3:]) == (h, w)
    )
    if not fits:
        expected = f"(N, C2, C1/groups/e, h, w) = ({input.shape[0]}, {C2}, a divisor of {channels}, {h}, {w})"
        raise UserError(f"the attention map has shape {tuple(attention_map.shape)}; it must be {expected}")


def _check_same_kind(input: Tensor, others: dict[str, Tensor | None]) -> None:
    """Check that all have the input's dtype and device."""
    for name, tensor in others.items():
        if tensor is not None and (tensor.dtype != input.dtype or tensor.device != input.device):
            found, required = (f"{_name(t.dtype)} on {t.device}" for t in (tensor, input))
            raise UserError(f"the {name} is {found}; it must be {required}, as the input is")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
