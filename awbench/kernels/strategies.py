"""The strategies by name, what each of them takes, and the rule that picks one without measuring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from awbench.errors import UserError, suggestion
from awbench.kernels import direct, fused, grouped, oracle, per_sample, tapwise
from awbench.kernels.geometry import output_size

STRATEGIES: dict[str, Any] = {
    "oracle": oracle,
    "grouped": grouped,
    "per_sample": per_sample,
    "tapwise": tapwise,
    "direct": direct,
    "fused": fused,
}
AUTO = "auto"  # by measurement, see `awbench.kernels.choice`
RULE = "rule"  # by `size_rule`
DEFAULT_STRATEGY = "grouped"
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

# Those made of operators that can be differentiated again and transformed; the others write into tensors.
_OF_PURE_OPERATORS = ("oracle", "grouped")
# Numbers of a kernel from which a CPU is slow with the grouped trick: at 128 channels, 3x3, it is not, at 256 it is.
_LARGE_KERNEL = 2**18
# Channels that share a value of the map, from which scaling their sum is little beside making it; chosen.
LEAST_SHARED = 16


def check_strategy(strategy: str) -> None:
    """Refuse a strategy that does not exist.

    Raises:
        UserError: naming the known ones.
    """
    known = (*STRATEGIES, AUTO, RULE)
    if strategy not in known:
        raise UserError(f"strategy {strategy!r} does not exist{suggestion(strategy, known)} Known: {', '.join(known)}.")


def refusal(strategy: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the strategy cannot execute on this device and dtype, in words that end a sentence; None if it can."""
    of_module = getattr(STRATEGIES[strategy], "refusal", None)
    return of_module(device, dtype) if of_module else None


def strategies_for(device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """Names of those that can execute on this device and dtype."""
    return tuple(name for name in STRATEGIES if refusal(name, device, dtype) is None)


def demand_support(strategy: str, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse a strategy that cannot execute this.

    Raises:
        UserError: naming it, the reason and what would work.
    """
    reason = refusal(strategy, device, dtype)
    if reason is not None:
        others = ", ".join(strategies_for(device, dtype))
        raise UserError(f"strategy {strategy!r} {reason}; use one of {others}, or {AUTO}")


def for_transforms(strategy: str) -> str:
    """The strategy that executes under torch.func's transforms and for derivatives of derivatives."""
    return strategy if strategy in _OF_PURE_OPERATORS else DEFAULT_STRATEGY


def size_rule(
    input: Tensor, weight: Tensor, attention_map: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> str:
    """The strategy that has less to write, from sizes alone: the same on every machine of a kind, every time.

    A machine without a C compiler is of another kind than one that has it. Of the others, the tap-wise sum writes
    C1/e*H'*W' numbers for each output channel and tap, those that form kernels C1 of each.
    """
    large = input.device.type == "cpu" and weight.numel() >= _LARGE_KERNEL
    shared = weight.shape[1] // attention_map.shape[2]
    if large and shared >= LEAST_SHARED and refusal("direct", input.device, input.dtype) is None:
        return "direct"
    height, width = output_size(input, weight, stride, padding, dilation)
    if attention_map.shape[2] * height * width < weight.shape[1]:
        return "tapwise"
    return "per_sample" if large else "grouped"
