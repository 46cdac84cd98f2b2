"""How a kernel lies over an input: what every strategy is given beside its tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Gradients = tuple[Tensor, Tensor, Tensor]  # of input, weight and attention map


class Geometry(NamedTuple):
    """The settings of an AW-convolution. The operator makes it of its plain numbers, once for each call.

    Attributes:
        stride, padding, dilation: along rows and columns, as in `torch.nn.functional.conv2d`.
        groups: of channels.
        residual: AK = K + A*K if true (the paper's F2), else A*K.
    """

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int = 1
    residual: bool = True

    def output_size(self, input: Tensor, weight: Tensor) -> tuple[int, int]:
        """(H', W')."""
        height, width = (
            (input.shape[2 + i] + 2 * self.padding[i] - self.dilation[i] * (weight.shape[2 + i] - 1) - 1)
            // self.stride[i]
            + 1
            for i in range(2)
        )
        return height, width

    def convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None = None, samples: int = 1) -> Tensor:
        """The library's convolution.

        Args:
            samples: whose channels lie side by side in `input`, and whose kernels in `weight`.
        """
        return F.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, samples * self.groups)

    def convolve_backward(
        self, grad_output: Tensor, input: Tensor, weight: Tensor, samples: int = 1
    ) -> tuple[Tensor, Tensor]:
        """The gradients of `convolve` for input and weight."""
        grad_input, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad_output, input, weight, None,
            self.stride, self.padding, self.dilation, False, [0, 0], samples * self.groups, [True, True, False],
        )  # fmt: skip
        return grad_input, grad_weight


def tf32() -> tuple[bool, bool]:
    """Whether cuDNN's convolutions, and cuBLAS's products, may take float32 as tf32."""
    backends: Any = torch.backends
    return _takes_tf32(backends.cudnn, "conv"), _takes_tf32(backends.cuda, "matmul")


def _takes_tf32(library: Any, operation: str) -> bool:
    try:
        return bool((library if operation == "conv" else library.matmul).allow_tf32)
    except RuntimeError:  # torch's newer fp32_precision was set
        return bool(getattr(library, operation).fp32_precision == "tf32")


def layout_of(tensor: Tensor) -> torch.memory_format:
    """Of an (N, C, H, W) tensor and what belongs to it: channels_last where it is, as convolutions have it."""
    channels_last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format
