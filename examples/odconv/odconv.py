"""ODConv: Li, Zhou, Yao, "Omni-Dimensional Dynamic Convolution", ICLR 2022, arXiv 2209.07947, equation 4.

    O = (sum over i of  a_w[i] * a_f[i] * a_c[i] * a_s[i] * K[i]) convolved with I

with attentions a_s over the kernel's positions, a_c over its input channels, a_f over its output channels and a_w over
the n kernels, all computed from the mean of I. As in the official code, a_c, a_f and a_s are shared by the n kernels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ODConv2d(nn.Conv2d):
    """A convolution whose kernels are attended in all four dimensions: (N, C1, H, W) -> (N, C2, H', W').

    Its `weight` is the first kernel, so a plain checkpoint initialises it.

    Args:
        in_channels ... bias: as of `nn.Conv2d`; square kernels.
        kernels: n; 1 in ODConv 1x, 4 in ODConv 4x.
        reduction: r; the hidden layer has max(C1 // r, 16) channels. 16 as in the released models (*primary*).
        temperature: of the attentions. The official code lowers it during the first epochs of 4x; here it is fixed.

    Raises:
        ValueError: kernels below 1, or temperature not above 0.
    """

    awbench = {
        "name": "odconv", "title": "ODConv", "paper": "arXiv 2209.07947", "slot": "convolution", "convolutions": "all",
    }  # fmt: skip

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
        kernels: int = 1,
        reduction: int = 16,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        if kernels < 1 or not temperature > 0:
            raise ValueError(f"kernels is {kernels} and temperature {temperature}; use 1 or more, and more than 0")
        self.temperature = temperature
        hidden = max(in_channels // reduction, 16)
        self.fc = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.bn = nn.BatchNorm2d(hidden)
        self.channel_fc = nn.Conv2d(hidden, in_channels, 1)
        is_depthwise = in_channels == groups == out_channels
        self.filter_fc = None if is_depthwise else nn.Conv2d(hidden, out_channels, 1)
        self.spatial_fc = nn.Conv2d(hidden, kernel_size * kernel_size, 1) if kernel_size > 1 else None
        self.kernel_fc = nn.Conv2d(hidden, kernels, 1) if kernels > 1 else None
        self.further = nn.Parameter(torch.empty(kernels - 1, *self.weight.shape)) if kernels > 1 else None
        self.initialise()

    def initialise(self) -> None:
        """The further kernels as torchvision initialises convolutions."""
        for kernel in () if self.further is None else self.further:
            nn.init.kaiming_normal_(kernel, mode="fan_out", nonlinearity="relu")

    def forward(self, input: Tensor) -> Tensor:
        N, (h, w) = len(input), self.kernel_size
        z = torch.relu(self.bn(self.fc(input.mean((2, 3), keepdim=True))))  # (N, hidden, 1, 1)
        x = input * self._gate(self.channel_fc(z))
        if self.spatial_fc is None and self.kernel_fc is None:
            output = self._conv_forward(x, self.weight, None)
        else:
            kernels = self.weight[None] if self.further is None else torch.cat([self.weight[None], self.further])
            attention = z.new_ones(N, 1, 1, 1, 1, 1)
            if self.spatial_fc is not None:
                attention = attention * self._gate(self.spatial_fc(z)).view(N, 1, 1, 1, h, w)
            if self.kernel_fc is not None:
                share = torch.softmax(self.kernel_fc(z) / self.temperature, 1)
                attention = attention * share.view(N, -1, 1, 1, 1, 1)
            weight = (attention * kernels).sum(1).flatten(0, 1)  # (N * C2, C1/groups, h, w), a kernel for each sample
            output = F.conv2d(
                x.reshape(1, -1, *x.shape[2:]), weight, None, self.stride, self.padding, self.dilation, self.groups * N
            )
            output = output.view(N, self.out_channels, *output.shape[2:])
        if self.filter_fc is not None:
            output = output * self._gate(self.filter_fc(z))
        return output if self.bias is None else output + self.bias[:, None, None]

    def _gate(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits / self.temperature)
