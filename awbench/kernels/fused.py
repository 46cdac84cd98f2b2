"""The fused strategy: one Triton kernel that convolves and attends at once, so that AK never exists in memory.

An implicit-GEMM convolution. With e = C1 each tap's sum is multiplied by its factor 1 + A, otherwise the tile of
K is as it is loaded; the backward pass does likewise, and sums over samples in a fixed order, without atomics.

It has never run on a GPU: only in Triton's interpreter, on a CPU (TRITON_INTERPRET=1), and it was compiled for compute
capability 9.0, where with 8 warps and bfloat16 no register of `convolve` and `input_gradient` is spilled at these tile
sizes; that they are fast is a guess. `awbench.kernels.tuning` compares its results with another strategy's before
"auto" can choose it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

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

    N, _, H, W = input.shape
    C2, channels, h, w = weight.shape
    size = geometry.output_size(input, weight)
    O = _like(input, (N, C2, *size))
    shared, A = _map(attention_map)
    o_count, pixels = C2 // geometry.groups, size[0] * size[1]
    blocks = {
        "BLOCK_P": _block(pixels, 128),
        "BLOCK_O": _block(o_count, 128),
        "BLOCK_C": _block(channels, _depth(input)),
    }
    tiles = _tiles(N * pixels, blocks["BLOCK_P"]) if shared else N * _tiles(pixels, blocks["BLOCK_P"])
    convolve[tiles, _tiles(o_count, blocks["BLOCK_O"]), geometry.groups](
        input, weight, A, bias if bias is not None else weight, O,
        N, H, W, *size, channels, o_count, channels // attention_map.shape[2],
        *input.stride(), *weight.stride(), *A.stride(), *O.stride(), *_steps(geometry),
        KW=w, TAPS=h * w, RESIDUAL=geometry.residual, BIAS=bias is not None, SHARED=shared,
        **_products(input), **blocks,
    )  # fmt: skip
    return O


def backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
) -> Gradients:
    """Gradients for input, weight and map."""
    tensors = (grad_output, input, weight, attention_map)
    with _current(input.device):
        return _gradient_of_input(*tensors, geometry), *_gradients_of_kernel(*tensors, geometry)


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current GPU, whichever the tensors are on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _gradient_of_input(dO: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry) -> Tensor:
    from awbench.kernels.triton_kernels import input_gradient

    N, _, H, W = input.shape
    C2, channels, h, w = weight.shape
    stride = geometry.stride
    dI = _like(input, input.shape)
    shared, A = _map(attention_map)
    o_count = C2 // geometry.groups
    pixels = -(-H // stride[0]) * -(-W // stride[1])  # of the largest phase
    blocks = {"BLOCK_P": _block(pixels, 128), "BLOCK_C": _block(channels, 128)}
    blocks["BLOCK_O"] = _block(o_count, _depth(input))
    tiles = _tiles(N * pixels, blocks["BLOCK_P"]) if shared else N * _tiles(pixels, blocks["BLOCK_P"])
    input_gradient[tiles, geometry.groups * _tiles(channels, blocks["BLOCK_C"]), stride[0] * stride[1]](
        dO, weight, A, dI,
        N, H, W, *dO.shape[2:], channels, o_count, channels // attention_map.shape[2],
        *dO.stride(), *weight.stride(), *A.stride(), *dI.stride(), *_steps(geometry),
        KH=h, KW=w, TAPS=h * w, RESIDUAL=geometry.residual, SHARED=shared, **_products(input), **blocks,
    )  # fmt: skip
    return dI


def _gradients_of_kernel(
    dO: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    from awbench.kernels.triton_kernels import kernel_gradients

    N, _, H, W = input.shape
    C2, channels, h, w = weight.shape
    _, A = _map(attention_map)
    compact, o_count = attention_map.shape[2], C2 // geometry.groups
    e = channels // compact
    blocks = {"BLOCK_P": _block(dO[0, 0].numel(), 64), "BLOCK_O": _block(o_count, 64), "BLOCK_C": _block(channels, 64)}
    single_m = e > blocks["BLOCK_C"] // 2  # no two m's fit in a tile
    span = e if single_m else blocks["BLOCK_C"] // e * e
    tiles_of_m = _tiles(e, blocks["BLOCK_C"]) if single_m else 1
    c_tiles = compact * tiles_of_m if single_m else _tiles(channels, span)
    o_tiles = _tiles(o_count, blocks["BLOCK_O"])
    samples = -(-N // min(N, max(1, _PROGRAMS // (o_tiles * c_tiles * geometry.groups * h * w))))  # of a program
    chunks = _tiles(N, samples)
    dK = weight.new_empty(chunks, C2, channels, h * w, dtype=torch.float32)
    dA = weight.new_empty(tiles_of_m, N, C2, compact, h * w, dtype=torch.float32)
    kernel_gradients[o_tiles * chunks, c_tiles, geometry.groups * h * w](
        dO, input, weight, A, dK, dA,
        N, H, W, *dO.shape[2:], channels, o_count, e, span, tiles_of_m, samples,
        *dO.stride(), *input.stride(), *weight.stride(), *A.stride(), *dK.stride(), *dA.stride(),
        *_steps(geometry),
        KW=w, TAPS=h * w, RESIDUAL=geometry.residual, SINGLE_M=single_m, **_products(input), **blocks,
    )  # fmt: skip
    return dK.sum(0).view(weight.shape).to(weight.dtype), dA.sum(0).view(attention_map.shape).to(attention_map.dtype)


def _steps(geometry: Geometry) -> list[int]:
    """As the Triton kernels take them."""
    return [*geometry.stride, *geometry.padding, *geometry.dilation]


def _map(attention_map: Tensor) -> tuple[bool, Tensor]:
    """(whether e = C1, the map as (N, C2, m, taps)); the small map of e = C1 with output channels side by side."""
    A = attention_map.flatten(3)
    if A.shape[2] > 1:
        return False, A
    return True, A.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)


def _like(input: Tensor, shape: Sequence[int]) -> Tensor:
    return input.new_empty(shape).contiguous(memory_format=layout_of(input))


def _products(input: Tensor) -> dict[str, Any]:
    """How products are taken: float32 as tf32 where torch's convolutions use it."""
    return {"PRECISION": "tf32" if tf32()[0] else "ieee", "WIDE": input.device.type == "cpu", "num_warps": 8}


def _depth(input: Tensor) -> int:
    """Of the tiles along the sum: as many bytes for every dtype."""
    return 128 // input.element_size()


def _block(count: int, largest: int) -> int:
    """A power of two that covers `count`, within what a tile may be."""
    return min(largest, max(_SMALLEST_BLOCK, 1 << (count - 1).bit_length()))


def _tiles(count: int, block: int) -> int:
    return -(-count // block)
