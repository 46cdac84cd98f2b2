"""A direct convolution in C, for CPUs: no kernel is materialised, and nothing but the result is written.

With e = C1 each tap's sum over the channels is scaled by 1 + A in the processor's registers, C1 multiplications to one:

    O[n,c2] = sum over taps k and channel groups m of (1 + A[n,c2,m,k]) * (K[c2,m,:,k] . I[n,m,:,shifted by k])

The gradient of the input takes dO scaled for each tap; those of K and A both come from the samples' plain gradients
G[n] = dO[n] x I[n], a tile of which is in registers at a time: dK = sum over n of (1 + A[n]) * G[n], dA = K * G.
Good wherever e is large; with a small e there are as many scalings as multiplications.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from awbench.kernels import native
from awbench.kernels.geometry import Geometry, Gradients

_PLACE = 3  # ints of a `place`


class _Shape(native.Shape):
    """`shape` in direct.c."""

    _fields_ = [(name, ctypes.c_long) for name in ("x_row", "o_row", "threads")]


@dataclass(frozen=True)
class _Group:
    """One group of an AW-convolution, as direct.c takes it.

    Attributes:
        channels, outputs: which of C1 and of C2.
        kernel: (C2/groups, C1/groups, taps), any layout.
        factor: 1 + A or A, (N, m, taps, C2/groups), flat, and a block behind.
        m: values of the map along C1/groups.
    """

    channels: slice
    outputs: slice
    kernel: Tensor
    factor: Tensor
    m: int
    size: tuple[int, int]
    kernel_size: tuple[int, int]
    geometry: Geometry

    def shape(self, pixels: Tensor, o_row: int) -> _Shape:
        """Args:
        pixels: the whole input, (N, H, W, C1).
        o_row: channels of a pixel of the output, or of its gradient.
        """
        sizes = native.sizes(pixels.shape[:3], self.kernel, self.m, self.kernel_size, self.size, self.geometry)
        return _Shape(*sizes, pixels.shape[3], o_row, torch.get_num_threads())


def _groups(block: int, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry) -> Iterator[_Group]:
    kernel = native.flat_kernel(weight)
    for channels, outputs in native.group_slices(geometry, weight):
        A = attention_map[:, outputs]
        yield _Group(
            channels, outputs, kernel[outputs], native.factor_of(A, geometry.residual, block), A.shape[2],
            geometry.output_size(input, weight), (weight.shape[2], weight.shape[3]), geometry,
        )  # fmt: skip


def _pixels(image: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), contiguous."""
    return image.permute(0, 2, 3, 1).contiguous()


def _images(groups: list[Tensor]) -> Tensor:
    """Of each group (N, H, W, C/groups) -> (N, C, H, W)."""
    return (groups[0] if len(groups) == 1 else torch.cat(groups, 3)).permute(0, 3, 1, 2)


def forward(
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    code: Any = None,
) -> Tensor:
    """Shapes as in `awbench.kernels.aw_conv2d`.

    Args:
        code: the compiled direct.c; None for that of the dtype.
    """
    code = code or SOURCE.library(input.dtype)
    pixels, outputs = _pixels(input), []
    for group in _groups(code.block(), input, weight, attention_map, geometry):
        o, channels, taps = group.kernel.shape
        O = input.new_empty(len(input), *group.size, o)
        shape = group.shape(pixels, o_row=o)
        x, b = pixels[..., group.channels], None if bias is None else bias[group.outputs].contiguous()
        zeros = input.new_zeros(channels)
        places = input.new_empty(O[..., 0].numel() + code.pixels(), _PLACE, dtype=torch.int32)
        scratch = input.new_empty(shape.threads, taps * code.chunk() * code.block())
        arguments = (x, group.kernel, group.factor, b, zeros, places, scratch, O)
        code.forward(ctypes.byref(shape), *map(native.pointer, arguments))
        outputs.append(O)
    return _images(outputs)


def backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    geometry: Geometry,
    code: Any = None,
) -> Gradients:
    """Gradients for input, weight and map; the order of the map's sums depends on the number of threads."""
    code = code or SOURCE.library(input.dtype)
    pixels, gradients = _pixels(input), _pixels(grad_output)
    grad_inputs, grad_kernels, grad_factors = [], [], []
    for group in _groups(code.block(), input, weight, attention_map, geometry):
        shape = group.shape(pixels, o_row=grad_output.shape[1])
        dO = gradients[..., group.outputs]
        grad_inputs.append(_gradient_of_input(code, group, shape, pixels, dO))
        dK, dA = _gradients_of_kernel(code, group, shape, pixels, dO)
        grad_kernels.append(dK)
        grad_factors.append(dA)
    grad_kernel = grad_kernels[0] if geometry.groups == 1 else torch.cat(grad_kernels)
    grad_map = torch.cat(grad_factors, 3).permute(0, 3, 1, 2)  # (N, C2, m, taps)
    return (
        _images(grad_inputs),
        grad_kernel.unflatten(2, weight.shape[2:]),
        grad_map.reshape(attention_map.shape),
    )


def _gradient_of_input(code: Any, group: _Group, shape: _Shape, pixels: Tensor, dO: Tensor) -> Tensor:
    """(N, H, W, C1/groups)."""
    o, channels, taps = group.kernel.shape
    dI = pixels.new_empty(*pixels.shape[:3], channels)
    zeros = pixels.new_zeros(o)
    phases = math.prod(map(min, group.geometry.stride, pixels.shape[1:3]))
    places = pixels.new_empty(dI[..., 0].numel() + phases * code.pixels(), _PLACE, dtype=torch.int32)
    scratch = pixels.new_empty(shape.threads, (taps * code.block() + code.pixels()) * code.chunk())
    arguments = (dO, group.kernel, group.factor, zeros, places, scratch, dI)
    code.backward_input(ctypes.byref(shape), *map(native.pointer, arguments))
    return dI


def _gradients_of_kernel(code: Any, group: _Group, shape: _Shape, pixels: Tensor, dO: Tensor) -> tuple[Tensor, Tensor]:
    """(C2/groups, C1/groups, taps) as K lies, and (N, m, taps, C2/groups)."""
    outputs, channels, taps = group.kernel.shape
    block, strip = code.block(), code.pixels()
    blocks, strips = -(-outputs // block), group.m * -(-channels // group.m // strip)
    parts = 1 if blocks % shape.threads == 0 else min(strips, shape.threads)
    dK = pixels.new_empty_strided(group.kernel.shape, group.kernel.stride())
    dA = pixels.new_zeros(parts, len(pixels), group.m, taps, outputs)
    size = 2 * taps * strips * strip * block + dO[0, ..., 0].numel() * block + pixels[0, ..., 0].numel() * strip
    scratch = pixels.new_empty(shape.threads, size)
    x = pixels[..., group.channels]
    arguments = (dO, x, group.kernel, group.factor)
    rest = (scratch, dK, dA)
    code.backward_kernel(
        ctypes.byref(shape), *map(native.pointer, arguments), ctypes.c_long(parts), *map(native.pointer, rest)
    )
    return dK, dA.sum(0)


SOURCE = native.Source(
    Path(__file__).with_suffix(".c"),
    ("block", "pixels", "chunk", "forward", "backward_input", "backward_kernel"),
    forward,
    backward,
)
unsupported_reason = SOURCE.unsupported_reason
