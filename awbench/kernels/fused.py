"""The fused strategy: one Triton kernel that convolves and attends at once, so that AK never exists in memory.

An implicit-GEMM convolution. With e = C1 each tap's sum is multiplied by its factor 1 + A, otherwise the tile of
K is as it is loaded; the backward pass does likewise, and sums over samples in a fixed order, without atomics.

It has never run on a GPU: only in Triton's interpreter, on a CPU (TRITON_INTERPRET=1). It was compiled for compute
capability 9.0 by Triton 3.6 and 3.8: no register is spilled for any 3x3 convolution of ResNet-50 in bfloat16, float16
and tf32, forward and backward (`tools/gpu_resources.py`, table in docs/gpu.md); float32 in full ("ieee") is not tuned
for. That it is fast is a guess. `awbench.kernels.tuning` compares its results with another strategy's before "auto" can
choose it.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from awbench.kernels.geometry import Geometry, Gradients, layout_of, tf32

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_SMALLEST_BLOCK = 16  # of a side of tl.dot
_PROGRAMS = 512  # enough to fill a GPU; chosen


def unsupported_reason(device: torch.device, dtype: torch.dtype) -> str | None:
    """See `awbench.kernels.strategies.unsupported_reason`."""
    if dtype not in _DTYPES:
        return f"has no {str(dtype).removeprefix('torch.')}"
    if device.type != "cuda" and not (device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"):
        return f"needs a CUDA device, not {device.type} (TRITON_INTERPRET=1 runs it on a CPU, for tests)"
    return None if importlib.util.find_spec("triton") else "needs Triton, which is not installed"


def forward(input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Shapes as in `awbench.kernels.aw_conv2d`."""
    with _current(input.device):
        return _output(input, weight, attention_map, bias, geometry)


