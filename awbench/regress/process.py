"""This side of `worker.py`: its process, requests and answers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from awbench.errors import UserError
from awbench.regress.trees import Tree
from awbench.system import KEEPS_FREED_MEMORY

DEFAULT_SUITE = Path(__file__).with_name("suite.py")
_WORKER = Path(__file__).with_name("worker.py")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENCE_SECONDS = 600
_EXIT_SECONDS = 10
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


@dataclass
class Process:
    """A fresh process with a suite and a tree. Every method raises a UserError where the suite or a workload fails.

    Attributes:
        errors: its stderr.
        task: what it was asked last, for messages.
        workloads: names, the process's first answer.
    """

    tree: Tree
    popen: subprocess.Popen[bytes]
    connection: Connection
    errors: IO[bytes]
    task: str
    workloads: list[str] = field(default_factory=list)

    def warm_up(self, workload: str, seconds: float) -> None:
        """Call it for so many seconds, at least twice; it must be the tree's own code."""
        self.ask("warm_up", workload, seconds)
        self.answer()

    def turn(self, workload: str, seconds: float) -> list[float]:
        """Milliseconds of a call, in samples for about so many seconds."""
        self.ask("turn", workload, seconds)
        samples: list[float] = self.answer()
        return samples

    def ask(self, action: str, workload: str, *seconds: float) -> None:
        """Send a request of `worker.py`; each has one answer."""
        self.task = f"workload {workload}"
        with contextlib.suppress(OSError):  # it is dead, as its missing answer will show
            self.connection.send((action, workload, *seconds))

    def answer(self) -> Any:
        where = f"{self.tree.side}, {self.tree}: {self.task}"
        if not self.connection.poll(_PATIENCE_SECONDS):
            raise UserError(f"{where} has not answered for {_PATIENCE_SECONDS} s")
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            raise UserError(f"{where} fails: {self._failure()}") from None

    def _failure(self) -> str:
        """The last line of stderr, where there is one."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(_EXIT_SECONDS)
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        if lines:
            return textwrap.shorten(lines[-1], _LONGEST_REASON)
        code = self.popen.returncode
        if code is None:
            return "it closed its files"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def pair(first: Tree, second: Tree, suite_run: SuiteRun) -> Iterator[tuple[Process, Process]]:
    """A fresh process for each tree, both set up and ready for turns; gone at the end.

    Raises:
        UserError: the suite fails in one of them, or gives them different workloads.
    """
    with _started(first, suite_run) as a, _started(second, suite_run) as b:
        processes = a, b
        for process in processes:
            process.workloads = process.answer()
        if a.workloads != b.workloads:
            found = "; ".join(f"{process.tree.side}: {', '.join(process.workloads)}" for process in processes)
            raise UserError(f"suite {suite_run.suite} must have the same workloads for both; it has {found}")
        for workload in a.workloads:
            for process in processes:  # both set up at once
                process.ask("set_up", workload)
            for process in processes:
                process.answer()
        yield processes
        for process in processes:  # which ends it
            process.connection.close()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(_EXIT_SECONDS)


@contextmanager
def _started(tree: Tree, suite_run: SuiteRun) -> Iterator[Process]:
    """The process, in an empty folder and a session of its own. It does not outlive us: it ends with the connection."""
    environment = {**KEEPS_FREED_MEMORY, **os.environ, **suite_run.environment}
    if suite_run.threads:
        environment |= dict.fromkeys(_THREAD_VARIABLES, str(suite_run.threads))
        environment["MKL_DYNAMIC"] = "FALSE"  # else it, and with it torch, takes at most one thread a physical core
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(tree.path), os.environ.get("PYTHONPATH"))))
    ours, theirs = Pipe()
    argv = [sys.executable, "-P", str(_WORKER), str(tree.path), str(suite_run.suite), str(theirs.fileno())]
    with (
        ours,
        tempfile.TemporaryDirectory(dir=tree.path.parent, prefix="process-") as folder,
        tempfile.TemporaryFile() as errors,
    ):
        with theirs:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=folder,
                env=environment,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        try:
            yield Process(tree, popen, ours, errors, f"suite {suite_run.suite}")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it is gone, with all that it started
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
