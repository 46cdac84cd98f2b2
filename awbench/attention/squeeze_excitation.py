"""Squeeze-and-Excitation: Hu et al., "Squeeze-and-Excitation Networks", arXiv 1709.01507, equations 2 to 4."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from awbench.attention.channels import reduced_channels


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from all channels' means: (N, C, H, W) -> the same.

    Args:
        channels: C.
        reduction: r; the hidden layer has max(1, C // r) units. 16 is the paper's (*secondary*).

    Both fully connected layers have biases, as in the official parameter counts.

    Raises:
        UserError: reduction below 1.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = reduced_channels(channels, reduction)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        z = x.mean((2, 3))  # (N, C)
        s = torch.sigmoid(self.fc2(torch.relu(self.fc1(z))))  # (N, C)
        return x * s[:, :, None, None]
