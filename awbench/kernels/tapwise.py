"""The tap-wise sum: no kernel is formed; each tap's plain product is scaled by the map afterwards.

    O[n,c2] = sum over taps k and channel groups m of (1 + A[n,c2,m,k]) * (K[c2,m,:,k] . I[n,m,:,shifted by k])

Good where the output has fewer pixels than a kernel has channels, so that the taps' outputs are
smaller than the kernels would be, and e is large.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from awbench.kernels.unfolded import fold, output_size, patches


def _split(
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Patches P (N, g, m, e, k, l), kernel K (g, o, m, e, k) and factor 1 + A or A (N, g, o, m, k).

    g: groups, o: C2/groups, m: values of the map along C1, e: channels that share one, k: taps, l: output pixels.
    """
    compact, taps = attention_map.shape[2], weight.shape[2] * weight.shape[3]
    P = patches(input, weight, stride, padding, dilation, groups).unflatten(2, (compact, -1, taps))
    K = weight.flatten(2).unflatten(1, (compact, -1)).unflatten(0, (groups, -1))
    A = attention_map.flatten(3).unflatten(1, (groups, -1))
    return P, K, 1 + A if residual else A


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
    """Shapes as in `awbench.kernels.aw_conv2d`."""
    if len(input) == 0:  # unfold refuses an empty batch
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    P, K, factor = _split(input, weight, attention_map, stride, padding, dilation, groups, residual)
    taps = torch.einsum("gomek,ngmekl->ngomkl", K, P)
    O = torch.einsum("ngomk,ngomkl->ngol", factor, taps)
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
    """Gradients for input, weight and map, through those of the taps' outputs."""
    if len(input) == 0:
        return torch.zeros_like(input), torch.zeros_like(weight), torch.zeros_like(attention_map)
    P, K, factor = _split(input, weight, attention_map, stride, padding, dilation, groups, residual)
    dO = grad_output.flatten(2).unflatten(1, (groups, -1))  # (N, g, o, l)
    taps = torch.einsum("gomek,ngmekl->ngomkl", K, P)
    grad_map = torch.einsum("ngol,ngomkl->ngomk", dO, taps).reshape(attention_map.shape)
    dtaps = torch.einsum("ngomk,ngol->ngomkl", factor, dO)
    grad_weight = torch.einsum("ngomkl,ngmekl->gomek", dtaps, P).reshape(weight.shape)
    dP = torch.einsum("gomek,ngomkl->ngmekl", K, dtaps).flatten(1, 4)  # (N, C1*h*w, H'*W')
    grad_input = fold(dP, input, weight, stride, padding, dilation)
    return grad_input, grad_weight, grad_map
