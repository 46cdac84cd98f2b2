"""Clocks of a CPU and a GPU."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch

_BUSY_CYCLES = 8_000_000  # about 4 ms at 2 GHz: longer than Python needs to launch a layer forward and backward; chosen


class Timer(Protocol):
    """Marks moments. `begin` and `wait` are called outside timed regions only."""

    def begin(self) -> None:
        """Before a timed region: until everything before it is done."""

    def mark(self) -> Any:
        """A moment, as cheaply as the device allows."""

    def wait(self) -> None:
        """Until everything before is done, so that all marks can be read."""

    def seconds(self, start: Any, end: Any) -> float:
        """Between two marks."""


class CPUTimer:
    """`time.perf_counter_ns`."""

    def begin(self) -> None:
        pass

    def mark(self) -> int:
        return time.perf_counter_ns()

    def wait(self) -> None:
        pass

    def seconds(self, start: int, end: int) -> float:
        return (end - start) / 1e9


@dataclass(frozen=True)
class CUDATimer:
    """CUDA events in the current stream: the GPU's own clock, no synchronisation between two marks.

    Attributes:
        queued: the GPU is kept busy while Python launches what is timed: kernels of 30 to 200 us are then timed, and
            not the launching of them. A network's latency is what its user waits for, launching included.
    """

    queued: bool = False

    def begin(self) -> None:
        torch.cuda.synchronize()
        if self.queued:
            torch.cuda._sleep(_BUSY_CYCLES)

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        torch.cuda.synchronize()

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(start.elapsed_time(end)) / 1e3


def timer_for(device: torch.device, queued: bool = False) -> Timer:
    """The device's timer; `queued` as in `CUDATimer`."""
    return CUDATimer(queued) if device.type == "cuda" else CPUTimer()
