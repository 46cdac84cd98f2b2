"""Patches and a batched product: each sample's patches, unfolded, times its own kernel as a matrix.

Good where the output has few pixels, so that the patches are small: CIFAR-style networks, late stages.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from awbench.kernels.forming import form_kernel, kernel_gradients


def patches(
    input: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Tensor:
    """(N, groups, C1/groups*h*w, H'*W')."""
    h, w = weight.shape[-2:]
    unfolded = F.unfold(input, (h, w), tuple(dilation), tuple(padding), tuple(stride))  # (N, C1*h*w, H'*W')
    return unfolded.unflatten(1, (groups, -1))


def fold(
    gradient: Tensor, input: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    """The gradient of the patches, (N, C1*h*w, H'*W'), summed back to the input's (N, C1, H, W)."""
    size, kernel = tuple(input.shape[-2:]), tuple(weight.shape[-2:])
    return F.fold(gradient, size, kernel, tuple(dilation), tuple(padding), tuple(stride))


def _matrix(kernel: Tensor, groups: int) -> Tensor:
    """(N, C2, C1/groups, h, w) -> (N, groups, C2/groups, C1/groups*h*w)."""
    return kernel.flatten(2).unflatten(1, (groups, -1))


def output_size(
    input: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> tuple[int, ...]:
    """(H', W')."""
    return tuple(
        (input.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    )


def forward(
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    residual: bool,
) -> Tensor:
    """One batched product; shapes as in `awbench.kernels.aw_conv2d`."""
    if len(input) == 0:  # unfold refuses an empty batch
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    AK = form_kernel(weight, attention_map, residual)  # (N, C2, C1/groups, h, w)
    O = _matrix(AK, groups) @ patches(input, weight, stride, padding, dilation, groups)
    O = O.flatten(1, 2).unflatten(2, output_size(input, weight, stride, padding, dilation))  # (N, C2, H', W')
    return O if bias is None else O + bias[:, None, None]


def backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for input, weight and map; dAK = dO P^T and dP = AK^T dO for the patches P."""
    if len(input) == 0:
        return torch.zeros_like(input), torch.zeros_like(weight), torch.zeros_like(attention_map)
    dO = grad_output.flatten(2).unflatten(1, (groups, -1))  # (N, groups, C2/groups, H'*W')
    P = patches(input, weight, stride, padding, dilation, groups)
    AK = form_kernel(weight, attention_map, residual)  # (N, C2, C1/groups, h, w)
    dP = (_matrix(AK, groups).mT @ dO).flatten(1, 2)  # (N, C1*h*w, H'*W')
    grad_input = fold(dP, input, weight, stride, padding, dilation)
    dAK = (dO @ P.mT).view_as(AK)
    grad_weight, grad_map = kernel_gradients(dAK, weight, attention_map, residual)
    return grad_input, grad_weight, grad_map
