"""Adaptive pooling of an AW-convolution's input to its kernel's size."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from awbench.kernels.operator import needs_plain_operators

POOLINGS: dict[str, Callable[..., Tensor]] = {"average": F.adaptive_avg_pool2d, "max": F.adaptive_max_pool2d}
# The same of one window, (N, C, pixels) -> (N, C).
_OF_WINDOW: dict[str, Callable[[Tensor], Tensor]] = {"average": lambda w: w.mean(-1), "max": lambda w: w.max(-1).values}

# Numbers of `_shares`, from which multiplying by them takes longer than torch's own.
_MOST_SHARES = 2**16
# Pixels of a contiguous float32 image up to which the same is true of pooling itself: at 20 x 20 little is left.
_MOST_PIXELS = 2**8


def pool(I: Tensor, size: tuple[int, int], pooling: str) -> Tensor:
    """Adaptive pooling, (N, C, H, W) -> (N, C, *size); window by window where torch has no deterministic backward.

    Small contiguous images on a CPU are multiplied by their pixels' shares: at 7 x 7, a third of the time.
    """
    if I.device.type == "cuda" and torch.are_deterministic_algorithms_enabled() and I.requires_grad:
        return pool_by_window(I, size, pooling)
    if (
        pooling == "average"
        and math.prod(size) > 1
        and _may_multiply(I, size)
        and I.dtype == torch.float32
        and I.is_contiguous()
        and I[0, 0].numel() <= _MOST_PIXELS
    ):
        return (I.flatten(2) @ _shares(I, size).t()).unflatten(2, size)
    return POOLINGS[pooling](I, size)


def _may_multiply(I: Tensor, size: tuple[int, int]) -> bool:
    """Whether pooling may be a product of matrices: not where it is traced, counted, transformed or cast."""
    return (
        type(I) is Tensor  # no fake one
        and I.device.type == "cpu"
        and I.dtype in (torch.float32, torch.float64)
        and not (torch.compiler.is_compiling() or torch.jit.is_tracing() or needs_plain_operators())
        and not torch.is_autocast_enabled("cpu")
        and torch._C._len_torch_dispatch_stack() == 0  # a mode, as torch's counter of operations is one
        and len(I) > 0
        and math.prod(size) * I[0, 0].numel() <= _MOST_SHARES
    )


def windows(length: int, count: int) -> list[slice]:
    """What adaptive pooling reads along one side: i*length//count to -(-(i+1)*length//count)."""
    return [slice(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


def pool_by_window(I: Tensor, size: tuple[int, int], pooling: str) -> Tensor:
    """Adaptive pooling as a reduction of each window."""
    rows, columns = (windows(length, count) for length, count in zip(I.shape[2:], size, strict=True))
    pooled = [_OF_WINDOW[pooling](I[:, :, row, column].flatten(2)) for row in rows for column in columns]
    return torch.stack(pooled, -1).unflatten(-1, size)


def pool_beside(I: Tensor, size: tuple[int, int], pooling: str) -> tuple[Tensor, Tensor]:
    """(I, A0): `pool`, and its input for the convolution beside it, which must be its only reader.

    In training on a CPU the pooling's gradient is then added into the convolution's, in place, which takes less time
    than a gradient of the input's size that is written first and added afterwards.
    """
    is_added = pooling == "average" and torch.is_grad_enabled() and I.requires_grad and _may_multiply(I, size)
    return _PoolBeside.apply(I, size) if is_added else (I, pool(I, size, pooling))


class _PoolBeside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, I: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        ctx.size = size
        return torch.ops.aten.alias(I), pool(I, size, "average")

    @staticmethod
    def backward(ctx: Any, dI: Tensor, dA0: Tensor) -> tuple[Tensor, None]:
        N, C, H, W = dI.shape
        shares = _shares(dI, ctx.size)
        in_place = not torch.is_grad_enabled()  # else derivatives of derivatives are wanted
        if in_place and dI.is_contiguous():
            dI.view(N * C, H * W).addmm_(dA0.reshape(N * C, -1), shares)
        elif in_place and dI.permute(0, 2, 3, 1).is_contiguous():
            dI.permute(0, 2, 3, 1).view(N, H * W, C).baddbmm_(
                shares.t().expand(N, -1, -1), dA0.permute(0, 2, 3, 1).reshape(N, -1, C)
            )
        else:
            dI = dI + (dA0.flatten(2) @ shares).view_as(dI)
        return dI, None


def _shares(I: Tensor, size: tuple[int, int]) -> Tensor:
    """Each pixel's share of each window's mean, (h*w, H*W)."""
    return torch.from_numpy(_shares_of(tuple(I.shape[2:]), size)).to(I.dtype)


@functools.lru_cache(maxsize=64)
def _shares_of(size: tuple[int, int], pooled: tuple[int, int]) -> np.ndarray:
    sides = []
    for length, count in zip(size, pooled, strict=True):
        side = np.zeros((count, length))
        for row, window in zip(side, windows(length, count), strict=True):
            row[window] = 1 / (window.stop - window.start)
        sides.append(side)
    return np.kron(*sides)
