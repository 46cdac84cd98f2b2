"""Seeds, precision and determinism of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from awbench.data.views import derive_seed


def autocast(precision: str, device: torch.device) -> Any:
    """The forward pass's precision: the context in which it runs."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def seed_weights(seed: int) -> None:
    """Fresh weights derive from the run's seed alone."""
    torch.manual_seed(derive_seed("weights", seed))


@contextlib.contextmanager
def deterministic(wanted: bool, same_shapes: bool = False) -> Iterator[None]:
    """Only deterministic algorithms inside, at full speed for memory that is written anyway.

    Args:
        same_shapes: convolutions come in few shapes: where bits may differ, cuDNN may time its algorithms for each.
    """
    memory: Any = torch.utils.deterministic
    before, filled = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    timed = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(wanted)
    memory.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = same_shapes and not wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = timed
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filled
