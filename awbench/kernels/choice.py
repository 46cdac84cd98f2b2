"""Which strategy executes an AW-convolution: by name, by measurement once and then from a file, or by a rule.

No strategy is the fastest everywhere, so where `strategy` is "auto" the first call of a kind times those that can
execute it, forward and backward apart. What it found is kept in the user's cache, a file a request, under a key of
all that can change the answer. Nothing is measured where that must not or cannot be done; the size rule decides then.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from awbench.cache import cache_directory
from awbench.errors import UserError
from awbench.kernels.strategies import (
    AUTO,
    LEAST_SHARED,
    RULE,
    STRATEGIES,
    check_strategy,
    demand_support,
    size_rule,
    strategies_for,
)
from awbench.records import atomic
from awbench.records.environment import cpu_name, package_version, source_digest

OVERRIDE = "AWBENCH_AW_STRATEGY"
LIMIT_SECONDS = 2.0  # of measuring one request; a call that has begun is finished
FEWEST_MACS = 2**24  # below, an execution takes less than choosing could ever save
# All chosen: turns, and ratios of times.
_TURNS, _FEWEST_TURNS = 9, 2
_NOT_WORTH_A_TURN = 2.0
_CLEARLY_FASTER = 0.97
_SAME_TIME = 1.1
# Relative Frobenius error beyond which a strategy is wrong, not rounded; float32's bound is that of tf32.
_LARGEST_ERROR = {torch.float64: 1e-10, torch.float32: 3e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}

log = logging.getLogger("awbench.kernels")
_known: dict[str, str] = {}


@dataclass(frozen=True)
class Request:
    """One execution: the tensors and settings of `awbench.kernels.aw_conv2d`, forward or backward.

    Attributes:
        tensors: input, weight, attention map.
        settings: stride, padding, dilation, groups, residual.
        grad_output: of a backward pass; None for a forward one.
    """

    tensors: tuple[Tensor, Tensor, Tensor]
    settings: tuple[list[int], list[int], list[int], int, bool]
    grad_output: Tensor | None = None

    def execute(self, strategy: str) -> tuple[Tensor, ...]:
        module = STRATEGIES[strategy]
        if self.grad_output is None:
            return (module.forward(*self.tensors, None, *self.settings),)
        gradients: tuple[Tensor, ...] = module.backward(self.grad_output, *self.tensors, *self.settings)
        return gradients

    @property
    def direction(self) -> str:
        return "forward" if self.grad_output is None else "backward"

    def rule(self) -> str:
        return size_rule(*self.tensors, *self.settings[:3])

    def macs(self) -> int:
        """Multiply-accumulates of the forward convolution."""
        input, weight, _ = self.tensors
        stride = self.settings[0]
        pixels = input.shape[2] * input.shape[3] // (stride[0] * stride[1])
        return input.shape[0] * weight.numel() * pixels

    def key(self) -> dict[str, Any]:
        """All that can change which strategy is the fastest."""
        input, weight, attention_map = self.tensors
        cuda = input.device.type == "cuda"
        described: dict[str, Any] = {
            "direction": self.direction,
            **{
                name: [list(tensor.shape), _layout(tensor)]
                for name, tensor in (("input", input), ("weight", weight), ("map", attention_map))
            },
            **dict(zip(("stride", "padding", "dilation", "groups", "residual"), self.settings, strict=True)),
            "dtype": str(input.dtype).removeprefix("torch."),
            "device": torch.cuda.get_device_name(input.device) if cuda else cpu_name(),
            "torch": torch.__version__,
            "kernels_sha256": source_digest("kernels"),
            "available": strategies_for(input.device, input.dtype),  # a compiler comes and goes
        }
        if cuda:
            described |= {
                "tf32": [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32],
                "cudnn_benchmark": torch.backends.cudnn.benchmark,
                "triton": package_version("triton"),
            }
        else:
            described["threads"] = torch.get_num_threads()
        return described


def choose(strategy: str, request: Request) -> str:
    """The name of the strategy that executes the request.

    In this order: `strategy` where it names one; the environment variable AWBENCH_AW_STRATEGY; the size rule
    under torch's deterministic mode, for requests of few operations and for devices other than CPU and CUDA;
    what was measured before, by this process or, in the user's cache, by another; a measurement now; and the
    size rule again where measuring is out of place (tracing, transforms, capture of a CUDA graph).

    Raises:
        UserError: the strategy named does not exist or cannot execute this.
    """
    input = request.tensors[0]
    if strategy == AUTO:
        strategy = _override()
    if strategy == RULE:
        return request.rule()
    if strategy != AUTO:
        demand_support(strategy, input.device, input.dtype)
        return strategy
    if torch.are_deterministic_algorithms_enabled() or not _is_worth_measuring(request):
        return request.rule()
    return _remembered_or_measured(request)


def _override() -> str:
    strategy = os.environ.get(OVERRIDE) or AUTO
    try:
        check_strategy(strategy)
    except UserError as error:
        raise UserError(f"{OVERRIDE}: {error}") from None
    return strategy


def _is_worth_measuring(request: Request) -> bool:
    return request.tensors[0].device.type in ("cpu", "cuda") and request.macs() >= FEWEST_MACS


def _remembered_or_measured(request: Request) -> str:
    key = request.key()
    text = json.dumps(key, sort_keys=True)
    if text not in _known:
        path = _path(text)
        found = _read(path, key)
        if found is None:
            if not _may_measure(request.tensors[0].device):
                return request.rule()
            found = _measure_and_keep(request, key, path)
        _known[text] = found
    return _known[text]


def _may_measure(device: torch.device) -> bool:
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return not (device.type == "cuda" and torch.cuda.is_current_stream_capturing())


@dataclass(frozen=True)
class Measured:
    """What timing the strategies gave.

    Attributes:
        chosen: the fastest; the first candidate where another is not clearly faster, or times say nothing.
        seconds: the shortest time of each strategy that gave the right answer within the limit.
        steady: whether the times that decide were found twice: other load on a machine makes times that were not.
        cost: of measuring, in seconds.
    """

    chosen: str
    seconds: dict[str, float]
    steady: bool
    cost: float


def measure(request: Request, names: Sequence[str], limit: float = LIMIT_SECONDS) -> Measured:
    """Time the candidates in turns.

    Each is called twice, and what it computes is held to what the first one computes; those near the best then
    take turns, at least twice. The shortest time counts: what else the machine does only adds to a time. A
    candidate that fails, or computes something else, is said and left out.

    Args:
        names: of strategies; the first is trusted, always timed, and keeps what another does not clearly win.
        limit: seconds after which no other candidate, and after two turns no other turn, begins.
    """
    started = time.monotonic()
    times: dict[str, list[float]] = {}
    expected: tuple[Tensor, ...] | None = None
    for name in names:
        if times and time.monotonic() - started > limit:
            break
        try:
            results = request.execute(name)
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
    first, best = names[0], min(of[0] for of in times.values())
    near = [name for name in times if name == first or times[name][0] <= _NOT_WORTH_A_TURN * best]
    for turn in range(_TURNS if len(near) > 1 else 0):
        if turn >= _FEWEST_TURNS and time.monotonic() - started > limit:
            break
        for name in near:
            times[name].append(_time(request, name))
    shortest = {name: min(of) for name, of in times.items()}
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
    device = request.tensors[0].device
    wait: Callable[[], Any] = functools.partial(torch.cuda.synchronize, device) if device.type == "cuda" else int
    wait()
    started = time.perf_counter()
    request.execute(strategy)
    wait()
    return time.perf_counter() - started


def _difference(results: Sequence[Tensor], expected: Sequence[Tensor]) -> str | None:
    for one, other in zip(results, expected, strict=True):
        error = (one.double() - other.double()).norm() / other.double().norm().clamp_min(1e-30)
        if not error <= _LARGEST_ERROR[one.dtype]:  # nan is not
            return f"its result is off by {float(error):.1e}, relative Frobenius error"
    return None


def _measure_and_keep(request: Request, key: dict[str, Any], path: Path | None) -> str:
    with torch.no_grad():
        measured = measure(request, candidates(request))
    if not measured.steady:
        where = "by sizes: these times are disturbed, and not kept"
    elif path is not None and _write(path, {"key": key, "chosen": measured.chosen, "seconds": measured.seconds}):
        where = f"kept in {path}"
    else:
        where = "not kept: the cache cannot be written"
    times = ", ".join(f"{name} {value * 1e3:.2f}" for name, value in measured.seconds.items())
    shape = "x".join(map(str, key["input"][0]))
    log.warning(
        "awbench: AW-convolution of %s, %s, executed as %s (ms: %s); measured in %.1f s, %s",
        *(shape, request.direction, measured.chosen, times, measured.cost, where),
    )
    return measured.chosen


def candidates(request: Request) -> list[str]:
    """The strategies that are timed, the size rule's first: those that can execute the request and may win."""
    input, weight, _ = request.tensors
    first, hopeless = request.rule(), {"oracle"}
    if input.device.type == "cpu":
        hopeless.add("fused")  # in Triton's interpreter
    if weight.shape[1] // request.tensors[2].shape[2] < LEAST_SHARED:
        hopeless.add("direct")
    others = [name for name in strategies_for(input.device, input.dtype) if name not in {first, *hopeless}]
    return [first, *others]


