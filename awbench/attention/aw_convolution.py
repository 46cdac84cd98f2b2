"""AW-convolution: attention on the weights of a convolution.

Zhu, Hofstee, Lee, Al-Ars, "An Attention Module for Convolutional Neural Networks", arXiv 2108.08205.

    A  = F1(I)               attention from the input
    AK = F2(A, K) = K + A*K  elementwise
    O  = Convolution(I, AK)  each sample with its own kernel

The paper's code was never released and its tables could not be read here; each default
below carries its provenance (secondary, recalled or chosen), as in `awbench.variants.AWOptions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from awbench.attention.channels import reduced_channels
from awbench.attention.pooling import POOLINGS, pool, pool_beside
from awbench.errors import UserError, suggestion
from awbench.kernels import DEFAULT_STRATEGY, aw_conv2d, check_strategy

GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
}
POOL_SIZES = ("kernel", "global")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "none": nn.Identity()}
_NO_ONNX = (
    "AW-convolutions are not exported to ONNX: it has neither the operator awbench::aw_convolution nor pooling to a "
    "kernel's size where the input is no multiple of it; torch.export and torch.compile take both"
)


def _choose(option: str, value: str, known: Any) -> Any:
    if value not in known:
        raise UserError(f"{option} is {value!r}{suggestion(value, known)} Known: {', '.join(known)}.")
    return value


class Pointconv(nn.Conv2d):
    """A convolution with a 1 x 1 kernel, on a CPU as a product of matrices: at a map's size, a third of the time."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C1, H, W) -> (N, C2, H, W)."""
        if self.groups > 1 or input.device.type != "cpu":
            return super().forward(input)
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class AWAttention(nn.Module):
    """F1: the attention map of a kernel, from the input, at its compact size.

        A0 = AvgPool(I)            (N, C1, h, w)
        A1 = ReLU(Pointconv1(A0))  (N, C1/r, h, w)
        A2 = Pointconv2(A1)        (N, C2 * C1/e, h, w)
        A  = sigmoid(A2)           (N, C2, C1/e, h, w); Expand_C1 is left to the execution

    (With a grouped kernel, C1/e reads C1/groups/e: A has the kernel's own shape.)

    Args:
        in_channels: C1.
        kernel_shape: (C2, C1/groups, h, w).
        reduction: r; Pointconv1 has max(1, C1 // r) output channels. Default 16, *chosen*.
        expansion: e, consecutive input channels that share one value of the map; a divisor of
            C1/groups. None, the default, is C1/groups: one value per sample, output channel and
            tap, *chosen*. 1 is the full map.
        gate: "sigmoid" (default, *recalled*), "hardsigmoid" or "tanh".
        norm: batch normalisation after each pointwise convolution, which then has no bias.
            Default true, *recalled*.
        pooling: "average" (default, *secondary*) or "max".
        pool_size: "kernel", A0 has the kernel's spatial size (default, *recalled*), or "global",
            A0 is 1 x 1 and all taps are alike.
        activation: between the pointwise convolutions, "relu" (default, *secondary*) or "none".
        pointwise_groups: groups of Pointconv2. Default 1, *chosen*.

    Raises:
        UserError: reduction below 1, an expansion that does not divide C1/groups, an unknown choice.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_shape: tuple[int, int, int, int],
        *,
        reduction: int = 16,
        expansion: int | None = None,
        gate: str = "sigmoid",
        norm: bool = True,
        pooling: str = "average",
        pool_size: str = "kernel",
        activation: str = "relu",
        pointwise_groups: int = 1,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        C2, channels, h, w = kernel_shape  # channels: C1/groups
        expansion = channels if expansion is None else expansion
        if expansion < 1 or channels % expansion:
            divisors = ", ".join(str(d) for d in range(1, channels + 1) if channels % d == 0)
            raise UserError(
                f"expansion is {expansion}, which does not divide the {channels} input channels of this "
                f"convolution's kernel; use one of {divisors}, or none for {channels}"
            )
        hidden = reduced_channels(in_channels, reduction)
        out_channels = C2 * (channels // expansion)
        if pointwise_groups < 1 or hidden % pointwise_groups or out_channels % pointwise_groups:
            raise UserError(
                f"pointwise_groups is {pointwise_groups}, which does not divide Pointconv2's {hidden} input "
                f"and {out_channels} output channels"
            )
        self.map_shape = (C2, channels // expansion, h, w)
        self.pool_size = _choose("pool_size", pool_size, POOL_SIZES)
        self.pooling = _choose("pooling", pooling, POOLINGS)
        self.activation = _choose("activation", activation, ACTIVATIONS)
        self.gate = _choose("gate", gate, GATES)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.pointconv1 = Pointconv(in_channels, hidden, 1, bias=not norm, **factory)
        self.bn1 = nn.BatchNorm2d(hidden, **factory) if norm else nn.Identity()
        self.pointconv2 = Pointconv(hidden, out_channels, 1, groups=pointwise_groups, bias=not norm, **factory)
        self.bn2 = nn.BatchNorm2d(out_channels, **factory) if norm else nn.Identity()

    @property
    def pooled_size(self) -> tuple[int, int]:
        """Of A0."""
        return self.map_shape[2:] if self.pool_size == "kernel" else (1, 1)

    def forward(self, I: Tensor, *, is_pooled: bool = False) -> Tensor:
        """(N, C1, H, W), or A0 itself where `is_pooled` -> (N, C2, C1/groups/e, h, w)."""
        C2, compact, h, w = self.map_shape
        A0 = I if is_pooled else pool(I, self.pooled_size, self.pooling)
        A1 = ACTIVATIONS[self.activation](self.bn1(self.pointconv1(A0)))
        A2 = self.bn2(self.pointconv2(A1))
        return GATES[self.gate](A2).unflatten(1, (C2, compact)).expand(-1, -1, -1, h, w)

    def extra_repr(self) -> str:
        return f"map={self.map_shape}, pooling={self.pooling}, pool_size={self.pool_size}, gate={self.gate}"


class AWConv2d(nn.Conv2d):
    """A convolution whose kernel is attended per sample: (N, C1, H, W) -> (N, C2, H', W').

    A drop-in for `nn.Conv2d`: same positional arguments, same names in the state dict for weight
    and bias, so a plain checkpoint initialises it. The attention branch lies under `attention.`. The layer pools its
    input itself and calls `attention(A0, is_pooled=True)`: that is what a hook on the branch sees.

    Args:
        in_channels ... dtype: as in `nn.Conv2d`.
        residual: AK = K + A*K (true, the default, *secondary*) or A*K.
        strategy: how the convolution is executed, see `awbench.kernels`. Never changes the result.
        attention: reduction, expansion, gate, norm, pooling, pool_size, activation and pointwise_groups, as
            in `AWAttention`.

    Raises:
        UserError: an unknown strategy, or as `AWAttention`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        residual: bool = True,
        strategy: str = DEFAULT_STRATEGY,
        **attention: Any,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        check_strategy(strategy)
        self.residual = residual
        self.strategy = strategy
        kernel_shape = (out_channels, in_channels // groups, self.kernel_size[0], self.kernel_size[1])
        self.attention = AWAttention(in_channels, kernel_shape, **attention, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            raise UserError(_NO_ONNX)
        if input.dim() == 3:  # a single image, as nn.Conv2d takes it
            return self.forward(input[None])[0]
        if type(self.attention) is AWAttention:
            input, A0 = pool_beside(input, self.attention.pooled_size, self.attention.pooling)
            A = self.attention(A0, is_pooled=True)  # (N, C2, C1/groups/e, h, w)
        else:  # in a wrapper, or another one
            A = self.attention(input)
        padded, padding = self._pad(input)
        return aw_conv2d(
            padded,
            self.weight,
            A,
            self.bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            residual=self.residual,
            strategy=self.strategy,
        )

    def _pad(self, input: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Padding that a convolution cannot do itself (reflect, circular, uneven "same") is done before it."""
        left, right, top, bottom = self._reversed_padding_repeated_twice
        if self.padding_mode == "zeros" and left == right and top == bottom:
            return input, (top, left)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(input, (left, right, top, bottom), mode=mode), (0, 0)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, residual={self.residual}, strategy={self.strategy}"


def set_strategy(model: nn.Module, strategy: str) -> None:
    """Set how every AW-convolution of a network is executed, see `awbench.kernels`."""
    for module in model.modules():
        if isinstance(module, AWConv2d):
            module.strategy = strategy
