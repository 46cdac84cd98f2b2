"""The textbook execution: all kernels materialised, the batch turned into groups, one grouped convolution.

As in CondConv (arXiv 1904.04971) and Dynamic Convolution (arXiv 1912.03458). The kernels alone
are N*C2*C1*h*w numbers.
"""

from __future__ import annotations

from torch import Tensor

from awbench.kernels.geometry import Geometry, Gradients
from awbench.kernels.modulation import modulate, modulation_gradients


def forward(input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """One grouped convolution for the batch; shapes as in `awbench.kernels.aw_conv2d`."""
    N = len(input)
    AK = modulate(weight, attention_map, geometry.residual)  # (N, C2, C1/groups, h, w)
    O = geometry.convolve(_as_channels(input), AK.flatten(0, 1), None if bias is None else bias.repeat(N), samples=N)
    return O.view(N, len(weight), *O.shape[-2:])


def backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
) -> Gradients:
    """Gradients for input, weight and map, through the gradient of AK."""
    AK = modulate(weight, attention_map, geometry.residual)  # (N, C2, C1/groups, h, w)
    dI, dAK = geometry.convolve_backward(
        _as_channels(grad_output), _as_channels(input), AK.flatten(0, 1), samples=len(input)
    )
    dK, dA = modulation_gradients(dAK.view_as(AK), weight, attention_map, geometry.residual)
    return dI.view(input.shape), dK, dA


def _as_channels(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (1, N*C, H, W); one sample keeps its strides.

    Torch 2.14's gradients in float64 are wrong where the step from sample to sample is another.
    """
    return images if len(images) == 1 else images.reshape(1, -1, *images.shape[2:])
