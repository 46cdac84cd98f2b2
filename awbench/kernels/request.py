"""A request: one execution of an AW-convolution, and all that decides which strategy is the fastest for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from awbench.kernels.geometry import Geometry
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

    def key(self) -> dict[str, Any]:
        """All that can change which strategy is the fastest."""
        cuda = self.device.type == "cuda"
        tensors = {"input": self.input, "weight": self.weight, "map": self.attention_map}
        described: dict[str, Any] = {
            "direction": self.direction,
            **{name: [list(tensor.shape), _describe_layout(tensor)] for name, tensor in tensors.items()},
            **self.geometry._asdict(),
            "dtype": str(self.input.dtype).removeprefix("torch."),
            "device": torch.cuda.get_device_name(self.device) if cuda else cpu_identity(),
            "torch": torch.__version__,
            "kernels_sha256": source_digest("kernels"),
            "available": strategies_for(self.device, self.input.dtype),  # a compiler comes and goes
        }
        if cuda:
            described |= {
                "tf32": [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32],
                "cudnn_benchmark": torch.backends.cudnn.benchmark,
                "triton": package_version("triton"),
            }
        else:
            described["threads"] = torch.get_num_threads()
        return described


def _describe_layout(tensor: Tensor) -> str | list[int]:
    if tensor.is_contiguous():
        return "contiguous"
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return "channels_last" if channels_last else list(tensor.stride())
