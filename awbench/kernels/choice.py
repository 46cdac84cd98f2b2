"""Which strategy executes an AW-convolution: by name, by measurement once and then from a file, or by a rule.

No strategy is the fastest everywhere, so where `strategy` is "auto" the first call of a kind times those that can
execute it, forward and backward apart. What it found is kept in the user's cache, one file per request, under a key of
all that can change the answer. Nothing is measured where that must not or cannot be done; the size rule decides then.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import torch

from awbench.cache import cache_directory
from awbench.errors import UserError
from awbench.kernels.request import Request
from awbench.kernels.strategies import (
    AUTO,
    LEAST_SHARED,
    RULE,
    STRATEGIES,
    check_strategy,
    require_support,
    strategies_for,
)
from awbench.kernels.tuning import measure
from awbench.records import atomic
from awbench.system import open_regular

OVERRIDE = "AWBENCH_AW_STRATEGY"
_LARGEST_FILE = 2**20  # of what was kept: some hundred bytes
FEWEST_MACS = 2**24  # below, an execution takes less than choosing could ever save

log = logging.getLogger("awbench.kernels")
_known: dict[tuple[Hashable, ...], str] = {}


def choose(strategy: str, request: Request) -> str:
    """The name of the strategy that executes the request.

    In this order: `strategy` where it names one; the environment variable AWBENCH_AW_STRATEGY; the size rule
    under torch's deterministic mode, for requests of few operations and for devices other than CPU and CUDA;
    what was measured before, by this process or, in the user's cache, by another; a measurement now; and the
    size rule again where measuring is out of place (tracing, transforms, capture of a CUDA graph).

    Raises:
        UserError: the strategy named does not exist or cannot execute this.
    """
    if strategy == AUTO:
        strategy = _override()
    if strategy == RULE:
        return request.rule()
    if strategy != AUTO:
        require_support(strategy, request.device, request.input.dtype)
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
    return request.device.type in ("cpu", "cuda") and request.macs() >= FEWEST_MACS


def _remembered_or_measured(request: Request) -> str:
    identity = request.identity()  # at every call of every layer: what costs more than a lookup is not asked here
    if identity not in _known:
        key = request.key()
        path = _path(json.dumps(key, sort_keys=True))
        found = _read(path, key)
        if found is None:
            if not _may_measure(request.device):
                return request.rule()
            found = _measure_and_keep(request, key, path)
        _known[identity] = found
    return _known[identity]


def _may_measure(device: torch.device) -> bool:
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return not (device.type == "cuda" and torch.cuda.is_current_stream_capturing())


def _measure_and_keep(request: Request, key: dict[str, Any], path: Path | None) -> str:
    with torch.no_grad():
        measured = measure(request, candidates(request))
    if not measured.steady:
        kept = "by the size rule, for other load disturbed these times, and not kept"
    elif path is not None and _write(path, {"key": key, "chosen": measured.chosen, "seconds": measured.seconds}):
        kept = f"kept in {path}"
    else:
        kept = "not kept: the cache cannot be written"
    times = ", ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in measured.seconds.items())
    shape = "x".join(map(str, request.input.shape))
    log.info(
        "awbench: AW-convolution of %s, %s, executed as %s (ms: %s); measured in %.1f s, %s",
        *(shape, request.direction, measured.chosen, times, measured.cost, kept),
    )
    return measured.chosen


def candidates(request: Request) -> list[str]:
    """The strategies that are timed, the size rule's first: those that can execute the request and may win."""
    first, hopeless = request.rule(), {"oracle"}
    if request.device.type == "cpu":
        hopeless.add("fused")  # in Triton's interpreter
    if request.weight.shape[1] // request.attention_map.shape[2] < LEAST_SHARED:
        hopeless.add("direct")
    available = [name for name in strategies_for(request.device, request.input.dtype) if name not in {first, *hopeless}]
    if request.device.type == "cuda":  # made for it; the others are there in case it is not the fastest
        available.sort(key=lambda name: name != "fused")
    return [first, *available]


def _path(text: str) -> Path | None:
    """The file of a key, or None where there is no place for one."""
    try:
        return cache_directory() / "aw-strategies" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    except UserError:
        return None


def _read(path: Path | None, key: dict[str, Any]) -> str | None:
    """The strategy kept in a file; None where there is none, or where it is not what was written, which is logged."""
    try:
        if path is None:
            return None
        with open_regular(path) as file:
            content = file.read(_LARGEST_FILE)
    except OSError:
        return None
    try:
        body = json.loads(content)
        chosen = body["chosen"]
        intact = body["sha256"] == _sha256(body) and body["key"] == json.loads(json.dumps(key)) and chosen in STRATEGIES
    except (ValueError, KeyError, TypeError, RecursionError):
        intact = False
    if not intact:
        log.warning("awbench: the tuning cache %s is corrupt; its strategies are measured again", path)
        return None
    return str(chosen)


def _write(path: Path, body: dict[str, Any]) -> bool:
    """Whether it could be kept. Written whole or not at all: of two processes, either's answer will do."""
    try:
        atomic.remove_stale_temporaries(path.parent)
        atomic.write_text(path, json.dumps({**body, "sha256": _sha256(body)}, indent=1) + "\n")
    except OSError:
        return False
    return True


def _sha256(body: dict[str, Any]) -> str:
    content = {name: value for name, value in body.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
