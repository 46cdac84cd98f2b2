"""AW-convolution as one torch operator, `awbench::aw_convolution`, whichever strategy executes it.

One operator means that `torch.compile` and `torch.export` see one node, and that a counter
counts the mathematical operation, never the tricks of its execution.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from awbench.errors import UserError
from awbench.kernels.checks import check_gradient, check_request
from awbench.kernels.choice import choose
from awbench.kernels.geometry import Geometry, Gradients, layout_of
from awbench.kernels.request import Request
from awbench.kernels.strategies import DEFAULT_STRATEGY, backward, check_strategy, for_transforms, forward

# Asked here, for torch 2.11 cannot trace the question.
_AUTOCAST_DEVICES = tuple(kind for kind in ("cpu", "cuda", "xpu", "mps") if torch.amp.is_autocast_available(kind))


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
        strategy: how it is executed: a key of `STRATEGIES`; "rule", by sizes alone; or "auto", by
            measurement, see `awbench.kernels.choice`. It never changes what is computed, beyond the
            order of summation.

    Returns:
        O, (N, C2, H', W'). Under autocast, in autocast's dtype, as a convolution.

    Raises:
        UserError: the tensors do not fit each other, the dtype is not one of the usual, or the strategy does
            not exist or cannot execute this.
    """
    check_strategy(strategy)
    device = input.device.type
    autocast = device in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device)
    if autocast and input.dtype != torch.float64:  # which autocast leaves alone
        input, weight, attention_map, bias = (_cast(tensor, device) for tensor in (input, weight, attention_map, bias))
    geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups, residual)
    plain = needs_plain_operators()
    if plain or not torch.jit.is_tracing():  # a trace records each size that is looked at; the operator checks, too
        check_request(input, weight, attention_map, bias, geometry)
    if plain:
        return forward(for_transforms(strategy), input, weight, attention_map, bias, geometry)
    return aw_convolution(input, weight, attention_map, bias, *geometry, strategy)


def _cast(tensor: Any, device: str) -> Any:
    """To autocast's dtype, as convolutions are."""
    return tensor if tensor is None else tensor.to(torch.get_autocast_dtype(device))


def needs_plain_operators() -> bool:
    """Whether torch.func's transforms or forward-mode derivatives are at work: custom operators support neither."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def chosen_strategy(
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    residual: bool = True,
    strategy: str = "auto",
    grad_output: Tensor | None = None,
) -> str:
    """The name of the strategy that executes `aw_conv2d` with these arguments, measured now if it has to be.

    Args:
        grad_output: (N, C2, H', W') to ask about the backward pass; None for the forward pass.
        other arguments: as `aw_conv2d`.

    Raises:
        UserError: as `aw_conv2d`.
    """
    geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups, residual)
    check_request(input, weight, attention_map, None, geometry)
    if grad_output is not None:
        check_gradient(grad_output, input, weight, geometry)
    return choose(strategy, Request(input, weight, attention_map, geometry, grad_output))


def _pair(value: int | Sequence[int]) -> list[int]:
    """Raises:
    UserError: it is neither a whole number nor one or two of them.
    """
    try:
        values = [operator.index(number) for number in (value if isinstance(value, Iterable) else (value,))]
    except TypeError:
        values = []
    if len(values) not in (1, 2):
        raise UserError(f"stride, padding or dilation is {value!r}; it must be a whole number, or two")
    return values * 2 if len(values) == 1 else values


# What both operators take after their tensors: the fields of a Geometry, and the strategy. torch.library takes plain
# numbers and lists alone.
_SETTINGS = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups, bool residual, str strategy"


@torch.library.custom_op(
    "awbench::aw_convolution",
    mutates_args=(),
    schema=f"(Tensor input, Tensor weight, Tensor attention_map, Tensor? bias, {_SETTINGS}) -> Tensor",
)
def aw_convolution(input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    """The operator behind `aw_conv2d`, same arguments and shapes."""
    *numbers, strategy = settings
    geometry = Geometry(*numbers)
    check_request(input, weight, attention_map, bias, geometry)  # an exported program calls it directly
    chosen = choose(strategy, Request(input, weight, attention_map, geometry))
    output = forward(chosen, input, weight, attention_map, bias, geometry)
    return output.contiguous(memory_format=layout_of(input))


@aw_convolution.register_fake
def _(input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    shape = Geometry(*settings[:-1]).convolve(input, weight, bias).shape
    return input.new_empty(shape).contiguous(memory_format=layout_of(input))


@torch.library.custom_op(
    "awbench::aw_convolution_backward",
    mutates_args=(),
    schema="(Tensor grad_output, Tensor input, Tensor weight, Tensor attention_map, "
    f"{_SETTINGS}) -> (Tensor, Tensor, Tensor)",
)
def aw_convolution_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, *settings: Any
) -> Gradients:
    """Gradients of `aw_convolution` for input, weight and map, each of the shape of what it belongs to."""
    *numbers, strategy = settings
    geometry = Geometry(*numbers)
    check_request(input, weight, attention_map, None, geometry)
    check_gradient(grad_output, input, weight, geometry)
    chosen = choose(strategy, Request(input, weight, attention_map, geometry, grad_output))
    dI, dK, dA = backward(chosen, grad_output, input, weight, attention_map, geometry)
    layouts = layout_of(input), layout_of(weight)
    return (
        dI.contiguous(memory_format=layouts[0]),
        dK.contiguous(memory_format=layouts[1]),
        _as_its_map(dA, input),
    )


@aw_convolution_backward.register_fake
def _(grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, *settings: Any) -> Gradients:
    return (
        input.new_empty(input.shape).contiguous(memory_format=layout_of(input)),
        weight.new_empty(weight.shape).contiguous(memory_format=layout_of(weight)),
        _as_its_map(attention_map.new_empty(attention_map.shape), input),
    )


def _as_its_map(dA: Tensor, input: Tensor) -> Tensor:
    """Taps before channels, as the branch makes maps: batch norm's backward is slow where a gradient lies otherwise.

    In a contiguous network on a GPU, channels first.
    """
    if input.device.type == "cuda" and layout_of(input) == torch.contiguous_format:
        return dA.contiguous()
    return dA.permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, attention_map, bias, *settings = inputs
    ctx.save_for_backward(input, weight, attention_map)
    ctx.has_bias = bias is not None
    ctx.settings = settings


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    *numbers, strategy = ctx.settings
    input, weight, attention_map = ctx.saved_tensors
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # derivatives of derivatives are wanted
        gradients = backward(for_transforms(strategy), grad_output, input, weight, attention_map, Geometry(*numbers))
    else:
        gradients = aw_convolution_backward(grad_output, input, weight, attention_map, *ctx.settings)
    grad_bias = grad_output.sum((0, 2, 3)) if ctx.has_bias else None
    return (*gradients, grad_bias, *[None] * len(ctx.settings))


torch.library.register_autograd("awbench::aw_convolution", _backward, setup_context=_setup_context)


def _flops(input_shape: Sequence[int], weight_shape: Sequence[int], output_shape: Sequence[int]) -> int:
    """Floating-point operations (2 per multiply-accumulate) of the convolution, kernel modulation not included."""
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
