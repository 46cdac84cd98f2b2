"""Time the strategies that can execute a request, interleaved, and compare what they compute with the first."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from awbench.kernels.request import Request
from awbench.kernels.timers import timer_for

LIMIT_SECONDS = 2.0  # of measuring one request; a call that has begun is finished
# All chosen: rounds, and ratios of times.
_ROUNDS, _FEWEST_ROUNDS = 9, 2
_WORTH_ROUNDS = 2.0
_CLEARLY_FASTER = 0.97
_SAME_TIME = 1.1
# Relative Frobenius error beyond which a strategy is wrong, not rounded; float32's bound is that of tf32.
_LARGEST_ERROR = {torch.float64: 1e-10, torch.float32: 3e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}

log = logging.getLogger("awbench.kernels")


@dataclass(frozen=True)
class Measured:
    """What timing the strategies gave.

    Attributes:
        chosen: the fastest; the first candidate where no other is clearly faster, or times say nothing.
        seconds: the shortest time of each strategy that gave the right answer within the limit.
        steady: whether the times that decide were found twice: other load on a machine makes times that were not.
        cost: of measuring, in seconds.
    """

    chosen: str
    seconds: dict[str, float]
    steady: bool
    cost: float


def measure(request: Request, candidates: Sequence[str], limit: float = LIMIT_SECONDS) -> Measured:
    """Time the candidates, interleaved.

    Each is called twice, and what it computes is compared with what the first one computes; those near the best are
    then timed round-robin, at least twice. The shortest time counts: other load only adds to a time. A candidate that
    fails, or computes something else, is logged and left out.

    Args:
        candidates: strategies; the first is trusted, always timed, and chosen where no other is clearly faster.
        limit: seconds after which no other candidate, and after two rounds no other round, begins; on a GPU first
            calls are not counted.
    """
    started, compiling = time.monotonic(), 0.0
    times: dict[str, list[float]] = {}
    expected: tuple[Tensor, ...] | None = None
    for name in candidates:
        if times and time.monotonic() - started - compiling > limit:
            break
        try:
            first_call = time.monotonic()
            results = request.execute(name)
            if request.device.type == "cuda":  # libraries start, Triton compiles: in this call alone
                torch.cuda.synchronize(request.device)
                compiling += time.monotonic() - first_call
            wrong = expected is not None and _difference(results, expected)
            if wrong:
                log.warning("awbench: strategy %s is left out of the choice: %s", name, wrong)
                continue
            expected = expected or results
            times[name] = [_time(request, name)]
        except Exception as error:  # of a compiler, a driver, an allocator: none may stop a network
            if not times:
                raise
            log.warning("awbench: strategy %s is left out of the choice: %s", name, _first_line(error))
    first, best = candidates[0], min(first_time for first_time, *_ in times.values())
    near = [name for name in times if name == first or times[name][0] <= _WORTH_ROUNDS * best]
    for completed in range(_ROUNDS if len(near) > 1 else 0):
        if completed >= _FEWEST_ROUNDS and time.monotonic() - started - compiling > limit:
            break
        for name in near:
            times[name].append(_time(request, name))
    shortest = {name: min(seconds) for name, seconds in times.items()}
    chosen = min(near, key=shortest.__getitem__)
    steady = len(near) == 1 or all(_found_twice(times[name]) for name in {first, chosen})
    if not steady or shortest[chosen] > _CLEARLY_FASTER * shortest[first]:
        chosen = first
    return Measured(chosen, shortest, steady, time.monotonic() - started)


def _found_twice(times: Sequence[float]) -> bool:
    shortest, next_shortest = sorted(times)[:2]
    return next_shortest <= _SAME_TIME * shortest


def _time(request: Request, strategy: str) -> float:
    """Seconds of one call."""
    timer = timer_for(request.device, queued=True)
    timer.begin()
    start = timer.mark()
    request.execute(strategy)
    end = timer.mark()
    timer.wait()
    return timer.seconds(start, end)


def _difference(results: Sequence[Tensor], expected: Sequence[Tensor]) -> str | None:
    for found, right in zip(results, expected, strict=True):
        error = (found.double() - right.double()).norm() / right.double().norm().clamp_min(1e-30)
        if not error <= _LARGEST_ERROR[found.dtype]:  # nan is not
            return f"its result is off by {float(error):.1e}, relative Frobenius error"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