def _path(text: str) -> Path | None:
    """The file of a key, or None where there is no place for one."""
    try:
        return cache_directory() / "aw-strategies" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    except UserError:
        return None


def _read(path: Path | None, key: dict[str, Any]) -> str | None:
    """The strategy kept in a file; None where there is none, or where it is not what was written, which is said."""
    try:
        content = path.read_bytes() if path else None
    except OSError:
        return None
    if content is None:
        return None
    try:
        body = json.loads(content)
        chosen = body["chosen"]
        intact = body["sha256"] == _sha256(body) and body["key"] == json.loads(json.dumps(key)) and chosen in STRATEGIES
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        log.warning("awbench: the tuning cache %s is corrupt; its strategies are measured again", path)
        return None
    return str(chosen)


def _write(path: Path, body: dict[str, Any]) -> bool:
    """Whether it could be kept. Written whole or not at all: of two processes, either's answer is one."""
    try:
        atomic.remove_stale_temporaries(path.parent)
        atomic.write_text(path, json.dumps({**body, "sha256": _sha256(body)}, indent=1) + "\n")
    except OSError:
        return False
    return True


def _sha256(body: dict[str, Any]) -> str:
    content = {name: value for name, value in body.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _layout(tensor: Tensor) -> str | list[int]:
    if tensor.is_contiguous():
        return "contiguous"
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return "channels_last" if channels_last else list(tensor.stride())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
