"""A convolution in C, for CPUs, with AK of one sample and a block of outputs in the processor's cache at a time.

Each sample's image is copied to blocks of channels, and AK = (1 + A) * K computed beside it: H'*W' multiplications use
a number of AK, so modulation costs little where an output has many pixels and a kernel few channels. Then the sums
over all taps and channels stay in registers, as in a plain convolution:

    O[n,c2] = sum over taps k and channels c1 of ((1 + A[n,c2,m,k]) * K[c2,c1,k]) . I[n,c1,shifted by k]

The gradients of K and A both come from the samples' plain gradients G[n] = dO[n] x I[n], a tile of which is in
registers at a time: dK = sum over n of (1 + A[n]) * G[n], dA = K * G.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from awbench.kernels import native
from awbench.kernels.geometry import Geometry, Gradients, layout_of

_FORWARD, _BACKWARD_INPUT, _BACKWARD_KERNEL = range(3)
_FEWEST_MACS = 2**20  # below, waking another thread takes longer than it saves


class _Shape(native.Shape):
    """`shape` in blocked.c."""

    _fields_ = [
        *((name, ctypes.c_long * 4) for name in ("x_step", "o_step", "dx_step")),
        *((name, ctypes.c_long) for name in ("threads", "parts")),
    ]


def _shape(
    input: Tensor,
    kernel: Tensor,
    output: Tensor,
    grad_input: Tensor,
    m: int,
    taps: tuple[int, ...],
    geometry: Geometry,
) -> _Shape:
    """Of one group.

    Args:
        kernel: (C2/groups, C1/groups, taps).
        output: or its gradient.
        grad_input: or the input.
        taps: (h, w).
    """
    N, C1, H, W = input.shape
    C2, *size = output.shape[1:]
    is_large = N * C2 * C1 * size[0] * size[1] * kernel.shape[2] >= _FEWEST_MACS
    steps = (native.array(image.stride()) for image in (input, output, grad_input))
    threads = torch.get_num_threads() if is_large else 1
    return _Shape(*native.sizes((N, H, W), kernel, m, taps, size, geometry), *steps, threads, 1)


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
        code: the compiled blocked.c; None for that of the dtype.
    """
    code = code or SOURCE.library(input.dtype)
    size = (len(input), len(weight), *geometry.output_size(input, weight))
    O = torch.empty(size, dtype=input.dtype, device=input.device, memory_format=layout_of(input))
    kernels = native.flat_kernel(weight)
    for channels, outputs in native.group_slices(geometry, weight):
        x, kernel, A, o = input[:, channels], kernels[outputs], attention_map[:, outputs], O[:, outputs]
        factor = native.factor_of(A, geometry.residual, code.block())
        shape = _shape(x, kernel, o, x, A.shape[2], tuple(weight.shape[2:]), geometry)
        b = None if bias is None else bias[outputs].contiguous()
        arguments = (x, kernel, factor, b, _scratch(code, shape, _FORWARD, input), o)
        code.forward(ctypes.byref(shape), *map(native.pointer, arguments))
    return O


def backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    attention_map: Tensor,
    geometry: Geometry,
    code: Any = None,
) -> Gradients:
    """Gradients for input, weight and map; the order of the kernel's sums depends on the number of threads."""
    code = code or SOURCE.library(input.dtype)
    kernels = native.flat_kernel(weight)
    dI = torch.empty_like(input, memory_format=layout_of(input))
    dK = kernels.new_empty_strided(kernels.shape, kernels.stride())
    N, C2, m, h, w = attention_map.shape
    dA = input.new_empty(geometry.groups, N, m, h * w, C2 // geometry.groups)
    for (channels, outputs), group_dA in zip(native.group_slices(geometry, weight), dA, strict=True):
        x, kernel, dO = input[:, channels], kernels[outputs], grad_output[:, outputs]
        factor = native.factor_of(attention_map[:, outputs], geometry.residual, code.block())
        dx, dk = dI[:, channels], dK[outputs]
        shape = _shape(x, kernel, dO, dx, m, (h, w), geometry)
        input_arguments = (dO, kernel, factor, _scratch(code, shape, _BACKWARD_INPUT, input), dx)
        code.backward_input(ctypes.byref(shape), *map(native.pointer, input_arguments))
        blocks = -(-dO.shape[1] // code.block())
        shape.parts = 1 if blocks % shape.threads == 0 else min(N, shape.threads)
        kernel_arguments = (dO, x, kernel, factor, _scratch(code, shape, _BACKWARD_KERNEL, input), dk, group_dA)
        code.backward_kernel(ctypes.byref(shape), *map(native.pointer, kernel_arguments))
    grad_map = dA.permute(1, 0, 4, 2, 3).reshape(attention_map.shape)
    return dI, dK.unflatten(2, (h, w)), grad_map


def _scratch(code: Any, shape: _Shape, direction: int, like: Tensor) -> Tensor:
    code.scratch.restype = ctypes.c_long
    return like.new_empty(code.scratch(ctypes.byref(shape), ctypes.c_long(direction)))


SOURCE = native.Source(
    Path(__file__).with_suffix(".c"),
    ("block", "scratch", "forward", "backward_input", "backward_kernel"),
    forward,
    backward,
)
unsupported_reason = SOURCE.unsupported_reason
