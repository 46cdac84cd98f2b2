"""This side of `worker.py`: its process, requests and answers."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from awbench.errors import UserError
from awbench.regress.trees import Tree

DEFAULT_SUITE = Path(__file__).with_name("suite.py")
_WORKER = Path(__file__).with_name("worker.py")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENCE_SECONDS = 600
_GOODBYE_SECONDS = 10
_LONGEST_REASON = 300


@dataclass(frozen=True)
class SuiteRun:
    """What runs against each tree.

    Attributes:
        suite: a Python file that defines WORKLOADS, see `awbench.regress.suite`.
        threads: of a process; None for whatever the libraries choose.
        environment: variables for the suite.
    """

    suite: Path = DEFAULT_SUITE
    threads: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Process:
    """A fresh process with a suite and a tree. What is asked first is answered first."""

    def __init__(self, tree: Tree, suite_run: SuiteRun, popen: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self.tree, self._popen, self._errors = tree, popen, errors
        self._doing = f"suite {suite_run.suite}"
        self.workloads: list[str] = self._answer()

    def ask_to_set_up(self, workload: str) -> None:
        """Ask, and not wait: both processes set up at once."""
        self._ask("set_up", workload)

    def wait_for_set_up(self) -> None:
        """
        Raises:
            UserError: the workload fails.
        """
        self._answer()

    def warm_up(self, workload: str, seconds: float) -> None:
        """Call it for so many seconds, at least twice.

        Raises:
            UserError: the workload fails, or is not the tree's own code.
        """
        self._ask("warm_up", workload, seconds)
        self._answer()

    def turn(self, workload: str, seconds: float) -> list[float]:
        """Milliseconds of a call, in samples for about so many seconds.

        Raises:
            UserError: the workload fails.
        """
        self._ask("turn", workload, seconds)
        samples: list[float] = self._answer()
        return samples

    def say_goodbye(self) -> None:
        """Let it end by itself."""
        with contextlib.suppress(OSError):
            _stdin(self._popen).close()

    def _ask(self, action: str, workload: str, *seconds: float) -> None:
        self._doing = f"workload {workload}"
        request = (action, workload, *seconds)
        with contextlib.suppress(BrokenPipeError):  # it is dead, as its missing answer will show
            _stdin(self._popen).write(json.dumps(request).encode() + b"\n")
            _stdin(self._popen).flush()

    def _answer(self) -> Any:
        answers = self._popen.stdout
        assert answers is not None
        if not select.select([answers], [], [], _PATIENCE_SECONDS)[0]:
            raise UserError(f"{self.tree.side}, {self.tree}: {self._doing} has not answered for {_PATIENCE_SECONDS} s")
        line = answers.readline()
        if not line:
            raise UserError(f"{self.tree.side}, {self.tree}: {self._doing} fails: {self._reason()}")
        return json.loads(line)

    def _reason(self) -> str:
        """The last line of stderr, where there is one."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_GOODBYE_SECONDS)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        if lines:
            return textwrap.shorten(lines[-1], _LONGEST_REASON)
        code = self._popen.returncode
        if code is None:
            return "it closed its files"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def pair(first: Tree, second: Tree, suite_run: SuiteRun) -> Iterator[tuple[Process, Process]]:
    """A fresh process for each tree, both set up and ready for turns; gone at the end.

    Raises:
        UserError: the suite fails in one of them, or gives them different workloads.
    """
    with _started(first, suite_run) as one, _started(second, suite_run) as other:
        processes = Process(first, suite_run, *one), Process(second, suite_run, *other)
        if processes[0].workloads != processes[1].workloads:
            found = "; ".join(f"{process.tree.side}: {', '.join(process.workloads)}" for process in processes)
            raise UserError(f"suite {suite_run.suite} must have the same workloads for both; it has {found}")
        for workload in processes[0].workloads:
            for process in processes:
                process.ask_to_set_up(workload)
            for process in processes:
                process.wait_for_set_up()
        yield processes
        for process in processes:
            process.say_goodbye()
        for popen, _ in (one, other):
            with contextlib.suppress(subprocess.TimeoutExpired):
                popen.wait(_GOODBYE_SECONDS)


@contextmanager
def _started(tree: Tree, suite_run: SuiteRun) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """The process, in an empty folder and a session of its own, and what it writes on stderr.

    It ends when its stdin does, so it does not outlive us however we end.
    """
    environment = {**os.environ, **suite_run.environment}
    if suite_run.threads:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(suite_run.threads))
        environment["MKL_DYNAMIC"] = "FALSE"  # else it, and with it torch, takes at most one thread a physical core
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(tree.path), os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-P", str(_WORKER), str(tree.path), str(suite_run.suite)]
    with tempfile.TemporaryDirectory(prefix="awbench-regress-") as folder, tempfile.TemporaryFile() as errors:
        popen = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            yield popen, errors
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it is gone, with all that it started
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
            for pipe in (popen.stdin, popen.stdout):
                with contextlib.suppress(OSError):
                    if pipe:
                        pipe.close()


def _stdin(popen: subprocess.Popen[bytes]) -> IO[bytes]:
    assert popen.stdin is not None
    return popen.stdin
