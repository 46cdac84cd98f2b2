"""How a kernel lies over an input, and what follows from it: the size of the output, the layout of memory."""

from __future__ import annotations

import torch
from torch import Tensor


def output_size(
    input: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> tuple[int, ...]:
    """(H', W')."""
    return tuple(
        (input.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    )


def layout_of(tensor: Tensor) -> torch.memory_format:
    """Of an (N, C, H, W) tensor and what belongs to it: channels_last where it is, as convolutions have it."""
    channels_last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format
