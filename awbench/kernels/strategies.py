"""The strategies by name, what each of them takes, and the rule that picks one without measuring."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from awbench.errors import UserError, suggestion
from awbench.kernels import blocked, direct, fused, grouped, oracle, per_sample, tapwise
from awbench.kernels.geometry import Geometry, Gradients, layout_of


class Strategy(Protocol):
    """What the module of a strategy has, for a batch that is not empty; shapes as in `awbench.kernels.aw_conv2d`.

    One that cannot execute everywhere also has `unsupported_reason(device, dtype)`, as below.
    """

    def forward(
        self, input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor: ...

    def backward(
        self, grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
    ) -> Gradients: ...


STRATEGIES: dict[str, Strategy] = {
    "oracle": oracle,
    "grouped": grouped,
    "per_sample": per_sample,
    "tapwise": tapwise,
    "direct": direct,
    "blocked": blocked,
    "fused": fused,
}
AUTO = "auto"  # by measurement, see `awbench.kernels.choice`
RULE = "rule"  # by `size_rule`
DEFAULT_STRATEGY = RULE  # the same bits on machines of a kind, and nothing is measured at the first call
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

# Made of operators that can be differentiated again and transformed; the others write into tensors.
_TRANSFORMABLE = ("grouped", "oracle")
# Numbers of a kernel from which a CPU is slow with the grouped trick: at 128 channels, 3x3, it is not, at 256 it is.
# With a copy of so many numbers for each sample, "blocked" is slower than "direct" too.
_LARGE_KERNEL = 2**18
# Numbers of a kernel from which one sample is not worth "blocked"'s copy, unless it is contiguous and in one group: at
# 32 channels it is, at 64 it is not.
_COPIED_KERNEL = 2**14
# Positions of an output up to which "direct" is faster: at 5 x 5 it is, at 6 x 6 with 64 channels it is not.
_SMALL_OUTPUT = 25
# Outputs of a group below which most lanes of "blocked" are empty, as in the first stages of ResNeXt.
_FEWEST_OUTPUTS = 16
# Channels that share a value of the map, from which scaling their sum is little beside making it; chosen.
LEAST_SHARED = 16


def check_strategy(strategy: str) -> None:
    """Check that a strategy exists.

    Raises:
        UserError: naming the known ones.
    """
    known = (*STRATEGIES, AUTO, RULE)
    if strategy not in known:
        raise UserError(f"strategy {strategy!r} does not exist{suggestion(strategy, known)} Known: {', '.join(known)}.")


def unsupported_reason(strategy: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the strategy cannot execute on this device and dtype, as the end of a sentence; None if it can."""
    ask = getattr(STRATEGIES[strategy], "unsupported_reason", None)
    return ask(device, dtype) if ask else None


def strategies_for(device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """Names of those that can execute on this device and dtype."""
    return tuple(name for name in STRATEGIES if unsupported_reason(name, device, dtype) is None)


def require_support(strategy: str, device: torch.device, dtype: torch.dtype) -> None:
    """Check that a strategy can execute on this device and dtype.

    Raises:
        UserError: naming it, the reason and what would work.
    """
    reason = unsupported_reason(strategy, device, dtype)
    if reason is not None:
        others = ", ".join(strategies_for(device, dtype))
        raise UserError(f"strategy {strategy!r} {reason}; use one of {others}, or {AUTO}")


def for_transforms(strategy: str) -> str:
    """The strategy that executes under torch.func's transforms and for derivatives of derivatives."""
    return strategy if strategy in _TRANSFORMABLE else _TRANSFORMABLE[0]


def forward(
    strategy: str, input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """The output, executed by the strategy of this name."""
    if len(input) == 0:  # no strategy has anything to execute, yet the output has a shape
        return geometry.convolve(input, weight, bias)
    return STRATEGIES[strategy].forward(input, weight, attention_map, bias, geometry)


def backward(
    strategy: str, grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
) -> Gradients:
    """The gradients for input, weight and map, executed by the strategy of this name."""
    if len(input) == 0:
        return torch.zeros_like(input), torch.zeros_like(weight), torch.zeros_like(attention_map)
    return STRATEGIES[strategy].backward(grad_output, input, weight, attention_map, geometry)


def size_rule(input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry) -> str:
    """The strategy that has less to write, from sizes alone: the same on every machine of a kind, every time.

    A machine without a C compiler is of another kind than one that has it. Of the others, the tap-wise sum writes
    C1/e*H'*W' numbers for each output channel and tap, those that materialise kernels C1 of each.
    """
    if input.device.type == "cpu" and unsupported_reason("blocked", input.device, input.dtype) is None:
        if geometry.groups > 1 and len(weight) // geometry.groups < _FEWEST_OUTPUTS:
            return "per_sample"
        return _rule_of_c(input, weight, weight.shape[1] // attention_map.shape[2], geometry)
    large = input.device.type == "cpu" and weight.numel() >= _LARGE_KERNEL
    height, width = geometry.output_size(input, weight)
    if attention_map.shape[2] * height * width < weight.shape[1]:
        return "tapwise"
    return "per_sample" if large else "grouped"


def _rule_of_c(input: Tensor, weight: Tensor, shared: int, geometry: Geometry) -> str:
    """Where C can be compiled: "blocked", whose copy of the kernel many samples and positions must share.

    Args:
        shared: channels that share a value of the map.
    """
    if weight.numel() >= _LARGE_KERNEL and shared < LEAST_SHARED:
        return "per_sample"
    simple = geometry.groups == 1 and shared >= LEAST_SHARED
    is_small = simple and math.prod(geometry.output_size(input, weight)) <= _SMALL_OUTPUT
    if is_small or weight.numel() >= len(input) * _LARGE_KERNEL:
        return "direct"
    copies = len(input) == 1 and weight.numel() >= _COPIED_KERNEL
    contiguous = layout_of(input) == torch.contiguous_format
    return "per_sample" if copies and not (simple and contiguous) else "blocked"
