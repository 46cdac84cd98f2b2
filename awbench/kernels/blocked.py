"""A convolution in C, for CPUs, with AK of one sample and a block of outputs in the processor's cache at a time.

Each sample's image is copied to blocks of channels, and AK = (1 + A) * K formed beside it: H'*W' multiplications use a
number of AK, so that forming it is little where an output has many pixels and a kernel few channels. Then the sums over
all taps and channels stay in registers, as in a plain convolution:

    O[n,c2] = sum over taps k and channels c1 of ((1 + A[n,c2,m,k]) * K[c2,c1,k]) . I[n,c1,shifted by k]

The gradients of K and A both come from the samples' plain gradients G[n] = dO[n] x I[n], a tile of which is in
registers at a time: dK = sum over n of (1 + A[n]) * G[n], dA = K * G.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from awbench.errors import UserError
from awbench.kernels import native
from awbench.kernels.geometry import Geometry, Gradients, layout_of

_SOURCE = Path(__file__).with_name("blocked.c")
_FUNCTIONS = ("block", "scratch", "forward", "backward_input", "backward_kernel")
_FORWARD, _BACKWARD_INPUT, _BACKWARD_KERNEL = range(3)
_FEWEST_MACS = 2**20  # below, waking another thread takes longer than it saves

_lock = threading.Lock()


class _Shape(ctypes.Structure):
    """`shape` in blocked.c."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("N", "H", "W", "C1", "C2", "m", "h", "w", "out_h", "out_w")),
        *((name, ctypes.c_long * 2) for name in ("stride", "padding", "dilation")),
        ("k_step", ctypes.c_long * 3),
        *((name, ctypes.c_long * 4) for name in ("x_step", "o_step", "dx_step")),
        *((name, ctypes.c_long) for name in ("threads", "parts")),
    ]


def unsupported_reason(device: torch.device, dtype: torch.dtype) -> str | None:
    """See `awbench.kernels.strategies.unsupported_reason`."""
    reason = native.unsupported_type(device, dtype)
    if reason is not None:
        return reason
    with _lock:
        found = _library_or_reason(dtype)
    return found if isinstance(found, str) else None


def _library(dtype: torch.dtype) -> Any:
    reason = unsupported_reason(torch.device("cpu"), dtype)
    if reason is not None:
        raise UserError(f"strategy 'blocked' {reason}")
    return _library_or_reason(dtype)


@functools.cache
def _library_or_reason(dtype: torch.dtype) -> Any:
    """See `awbench.kernels.native.library_or_reason`."""
    code = native.library_or_reason(_SOURCE, _FUNCTIONS, dtype, forward, backward)
    if not isinstance(code, str):
        code.scratch.restype = ctypes.c_long
    return code


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
    pair, triple, four = ctypes.c_long * 2, ctypes.c_long * 3, ctypes.c_long * 4
    N, C1, H, W = input.shape
    C2, out_h, out_w = output.shape[1:]
    busy = N * C2 * C1 * out_h * out_w * kernel.shape[2] >= _FEWEST_MACS
    threads = torch.get_num_threads() if busy else 1
    return _Shape(
        N, H, W, C1, C2, m, *taps, out_h, out_w,
        *(pair(*values) for values in geometry[:3]), triple(*kernel.stride()),
        *(four(*image.stride()) for image in (input, output, grad_input)), threads, 1,
    )  # fmt: skip


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
    code = code or _library(input.dtype)
    size = (len(input), len(weight), *geometry.output_size(input, weight))
    O = torch.empty(size, dtype=input.dtype, device=input.device, memory_format=layout_of(input))
    kernels = native.flat_kernel(weight)
    for channels, outputs in native.group_slices(geometry, weight):
        x, kernel, A, o = input[:, channels], kernels[outputs], attention_map[:, outputs], O[:, outputs]
        factor = native.factor_of(A, geometry.residual, code.block())
        shape = _shape(x, kernel, o, x, A.shape[2], tuple(weight.shape[2:]), geometry)
        b = None if bias is None else bias[outputs].contiguous()
        held = (x, kernel, factor, b, _scratch(code, shape, _FORWARD, input), o)
        code.forward(ctypes.byref(shape), *map(native.pointer, held))
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
    code = code or _library(input.dtype)
    kernels = native.flat_kernel(weight)
    dI = torch.empty_like(input, memory_format=layout_of(input))
    dK = kernels.new_empty_strided(kernels.shape, kernels.stride())
    N, C2, m, h, w = attention_map.shape
    dA = input.new_empty(geometry.groups, N, m, h * w, C2 // geometry.groups)
    for (channels, outputs), dA_of_group in zip(native.group_slices(geometry, weight), dA, strict=True):
        x, kernel, dO = input[:, channels], kernels[outputs], grad_output[:, outputs]
        factor = native.factor_of(attention_map[:, outputs], geometry.residual, code.block())
        dx, dk = dI[:, channels], dK[outputs]
        shape = _shape(x, kernel, dO, dx, m, (h, w), geometry)
        of_input = (dO, kernel, factor, _scratch(code, shape, _BACKWARD_INPUT, input), dx)
        code.backward_input(ctypes.byref(shape), *map(native.pointer, of_input))
        blocks = -(-dO.shape[1] // code.block())
        shape.parts = 1 if blocks % shape.threads == 0 else min(N, shape.threads)
        of_kernel = (dO, x, kernel, factor, _scratch(code, shape, _BACKWARD_KERNEL, input), dk, dA_of_group)
        code.backward_kernel(ctypes.byref(shape), *map(native.pointer, of_kernel))
    grad_map = dA.permute(1, 0, 4, 2, 3).reshape(attention_map.shape)
    return dI, dK.unflatten(2, (h, w)), grad_map


def _scratch(code: Any, shape: _Shape, direction: int, like: Tensor) -> Tensor:
    return like.new_empty(code.scratch(ctypes.byref(shape), ctypes.c_long(direction)))
