"""CondConv: Yang et al., "Conditionally Parameterized Convolutions for Efficient Inference", arXiv 1904.04971.

timm's layer, which mixes the kernels, under a routing function as in the paper's equation 2. That the 3x3 convolutions
are replaced is *chosen*.
"""

from __future__ import annotations

import torch
from timm.layers import CondConv2d
from torch import Tensor, nn


class CondConv(nn.Module):
    """A convolution with a kernel mixed from several for each sample: (N, C1, H, W) -> (N, C2, H', W').

    Args:
        in_channels ... bias: as of `nn.Conv2d`.
        experts: kernels that are mixed; 8 in the paper (*recalled*).
    """

    awbench = {"name": "condconv", "title": "CondConv", "paper": "arXiv 1904.04971", "slot": "convolution"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        experts: int = 8,
    ) -> None:
        super().__init__()
        self.routing = nn.Linear(in_channels, experts)
        self.conv = CondConv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, num_experts=experts
        )

    def forward(self, x: Tensor) -> Tensor:
        shares = torch.sigmoid(self.routing(x.mean((2, 3))))  # (N, experts)
        return self.conv(x, shares)