def _output(input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    from awbench.kernels.triton_kernels import convolve

    C2, channels, h, w = weight.shape
    size = geometry.output_size(input, weight)
    N, o_count, pixels = len(input), C2 // geometry.groups, size[0] * size[1]
    A = _taps_first(attention_map)
    shared = A.shape[3] == 1
    O = _dense(input.new_empty(N, C2, *size))
    tile = _tile(shared)
    blocks = {
        "BLOCK_P": _block(N * pixels if shared else pixels, tile.pixels),
        "BLOCK_O": _block(o_count, tile.channels),
        "BLOCK_C": _block(channels, _depth(input)),
    }
    tiles = _tiles(N * pixels, blocks["BLOCK_P"]) if shared else N * _tiles(pixels, blocks["BLOCK_P"])
    convolve[tiles, _tiles(o_count, blocks["BLOCK_O"]), geometry.groups](
        _dense(input), _dense(weight), A, bias if bias is not None else weight, O,
        *_sizes(input, weight, A, size), *_steps(geometry),
        KW=w, TAPS=h * w, RESIDUAL=geometry.residual, BIAS=bias is not None, SHARED=shared,
        num_warps=tile.warps, **_products(input), **blocks,
    )  # fmt: skip
    return O.contiguous(memory_format=layout_of(input))


def backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
) -> Gradients:
    """Gradients for input, weight and map."""
    dO, I, K = map(_dense, (grad_output, input, weight))
    A = _taps_first(attention_map)
    with _current(input.device):
        dI = _gradient_of_input(dO, I, K, A, geometry)
        dK, dA = _gradients_of_kernel(dO, I, K, A, geometry)
    dA = dA.permute(0, 2, 3, 1).view(attention_map.shape)
    return dI.contiguous(memory_format=layout_of(input)), dK.contiguous(memory_format=layout_of(weight)), dA


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current GPU, whichever the tensors are on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _gradient_of_input(dO: Tensor, I: Tensor, K: Tensor, A: Tensor, geometry: Geometry) -> Tensor:
    """(N, C1, H, W), dense. Args: dense tensors, the map as (N, taps, C2, m)."""
    from awbench.kernels.triton_kernels import input_gradient

    N, _, H, W = I.shape
    C2, channels, h, w = K.shape
    stride, shared = geometry.stride, A.shape[3] == 1
    o_count = C2 // geometry.groups
    dI = torch.empty_like(I)
    tile = _tile(shared)
    pixels = -(-H // stride[0]) * -(-W // stride[1])  # of the largest phase
    blocks = {
        "BLOCK_P": _block(N * pixels if shared else pixels, tile.pixels),
        "BLOCK_C": _block(channels, tile.channels),
        "BLOCK_O": _block(o_count, _depth(I)),
    }
    tiles = _tiles(N * pixels, blocks["BLOCK_P"]) if shared else N * _tiles(pixels, blocks["BLOCK_P"])
    input_gradient[tiles, geometry.groups * _tiles(channels, blocks["BLOCK_C"]), stride[0] * stride[1]](
        dO, K, A, dI, *_sizes(I, K, A, dO.shape[2:]), *_steps(geometry),
        *(s // math.gcd(s, d) for s, d in zip(stride, geometry.dilation, strict=True)),
        KH=h, KW=w, RESIDUAL=geometry.residual, SHARED=shared,
        TWO=(H // stride[0]) * (W // stride[1]) >= blocks["BLOCK_P"], num_warps=tile.warps, **_products(I), **blocks,
    )  # fmt: skip
    return dI


def _gradients_of_kernel(dO: Tensor, I: Tensor, K: Tensor, A: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """(C2, C1/groups, h, w) and (N, taps, C2, m), dense. Args: dense tensors, the map as (N, taps, C2, m)."""
    from awbench.kernels.triton_kernels import kernel_gradients

    N, (C2, channels, h, w) = len(I), K.shape
    compact, o_count = A.shape[3], C2 // geometry.groups
    e = channels // compact
    blocks = {"BLOCK_P": _block(dO[0, 0].numel(), 64), "BLOCK_O": _block(o_count, 64), "BLOCK_C": _block(channels, 64)}
    single_m = e > blocks["BLOCK_C"] // 2  # no two m's fit in a tile
    span = e if single_m else blocks["BLOCK_C"] // e * e
    tiles_of_m = _tiles(e, blocks["BLOCK_C"]) if single_m else 1
    c_tiles = compact * tiles_of_m if single_m else _tiles(channels, span)
    o_tiles = _tiles(o_count, blocks["BLOCK_O"])
    samples = -(-N // min(N, max(1, _PROGRAMS // (o_tiles * c_tiles * geometry.groups * h * w))))  # of a program
    chunks = _tiles(N, samples)
    dK = _parts(chunks, (C2, h, w, channels), K)
    dA = _parts(tiles_of_m, A.shape, A)
    kernel_gradients[h * w * o_tiles * chunks, c_tiles, geometry.groups](
        dO, I, K, A, dK, dA, *_sizes(I, K, A, dO.shape[2:]), span, tiles_of_m, samples, *_steps(geometry),
        KW=w, TAPS=h * w, RESIDUAL=geometry.residual, SINGLE_M=single_m, E=0 if single_m or e & (e - 1) else e,
        num_warps=8, **_products(I), **blocks,
    )  # fmt: skip
    return _summed(dK, K).permute(0, 3, 1, 2), _summed(dA, A)


def _parts(count: int, shape: Sequence[int], tensor: Tensor) -> Tensor:
    """Places for the parts of a tensor's gradient; a single one is the gradient, in the tensor's dtype."""
    return tensor.new_empty(count, *shape, dtype=torch.float32 if count > 1 else tensor.dtype)


def _summed(parts: Tensor, tensor: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0).to(tensor.dtype)


def _dense(tensor: Tensor) -> Tensor:
    """In channels_last. Others are copied, as cuDNN does: their channels lie apart, and cannot be loaded in fours."""
    return tensor.contiguous(memory_format=torch.channels_last)


def _taps_first(attention_map: Tensor) -> Tensor:
    """(N, taps, C2, m), dense: so a network in channels_last makes it; otherwise a copy."""
    return attention_map.flatten(3).permute(0, 3, 1, 2).contiguous()


def _sizes(I: Tensor, K: Tensor, A: Tensor, output_size: Sequence[int]) -> list[int]:
    """As the Triton kernels take them; the map as (N, taps, C2, m)."""
    (N, C1, H, W), (C2, channels) = I.shape, K.shape[:2]
    return [N, H, W, *output_size, C1, C2, channels, C2 * channels // C1, channels // A.shape[3]]


def _steps(geometry: Geometry) -> list[int]:
    """As the Triton kernels take them."""
    return [*geometry.stride, *geometry.padding, *geometry.dilation]


class _Tile(NamedTuple):
    """Largest sides of a program's part of the result, pixels and channels, and its warps."""

    pixels: int
    channels: int
    warps: int


def _tile(shared: bool) -> _Tile:
    """With e = C1 two sums are kept, of a tap and of all: small tiles, of which a multiprocessor has several."""
    return _Tile(64, 64, 4) if shared else _Tile(128, 128, 8)


def _products(input: Tensor) -> dict[str, Any]:
    """How products are taken: float32 as tf32 where torch's convolutions use it."""
    return {"PRECISION": "tf32" if tf32()[0] else "ieee", "WIDE": input.device.type == "cpu"}


def _depth(input: Tensor) -> int:
    """Of the tiles along the sum: as many bytes for every dtype."""
    return 128 // input.element_size()


def _block(count: int, largest: int) -> int:
    """A power of two that covers `count`, within what a tile may be."""
    return min(largest, max(_SMALLEST_BLOCK, 1 << (count - 1).bit_length()))


def _tiles(count: int, block: int) -> int:
    return -(-count // block)
