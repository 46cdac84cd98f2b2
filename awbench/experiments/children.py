"""Processes that a sweep starts: stopped when it is asked to stop, and not there after it, however it ended."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from types import FrameType
from typing import Self

from awbench.errors import Stopped
from awbench.system import argv_that_ends_with_us, on_stop_signals
from awbench.text import plural

_POLL_SECONDS = 0.2


class Children:
    """A context in which signals that ask to stop are passed on, as SIGTERM: each child saves itself and ends.

    A second Ctrl-C does not wait for that. On leaving, all have ended.

    Args:
        on_progress: called with a line when it is asked to stop.

    Attributes:
        asked_by: number of the signal; 0 for none.

    Raises:
        KeyboardInterrupt, Stopped: on leaving, as the signal asked.
    """

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self.on_progress = on_progress
        self.asked_by = self.hurry = 0
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()  # between asking and starting one more

    def __enter__(self) -> Self:
        self._signals = on_stop_signals(self._ask)
        self._signals.__enter__()
        return self

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.hurry = signum == signal.SIGINT == self.asked_by
        self.asked_by = self.asked_by or signum

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._signals.__exit__(None, None, None)
        if kind is None and self.asked_by:
            raise KeyboardInterrupt if self.asked_by == signal.SIGINT else Stopped(self.asked_by)

    def run(self, argv: Sequence[str], log: Path, environment: dict[str, str]) -> int:
        """Run a command to its end, in any thread; returns its exit code, at once if it is asked to stop already."""
        with log.open("ab") as file:
            with self._lock:
                if self.asked_by:
                    return -self.asked_by
                command = argv_that_ends_with_us(list(argv))
                child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)
                self._running.add(child)
            try:
                return child.wait()
            finally:
                with self._lock:
                    self._running.discard(child)

    def wait_for(self, futures: Sequence[Future[None]]) -> None:
        """Wait in the main thread, which signals reach, for what runs children in others; raises what they raise."""
        told: set[subprocess.Popen[bytes]] = set()
        while pending := wait(futures, timeout=_POLL_SECONDS).not_done:
            if not self.asked_by:
                continue
            for future in pending:
                future.cancel()
            with self._lock:
                running = set(self._running)
            if running - told:
                self.on_progress(f"stopping: {plural(len(running), 'run')} to save first (Ctrl-C again does not wait)")
            for child in running - told:
                child.terminate()
            told |= running
            if self.hurry:
                for child in running:
                    child.kill()
        for future in futures:
            if not future.cancelled():
                future.result()
