"""SimAM: Yang et al., "SimAM: A Simple, Parameter-Free Attention Module for CNNs", ICML 2021, equations 4 to 6."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SimAM(nn.Module):
    """Scale each activation by how far it stands out of its channel: (N, C, H, W) -> the same, without parameters.

    Args:
        channels: C; nothing depends on it.
        e_lambda: the regularisation; 1e-4 in the official code (*recalled*).

    Raises:
        ValueError: e_lambda is not above 0.
    """

    awbench = {"name": "simam", "title": "SimAM", "paper": "ICML 2021", "slot": "after_norm"}

    def __init__(self, channels: int, e_lambda: float = 1e-4) -> None:
        super().__init__()
        if not e_lambda > 0:
            raise ValueError(f"e_lambda is {e_lambda}; it must be above 0")
        self.e_lambda = e_lambda

    def forward(self, x: Tensor) -> Tensor:
        n = max(x.shape[2] * x.shape[3] - 1, 1)
        squared = (x - x.mean((2, 3), keepdim=True)).square()  # (N, C, H, W)
        variance = squared.sum((2, 3), keepdim=True) / n  # (N, C, 1, 1)
        inverse_energy = squared / (4 * (variance + self.e_lambda)) + 0.5
        return x * torch.sigmoid(inverse_energy)
