"""The fresh process of `awbench regress`: times a suite's workloads against one tree, a turn at a time.

Run by path, never imported, and importing nothing of awbench: whatever awbench it meets is the tree's.

    PYTHONPATH=TREE python -P worker.py TREE SUITE DESCRIPTOR

On the connection of that file descriptor it first sends the names of the workloads, then answers each request:

    ("set_up", name)              None
    ("warm_up", name, seconds)    None
    ("turn", name, seconds)       milliseconds of a call, one number per sample
"""

from __future__ import annotations

import gc
import importlib.util
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_WARM_UP_CALLS = 2
_SAMPLE_SECONDS = 0.002  # a sample lasts at least so long: the clock and the loop around the calls vanish in it


class Workload:
    """A function that is timed.

    Attributes:
        call: the function.
        repeats: calls of one sample, decided while it is warmed up.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.repeats = 1

    def warm_up(self, seconds: float) -> None:
        """Call it for so many seconds, at least twice."""
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < _WARM_UP_CALLS or time.perf_counter() < end:
            times.append(self._sample(1))
        self.repeats = max(1, math.ceil(_SAMPLE_SECONDS / min(times)))

    def turn(self, seconds: float) -> list[float]:
        """Milliseconds of a call, in samples of some calls each, for about so many seconds; at least one sample."""
        gc.collect()
        gc.disable()
        self.call()  # the other process has just filled the caches
        samples: list[float] = []
        end = time.perf_counter() + seconds
        while not samples or time.perf_counter() < end:
            samples.append(self._sample(self.repeats) * 1e3)
        gc.enable()
        return samples

    def _sample(self, repeats: int) -> float:
        """Seconds of a call, the mean of several in a row."""
        start = time.perf_counter_ns()
        for _ in itertools.repeat(None, repeats):
            self.call()
        return (time.perf_counter_ns() - start) / repeats / 1e9


def load_suite(path: Path) -> dict[str, Callable[[], Callable[[], Any]]]:
    """WORKLOADS of a suite's file."""
    spec = importlib.util.spec_from_file_location("awbench_regress_suite", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    workloads = getattr(module, "WORKLOADS", None)
    if not isinstance(workloads, dict) or not workloads:
        sys.exit(f"{path} has no WORKLOADS, a dictionary of functions by name")
    return workloads


def check_origin(tree: Path) -> None:
    """Stop if the code that runs is not the tree's, which would compare some installed copy with itself."""
    found = False
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None:
            continue
        inside = Path(file).resolve().is_relative_to(tree)
        found = found or inside
        ours = (tree / f"{name}.py").is_file() or (tree / name / "__init__.py").is_file()
        if ours and not inside and name not in sys.stdlib_module_names:
            sys.exit(f"{name} was imported from {file}, not from the tree under test")
    if not found:
        sys.exit("nothing was imported from the tree under test, so that both sides would be the same code")


def requests(connection: Connection) -> Iterator[tuple[Any, ...]]:
    """Until the other end is closed."""
    while True:
        try:
            yield connection.recv()
        except EOFError:
            return


def main(tree: Path, suite: Path, connection: Connection) -> None:
    makers = load_suite(suite)
    workloads: dict[str, Workload] = {}
    connection.send(list(makers))
    for action, name, *seconds in requests(connection):
        answer = None
        if action == "set_up":
            workloads[name] = Workload(makers[name]())
            gc.freeze()  # what set-up made is not looked through before each turn
        elif action == "warm_up":
            workloads[name].warm_up(*seconds)
            check_origin(tree)
        else:
            answer = workloads[name].turn(*seconds)
        connection.send(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]), Connection(int(sys.argv[3])))
