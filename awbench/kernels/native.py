"""Strategies whose loops are in C: their libraries for each dtype, or why there are none, and what they take."""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from awbench.errors import UserError
from awbench.kernels import grouped
from awbench.kernels.compiled import NoCompiler, NotCompiled, library
from awbench.kernels.geometry import Geometry, Gradients

C_TYPES = {torch.float32: "float", torch.float64: "double"}
_LARGEST_ERROR = {torch.float32: 1e-5, torch.float64: 1e-13}

log = logging.getLogger("awbench.kernels")
_lock = threading.Lock()


@dataclass(frozen=True)
class Source:
    """A strategy in C.

    Attributes:
        path: the C file.
        functions: that it must have.
        forward, backward: of the strategy, with the library as the last argument; what they compute is checked.
    """

    path: Path
    functions: tuple[str, ...]
    forward: Callable[..., Tensor]
    backward: Callable[..., Gradients]

    def unsupported_reason(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """See `awbench.kernels.strategies.unsupported_reason`."""
        if device.type != "cpu":
            return f"is for the CPU, not {device.type}"
        if dtype not in C_TYPES:
            return f"has no {str(dtype).removeprefix('torch.')}"
        with _lock:
            found = library_or_reason(self, dtype)
        return found if isinstance(found, str) else None

    def library(self, dtype: torch.dtype) -> Any:
        """The compiled source. Raises: UserError: there is none."""
        reason = self.unsupported_reason(torch.device("cpu"), dtype)
        if reason is not None:
            raise UserError(f"strategy {self.path.stem!r} {reason}")
        return library_or_reason(self, dtype)


@functools.cache
def library_or_reason(source: Source, dtype: torch.dtype) -> Any:
    """The compiled source, or why there is none, which is also logged unless there is no compiler at all."""
    try:
        code = library(source.path, source.functions, f"REAL={C_TYPES[dtype]}")
    except NoCompiler as error:
        return str(error)
    except NotCompiled as error:
        reason = str(error)
    else:
        error_found = _own_error(source, code, dtype)
        if error_found <= _LARGEST_ERROR[dtype]:  # nan is not
            return code
        reason = f"was compiled, but computes something else than it should, off by {error_found:.1e}"
    log.warning("awbench: strategy %s is left out, other strategies do its work: it %s", source.path.stem, reason)
    return reason


def _own_error(source: Source, code: Any, dtype: torch.dtype) -> float:
    """The largest relative error against the grouped strategy, of one small AW-convolution with all its gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = ((2, 20, 5, 9), (40, 20, 3, 3), (2, 40, 1, 3, 3))
        I, K, A = (torch.randn(size, dtype=dtype, device="cpu") for size in sizes)
    geometry = Geometry([2, 1], [1, 1], [1, 1])
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        O = grouped.forward(I, K, A, None, geometry)
        expected = (O, *grouped.backward(O, I, K, A, geometry))
        found = (source.forward(I, K, A, None, geometry, code), *source.backward(O, I, K, A, geometry, code))
    return max(float((ours - right).norm() / right.norm()) for ours, right in zip(found, expected, strict=True))


class Shape(ctypes.Structure):
    """What the `shape` of every C file begins with: the sizes of one group."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("N", "H", "W", "C1", "C2", "m", "h", "w", "out_h", "out_w")),
        *((name, ctypes.c_long * 2) for name in ("stride", "padding", "dilation")),
        ("k_step", ctypes.c_long * 3),
    ]


def sizes(
    images: Sequence[int], kernel: Tensor, m: int, taps: Sequence[int], size: Sequence[int], geometry: Geometry
) -> tuple[Any, ...]:
    """The values of a `Shape`.

    Args:
        images: (N, H, W).
        kernel: of the group, (C2/groups, C1/groups, taps), any layout.
        m: values of the map along C1/groups.
        taps: (h, w).
        size: (H', W').
    """
    C2, C1, _ = kernel.shape
    pairs = (array(values) for values in geometry[:3])
    return (*images, C1, C2, m, *taps, *size, *pairs, array(kernel.stride()))


def array(values: Sequence[int]) -> Any:
    """As C takes it."""
    return (ctypes.c_long * len(values))(*values)


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
