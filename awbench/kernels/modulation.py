"""Kernel modulation, AK from K and A, and its gradient: what the strategies that materialise kernels share."""

from __future__ import annotations

from torch import Tensor


def expand_map(attention_map: Tensor, channels: int) -> Tensor:
    """Expand_C1: each value of the compact map serves e consecutive input channels.

    Args:
        attention_map: (..., C2, C1/e, h, w).
        channels: C1 of the kernel, i.e. input channels per group.

    Returns:
        (..., C2, C1, h, w). That the e repeats are consecutive is *chosen*.
    """
    return attention_map.repeat_interleave(channels // attention_map.shape[-3], dim=-3)


def modulate(weight: Tensor, attention_map: Tensor, residual: bool) -> Tensor:
    """AK = F2(A, K) = K + A*K, or A*K without the residual.

    Args:
        weight: K, (C2, C1, h, w).
        attention_map: A, at its compact size (..., C2, C1/e, h, w).

    Returns:
        AK, (..., C2, C1, h, w).
    """
    attended = expand_map(attention_map, weight.shape[1]) * weight
    return weight + attended if residual else attended


def modulation_gradients(dAK: Tensor, weight: Tensor, attention_map: Tensor, residual: bool) -> tuple[Tensor, Tensor]:
    """From the gradient of AK to those of K and A, by the product rule on AK = K + A*K.

    dK = sum over n of dAK * (1 + A),  dA = dAK * K summed over the e channels that share a value.
    """
    compact = attention_map.shape[2]  # C1/groups/e
    shared = dAK.unflatten(2, (compact, -1))  # (N, C2, C1/groups/e, e, h, w)
    grad_weight = (shared * attention_map[:, :, :, None]).sum(0).flatten(1, 2)
    if residual:
        grad_weight = grad_weight + dAK.sum(0)
    grad_map = (shared * weight.unflatten(1, (compact, -1))).sum(3)
    return grad_weight, grad_map
