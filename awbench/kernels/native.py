"""A strategy whose loops are in C: its library for each dtype, or why there is none, and what its functions take."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from awbench.kernels import grouped
from awbench.kernels.compiled import NoCompiler, NotCompiled, library
from awbench.kernels.geometry import Geometry, Gradients

C_TYPES = {torch.float32: "float", torch.float64: "double"}
_LARGEST_ERROR = {torch.float32: 1e-5, torch.float64: 1e-13}

log = logging.getLogger("awbench.kernels")


def unsupported_type(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the strategy is for neither, as the end of a sentence; None if it is for both."""
    if device.type != "cpu":
        return f"is for the CPU, not {device.type}"
    return None if dtype in C_TYPES else f"has no {str(dtype).removeprefix('torch.')}"


def library_or_reason(
    source: Path,
    functions: Sequence[str],
    dtype: torch.dtype,
    forward: Callable[..., Tensor],
    backward: Callable[..., Gradients],
) -> Any:
    """The compiled source, or why there is none, which is also logged unless there is no compiler at all.

    Args:
        functions: that it must have.
        forward, backward: of the strategy, with the library as the last argument; what they compute is checked.
    """
    try:
        code = library(source, functions, f"REAL={C_TYPES[dtype]}")
    except NoCompiler as error:
        return str(error)
    except NotCompiled as error:
        reason = str(error)
    else:
        off = _own_error(code, dtype, forward, backward)
        if off <= _LARGEST_ERROR[dtype]:  # nan is not
            return code
        reason = f"was compiled, but computes something else than it should, off by {off:.1e}"
    log.warning("awbench: strategy %s is left out, other strategies do its work: it %s", source.stem, reason)
    return reason


def _own_error(
    code: Any, dtype: torch.dtype, forward: Callable[..., Tensor], backward: Callable[..., Gradients]
) -> float:
    """The largest relative error against the grouped strategy, of one small AW-convolution with all its gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = ((2, 20, 5, 9), (40, 20, 3, 3), (2, 40, 1, 3, 3))
        I, K, A = (torch.randn(size, dtype=dtype, device="cpu") for size in sizes)
    geometry = Geometry([2, 1], [1, 1], [1, 1])
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        O = grouped.forward(I, K, A, None, geometry)
        expected = (O, *grouped.backward(O, I, K, A, geometry))
        found = (forward(I, K, A, None, geometry, code), *backward(O, I, K, A, geometry, code))
    return max(float((ours - right).norm() / right.norm()) for ours, right in zip(found, expected, strict=True))


def group_slices(geometry: Geometry, weight: Tensor) -> list[tuple[slice, slice]]:
    """Of each group, (which of C1, which of C2)."""
    C2, channels = weight.shape[:2]
    outputs = C2 // geometry.groups
    return [
        (slice(g * channels, (g + 1) * channels), slice(g * outputs, (g + 1) * outputs)) for g in range(geometry.groups)
    ]


def factor_of(attention_map: Tensor, residual: bool, block: int) -> Tensor:
    """1 + A or A of one group as the C code takes it: (N, m, taps, C2/groups), flat, and a block behind."""
    A = attention_map.flatten(3).permute(0, 2, 3, 1)
    return F.pad((1 + A if residual else A).flatten(), (0, block))


def flat_kernel(weight: Tensor) -> Tensor:
    """(C2, C1/groups, taps), without a copy where K is contiguous or channels_last."""
    dense = weight.is_contiguous() or weight.is_contiguous(memory_format=torch.channels_last)
    return (weight if dense else weight.contiguous()).flatten(2)


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """The tensor must be held by a name while it is used."""
    return ctypes.c_void_p(tensor.data_ptr() if tensor is not None else None)
