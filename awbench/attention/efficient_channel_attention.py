"""Efficient Channel Attention: Wang et al., "ECA-Net", arXiv 1910.03151, equations 5 to 12."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from awbench.errors import UserError

# Kernel sizes of the networks that the authors released (github.com/BangguWu/ECANet, *primary*): by network, and by
# the channels at the end of a block. They are not everywhere those of equation 12.
RELEASED = {
    "resnet18": {64: 3, 128: 5, 256: 7, 512: 7},
    "resnet34": {64: 3, 128: 3, 256: 5, 512: 7},
    "resnet50": {256: 3, 512: 5, 1024: 5, 2048: 7},
    "resnet101": {256: 3, 512: 3, 1024: 5, 2048: 7},
    "resnet152": {256: 3, 512: 3, 1024: 5, 2048: 7},
}


def kernel_size_for(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
    """k = |log2(C)/gamma + b/gamma| made odd (equation 12), rounded as in the official code: down, then up to odd."""
    nearest = int(abs((math.log2(channels) + b) / gamma))
    return nearest if nearest % 2 else nearest + 1


def released_kernel_size(network: str, channels: int) -> int:
    """k of a released network. Raises: UserError: there is none, or it has no block of so many channels."""
    if network not in RELEASED:
        raise UserError(f"released is {network!r}; ECA released {', '.join(RELEASED)}")
    if channels not in RELEASED[network]:
        have = ", ".join(map(str, RELEASED[network]))
        raise UserError(f"released is {network}, whose blocks have {have} channels; this one has {channels}")
    return RELEASED[network][channels]


class ECA(nn.Module):
    """Scale each channel by a gate computed from its neighbours' means: (N, C, H, W) -> the same.

    Args:
        channels: C.
        kernel_size: k, odd; 0, the default, computes it from C by equation 12 (*recalled*).
        released: a network whose released kernel sizes are taken instead, see RELEASED.

    Raises:
        UserError: an even or negative kernel size, or a released network that has no such channels.
    """

    def __init__(self, channels: int, kernel_size: int = 0, released: str = "") -> None:
        super().__init__()
        if released:
            if kernel_size:
                raise UserError(f"kernel_size is {kernel_size} and released is {released}; give one of the two")
            kernel_size = released_kernel_size(released, channels)
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
