"""CBAM: Woo et al., "CBAM: Convolutional Block Attention Module", arXiv 1807.06521.

Details the paper leaves open follow the official code (github.com/Jongchan/attention-module).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from awbench.attention.channels import reduced_channels


class ChannelGate(nn.Module):
    """M_c(F) = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F))), equation 2: (N, C, H, W) -> (N, C, 1, 1).

    That the biases start at zero is the official code's; its weights start as torch's linear layers do.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = reduced_channels(channels, reduction)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.initialise()

    def initialise(self) -> None:
        for layer in (self.fc1, self.fc2):
            nn.init.zeros_(layer.bias)

    def mlp(self, z: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(z)))

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))  # (N, C)
        return gate[:, :, None, None]


class SpatialGate(nn.Module):
    """M_s(F) = sigmoid(BN(Conv7x7([max over C; mean over C]))), equation 3: (N, C, H, W) -> (N, 1, H, W).

    The batch normalisation, its eps 1e-5, momentum 0.01 and zero initial scale are the official code's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)
        self.initialise()

    def initialise(self) -> None:
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.zeros_(self.bn.weight)
        nn.init.zeros_(self.bn.bias)

    def forward(self, x: Tensor) -> Tensor:
        descriptor = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)  # (N, 2, H, W)
        return torch.sigmoid(self.bn(self.conv(descriptor)))


class CBAM(nn.Module):
    """F' = M_c(F) * F, F'' = M_s(F') * F' (equation 1): (N, C, H, W) -> the same.

    Args:
        channels: C.
        reduction: r of the channel gate; 16 in the official code (*primary*).

    Raises:
        UserError: reduction below 1.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.channel_gate = ChannelGate(channels, reduction)
        self.spatial_gate = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        x = self.channel_gate(x) * x
        return self.spatial_gate(x) * x
