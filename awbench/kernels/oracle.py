"""The oracle: AW-convolution one sample at a time, one expression a line. Slow and obviously right.

Everything faster is held to this, in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from awbench.kernels.geometry import Geometry, Gradients
from awbench.kernels.modulation import expand_map


def forward(input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """O[n] = Convolution(I[n], AK[n]) for each sample n; shapes as in `awbench.kernels.aw_conv2d`."""
    outputs = []
    for sample, sample_map in zip(input, attention_map, strict=True):
        A = expand_map(sample_map, weight.shape[1])  # (C2, C1/groups, h, w)
        AK = weight + A * weight if geometry.residual else A * weight  # (C2, C1/groups, h, w)
        # Contiguous: of a sample taken from a channels_last batch, torch 2.14's float64 grouped gradient is wrong.
        outputs.append(geometry.convolve(sample[None].contiguous(), AK.contiguous(), bias))  # (1, C2, H', W')
    return torch.cat(outputs)


def backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
) -> Gradients:
    """Gradients for input, weight and map, each sample by the product rule on AK = K + A*K.

    Autograd of `forward` would be shorter, but an operator executes below autograd: there torch.func.vjp fails under
    any dispatch mode, a counter of operations for one.
    """
    compact = attention_map.shape[2]  # C1/groups/e
    dI, dK, dA = torch.zeros_like(input), torch.zeros_like(weight), torch.zeros_like(attention_map)
    for n in range(len(input)):
        I, dO = input[n : n + 1], grad_output[n : n + 1]
        A = expand_map(attention_map[n], weight.shape[1])  # (C2, C1/groups, h, w)
        AK = weight + A * weight if geometry.residual else A * weight  # (C2, C1/groups, h, w)
        dAK = conv2d_weight(I, AK.shape, dO, *geometry[:4])  # (C2, C1/groups, h, w)
        dI[n : n + 1] = conv2d_input(I.shape, AK, dO, *geometry[:4])
        dK += dAK + A * dAK if geometry.residual else A * dAK
        dA[n] = (dAK * weight).unflatten(1, (compact, -1)).sum(2)
    return dI, dK, dA
