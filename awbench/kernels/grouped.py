"""The textbook execution: all kernels materialised, the batch turned into groups, one grouped convolution.

As in CondConv (arXiv 1904.04971) and Dynamic Convolution (arXiv 1912.03458). The kernels alone
are N*C2*C1*h*w numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from awbench.kernels.forming import form_kernel, kernel_gradients


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
    """One grouped convolution for the batch; shapes as in `awbench.kernels.aw_conv2d`."""
    N, C1, H, W = input.shape
    if N == 0:  # a convolution in 0 groups is undefined
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    AK = form_kernel(weight, attention_map, residual)  # (N, C2, C1/groups, h, w)
    O = F.conv2d(
        input.reshape(1, N * C1, H, W),
        AK.flatten(0, 1),
        None if bias is None else bias.repeat(N),
        stride,
        padding,
        dilation,
        groups=N * groups,
    )
    return O.view(N, weight.shape[0], *O.shape[-2:])


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
    """Gradients for input, weight and map, through the gradient of AK."""
    N, C1, H, W = input.shape
    C2 = weight.shape[0]
    if N == 0:
        return torch.zeros_like(input), torch.zeros_like(weight), torch.zeros_like(attention_map)
    AK = form_kernel(weight, attention_map, residual)  # (N, C2, C1/groups, h, w)
    grad_input, grad_AK, _ = torch.ops.aten.convolution_backward(
        grad_output.reshape(1, N * C2, *grad_output.shape[-2:]),
        input.reshape(1, N * C1, H, W),
        AK.flatten(0, 1),
        None,
        stride,
        padding,
        dilation,
        False,
        [0, 0],
        N * groups,
        [True, True, False],
    )
    grad_weight, grad_map = kernel_gradients(grad_AK.view_as(AK), weight, attention_map, residual)
    return grad_input.view(N, C1, H, W), grad_weight, grad_map
