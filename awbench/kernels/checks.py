"""What an AW-convolution is not defined for, in one line each. Kernels of our own read memory as it is described."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from awbench.errors import UserError
from awbench.kernels.strategies import DTYPES


def check_request(
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> None:
    """Refuse tensors and settings that do not fit each other, as `awbench.kernels.aw_conv2d` describes them.

    Raises:
        UserError: naming what does not fit, its value and what would.
    """
    _check_dtype(input.dtype)
    _check_settings(stride, padding, dilation)
    _check_sizes(input, weight, groups)
    _check_map(input, weight, attention_map)
    if bias is not None and tuple(bias.shape) != (len(weight),):
        raise UserError(f"the bias has shape {tuple(bias.shape)}; it must be (C2,) = ({len(weight)},)")
    for axis, name in enumerate(("rows", "columns")):
        given, needed = input.shape[2 + axis] + 2 * padding[axis], dilation[axis] * (weight.shape[2 + axis] - 1) + 1
        if given < needed:
            raise UserError(f"the kernel covers {needed} {name}; the input has {given}, padding included")
    _check_alike({"input": input, "kernel": weight, "attention map": attention_map, "bias": bias})


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype not in DTYPES:
        usual = ", ".join(_name(known) for known in DTYPES)
        raise UserError(f"dtype {_name(dtype)} has no AW-convolution; use one of {usual}")


def _check_settings(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> None:
    for name, values, least in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        if len(values) != 2 or min(values) < least:
            raise UserError(f"{name} is {tuple(values)}; it must be two numbers of {least} or more")


def check_gradient(grad_output: Tensor, input: Tensor, size: tuple[int, ...]) -> None:
    """Refuse a gradient that is not like the output, (N, C2, H', W') = `size`.

    Raises:
        UserError: naming its shape, dtype or device and what it must be.
    """
    if tuple(grad_output.shape) != size:
        raise UserError(f"the output's gradient has shape {tuple(grad_output.shape)}; it must be {size}")
    _check_alike({"input": input, "output's gradient": grad_output})


def _check_sizes(input: Tensor, weight: Tensor, groups: int) -> None:
    if input.dim() != 4 or weight.dim() != 4:
        shapes = f"{tuple(input.shape)} and the kernel {tuple(weight.shape)}"
        raise UserError(f"the input has shape {shapes}; they must be (N, C1, H, W) and (C2, C1/groups, h, w)")
    if not all((*input.shape[1:], *weight.shape)):
        shapes = f"{tuple(input.shape)} and the kernel {tuple(weight.shape)}"
        raise UserError(f"the input has shape {shapes}; nothing but the batch may be empty")
    if groups < 1 or len(weight) % groups:
        raise UserError(f"groups is {groups}; it must divide the {len(weight)} output channels")
    if input.shape[1] != weight.shape[1] * groups:
        needed = f"{weight.shape[1]} of the kernel times {groups} groups"
        raise UserError(f"the input has {input.shape[1]} channels; it must have {needed}")


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


def _check_alike(tensors: dict[str, Tensor | None]) -> None:
    found = {name: (_name(t.dtype), str(t.device)) for name, t in tensors.items() if t is not None}
    for name, (dtype, device) in found.items():
        if (dtype, device) != found["input"]:
            dtype_of_input, device_of_input = found["input"]
            raise UserError(
                f"the {name} is {dtype} on {device}; it must be {dtype_of_input} on {device_of_input}, as the input is"
            )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
