"""AW-convolution as one torch operator, `awbench::aw_convolution`, whichever strategy executes it.

One operator means that `torch.compile` and `torch.export` see one node, and that a counter
counts the mathematical operation, never the tricks of its execution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from awbench.errors import UserError, suggestion
from awbench.kernels import grouped, oracle

STRATEGIES = {"oracle": oracle, "grouped": grouped}
DEFAULT_STRATEGY = "grouped"


def aw_conv2d(
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    residual: bool = True,
    strategy: str = DEFAULT_STRATEGY,
) -> Tensor:
    """Convolve each sample with its own attended kernel (arXiv 2108.08205).

        AK = K + A * K,  O = Convolution(I, AK)

    Args:
        input: I, (N, C1, H, W).
        weight: K, (C2, C1/groups, h, w).
        attention_map: A at its compact size, (N, C2, C1/groups/e, h, w); each value serves e
            consecutive input channels.
        bias: (C2,) or None.
        stride, padding, dilation, groups: as in `torch.nn.functional.conv2d`; padding in pixels.
        residual: AK = K + A*K if true (the paper's F2), else A*K.
        strategy: how it is executed; a key of `STRATEGIES`. It never changes what is computed.

    Returns:
        O, (N, C2, H', W'). Under autocast, in autocast's dtype, as a convolution.

    Raises:
        UserError: the map does not fit the kernel and batch, or the strategy does not exist.
    """
    if strategy not in STRATEGIES:
        raise UserError(
            f"strategy {strategy!r} does not exist{suggestion(strategy, STRATEGIES)} Known: {', '.join(STRATEGIES)}."
        )
    _check_map(input, weight, attention_map)
    device = input.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        input, weight, attention_map = input.to(dtype), weight.to(dtype), attention_map.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    return aw_convolution(
        input, weight, attention_map, bias, _pair(stride), _pair(padding), _pair(dilation), groups, residual, strategy
    )


def _check_map(input: Tensor, weight: Tensor, attention_map: Tensor) -> None:
    C2, channels, h, w = weight.shape
    expected = f"(N, C2, C1/groups/e, h, w) = ({input.shape[0]}, {C2}, a divisor of {channels}, {h}, {w})"
    fits = (
        attention_map.dim() == 5
        and attention_map.shape[0] == input.shape[0]
        and attention_map.shape[1] == C2
        and attention_map.shape[2] > 0
        and channels % attention_map.shape[2] == 0
        and tuple(attention_map.shape[3:]) == (h, w)
    )
    if not fits:
        raise UserError(f"the attention map has shape {tuple(attention_map.shape)}; it must be {expected}")


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


@torch.library.custom_op("awbench::aw_convolution", mutates_args=())
def aw_convolution(
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    residual: bool,
    strategy: str,
) -> Tensor:
    """The operator behind `aw_conv2d`, same arguments and shapes, already checked."""
    return STRATEGIES[strategy].forward(input, weight, attention_map, bias, stride, padding, dilation, groups, residual)


@aw_convolution.register_fake
def _(
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    residual: bool,
    strategy: str,
) -> Tensor:
    shape = F.conv2d(input, weight, bias, stride, padding, dilation, groups).shape
    return input.new_empty(shape)


@torch.library.custom_op("awbench::aw_convolution_backward", mutates_args=())
def aw_convolution_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    residual: bool,
    strategy: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `aw_convolution` for input, weight and map, each of the shape of what it belongs to."""
    gradients = STRATEGIES[strategy].backward(
        grad_output, input, weight, attention_map, stride, padding, dilation, groups, residual
    )
    return tuple(gradient.contiguous() for gradient in gradients)


@aw_convolution_backward.register_fake
def _(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    residual: bool,
    strategy: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        input.new_empty(input.shape),
        weight.new_empty(weight.shape),
        attention_map.new_empty(attention_map.shape),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, attention_map, bias, *settings = inputs
    ctx.save_for_backward(input, weight, attention_map)
    ctx.has_bias = bias is not None
    ctx.settings = settings


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    gradients = aw_convolution_backward(grad_output, *ctx.saved_tensors, *ctx.settings)
    grad_bias = grad_output.sum((0, 2, 3)) if ctx.has_bias else None
    return (*gradients, grad_bias, *[None] * len(ctx.settings))


torch.library.register_autograd("awbench::aw_convolution", _backward, setup_context=_setup_context)


def _flops(input_shape: Sequence[int], weight_shape: Sequence[int], output_shape: Sequence[int]) -> int:
    """Floating-point operations (2 a multiply-accumulate) of the convolution, forming AK not included."""
    C2, channels, h, w = weight_shape
    N, _, output_height, output_width = output_shape
    return 2 * N * C2 * channels * h * w * output_height * output_width


@register_flop_formula(torch.ops.awbench.aw_convolution)
def _flop_formula(input_shape: Any, weight_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return _flops(input_shape, weight_shape, out_shape)


@register_flop_formula(torch.ops.awbench.aw_convolution_backward)
def _backward_flop_formula(
    grad_shape: Any, input_shape: Any, weight_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any
) -> int:
    # As a plain convolution's backward pass: one product for the input's gradient, one for the kernel's.
    return 2 * _flops(input_shape, weight_shape, grad_shape)
