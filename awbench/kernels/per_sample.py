"""One plain convolution per sample, with a kernel that is modulated into memory used again for each sample.

What it computes is what the oracle computes. The N kernels are never in memory together: one lies where the
last one lay, so it is still in the cache when the convolution reads it, and no fresh pages are asked of the system.
Good on a CPU where a kernel is large; a GPU idles between so many small calls.
"""

from __future__ import annotations

import torch
from torch import Tensor

from awbench.kernels.geometry import Geometry, Gradients


def _modulate(weight: Tensor, sample_map: Tensor, residual: bool, place: Tensor) -> Tensor:
    """AK of one sample, written to `place`, which has the kernel's shape: (C2, C1/groups, h, w).

    Args:
        sample_map: (C2, C1/groups/e, h, w).
    """
    compact = sample_map.shape[1]  # C1/groups/e
    K, AK, A = weight.unflatten(1, (compact, -1)), place.unflatten(1, (compact, -1)), sample_map[:, :, None]
    if residual:
        torch.addcmul(K, A, K, out=AK)
    else:
        torch.mul(A, K, out=AK)
    return place


def forward(input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Shapes as in `awbench.kernels.aw_conv2d`."""
    place = torch.empty_like(weight)
    outputs = []
    for sample, sample_map in zip(input.split(1), attention_map, strict=True):
        AK = _modulate(weight, sample_map, geometry.residual, place)
        outputs.append(geometry.convolve(sample, AK, bias))  # (1, C2, H', W')
    return torch.cat(outputs)


def backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
) -> Gradients:
    """Gradients for input, weight and map, each sample by the product rule on AK = K + A*K."""
    compact = attention_map.shape[2]  # C1/groups/e
    place = torch.empty_like(weight)
    grad_input, grad_map = torch.empty_like(input), torch.empty_like(attention_map)
    # In half precision a sum over samples would lose what each of them adds.
    grad_weight = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
    K, dK = weight.unflatten(1, (compact, -1)), grad_weight.unflatten(1, (compact, -1))
    for n in range(len(input)):
        sample = slice(n, n + 1)
        AK = _modulate(weight, attention_map[n], geometry.residual, place)
        grad_input[sample], dAK = geometry.convolve_backward(grad_output[sample], input[sample], AK)
        shared = dAK.unflatten(1, (compact, -1))  # (C2, C1/groups/e, e, h, w)
        dK.addcmul_(shared, attention_map[n][:, :, None])
        if geometry.residual:
            grad_weight += dAK
        grad_map[n] = torch.mul(shared, K, out=place.unflatten(1, (compact, -1))).sum(2)
    return grad_input, grad_weight.to(weight.dtype), grad_map
