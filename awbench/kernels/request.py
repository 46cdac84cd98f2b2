"""A request: one execution of an AW-convolution, and all that decides which strategy is the fastest for it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from awbench.kernels.geometry import Geometry, tf32
from awbench.kernels.strategies import backward, forward, size_rule, strategies_for
from awbench.records.environment import cpu_identity, package_version, source_digest


class Request(NamedTuple):
    """One execution: the tensors and geometry of `awbench.kernels.aw_conv2d`, forward or backward.

    Attributes:
        grad_output: of a backward pass; None for a forward one.
    """

    input: Tensor
    weight: Tensor
    attention_map: Tensor
    geometry: Geometry
    grad_output: Tensor | None = None

    def execute(self, strategy: str) -> tuple[Tensor, ...]:
        tensors = (self.input, self.weight, self.attention_map)
        if self.grad_output is None:
            return (forward(strategy, *tensors, None, self.geometry),)
        return backward(strategy, self.grad_output, *tensors, self.geometry)

    @property
    def direction(self) -> str:
        return "forward" if self.grad_output is None else "backward"

    @property
    def device(self) -> torch.device:
        return self.input.device

    def rule(self) -> str:
        return size_rule(self.input, self.weight, self.attention_map, self.geometry)

    def macs(self) -> int:
        """Multiply-accumulates of the forward convolution."""
        height, width = self.geometry.output_size(self.input, self.weight)
        return len(self.input) * self.weight.numel() * height * width

    def identity(self) -> tuple[Hashable, ...]:
        """Equal for two requests of this process that have one `key`, and quickly made."""
        cuda, (N, C1, H, W) = self.device.type == "cuda", self.input.shape
        return (
            self.direction, N, C1, rounded_up(H * W), *map(_describe_layout, self[:3]),
            self.weight.shape, self.attention_map.shape, *map(tuple, self.geometry[:3]), *self.geometry[3:],
            self.input.dtype, self.device,
            (*tf32(), torch.backends.cudnn.benchmark) if cuda else torch.get_num_threads(),
        )  # fmt: skip

    def key(self) -> dict[str, Any]:
        """All that can change which strategy is the fastest.

        Of the input's size, its pixels to an eighth: detectors see hundreds of sizes.
        """
        cuda, (N, C1, H, W) = self.device.type == "cuda", self.input.shape
        described: dict[str, Any] = {
            "direction": self.direction,
            "input": [[N, C1, rounded_up(H * W)], _describe_layout(self.input)],
            "weight": [list(self.weight.shape), _describe_layout(self.weight)],
            "map": [list(self.attention_map.shape), _describe_layout(self.attention_map)],
            **self.geometry._asdict(),
            "dtype": str(self.input.dtype).removeprefix("torch."),
            "device": torch.cuda.get_device_name(self.device) if cuda else cpu_identity(),
            "torch": torch.__version__,
            "kernels_sha256": source_digest("kernels"),
            "available": strategies_for(self.device, self.input.dtype),  # a compiler comes and goes
        }
        if cuda:
            described |= {
                "tf32": tf32(),
                "cudnn_benchmark": torch.backends.cudnn.benchmark,
                "triton": package_version("triton"),
            }
        else:
            described["threads"] = torch.get_num_threads()
        return described


def rounded_up(count: int) -> int:
    """To three binary digits: 49, 50, 56 -> 56."""
    unit = 1 << max(0, count.bit_length() - 3)
    return -(-count // unit) * unit


def _describe_layout(tensor: Tensor) -> str | tuple[int, ...]:
    if tensor.is_contiguous():
        return "contiguous"
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return "channels_last" if channels_last else tensor.stride()
