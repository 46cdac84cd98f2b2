"""Efficient Channel Attention: Wang et al., "ECA-Net", arXiv 1910.03151, equations 5 to 12."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from awbench.errors import UserError


def kernel_size_for(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
    """k = |log2(C)/gamma + b/gamma| made odd (equation 12), rounded as in the official code: down, then up to odd."""
    nearest = int(abs((math.log2(channels) + b) / gamma))
    return nearest if nearest % 2 else nearest + 1


class ECA(nn.Module):
    """Scale each channel by a gate computed from its neighbours' means: (N, C, H, W) -> the same.

    Args:
        channels: C.
        kernel_size: k, odd; 0, the default, computes it from C by equation 12 (*recalled*).

    Raises:
        UserError: an even or negative kernel size.
    """

    def __init__(self, channels: int, kernel_size: int = 0) -> None:
        super().__init__()
        if not isinstance(kernel_size, int) or kernel_size > channels:
            raise UserError(
                f"kernel_size is {kernel_size!r}; ECA's must be a whole number up to the {channels} channels"
            )
        if kernel_size < 0 or (kernel_size and kernel_size % 2 == 0):
            raise UserError(f"kernel_size is {kernel_size}; ECA's must be odd, or 0 to compute it from the channels")
        k = kernel_size or kernel_size_for(channels)
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = x.mean((2, 3))  # (N, C)
        w = torch.sigmoid(self.conv(y[:, None]))[:, 0]  # (N, C)
        return x * w[:, :, None, None]
