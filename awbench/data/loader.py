"""Batches from loading processes, whose failures are one line."""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import multiprocessing.queues
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess as Process
from typing import Any

import torch

from awbench.data.datasets import ImageDecodeError
from awbench.data.views import collate
from awbench.errors import UserError
from awbench.system import STOP_SIGNALS, die_with_parent

_LOG = logging.getLogger(__name__)


class LoaderError(UserError):
    """Loading processes failed: one was killed, or what they load does not arrive."""


class Loader:
    """A DataLoader's batches, whose loading processes fail as one line, and only where a batch is waited for.

    An image that a loading process cannot decode is the same error as without such processes.

    Args:
        view: addressed by (epoch, index).
        order: yields lists of such keys; batches come in its order, whatever the number of workers.
        collate: makes a batch of what the view gave for one of those lists.
        prefetch: batches that each loading process has ready; they lie in /dev/shm.

    Attributes:
        silence_seconds: without a batch, after which a line says so.
        most_silences: of them in a row, after which it is an error. Not one longer silence: a process that was
            stopped (Ctrl-Z) has waited for nobody.
    """

    silence_seconds = 60
    most_silences = 10

    def __init__(
        self,
        view: Any,
        order: Any,
        workers: int,
        pin_memory: bool,
        collate: Callable[[Any], Any] = collate,
        prefetch: int = 4,
    ) -> None:
        self.workers = workers
        begin = None
        if workers:
            self.reports, sender = multiprocessing.Pipe(duplex=False)
            begin = functools.partial(_begin_worker, sender)
        self.loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
            view,  # a map-style dataset whose keys are (epoch, index)
            batch_sampler=order,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin_memory,
            prefetch_factor=prefetch if workers else None,
            timeout=self.silence_seconds if workers else 0,
            worker_init_fn=begin,
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if not self.workers:
            yield from self.loader
            return
        before = set(multiprocessing.active_children())
        try:
            multiprocessing.Lock()  # where none can be made, a DataLoader leaves itself half made, and a traceback
            with _stop_signals_blocked():  # in the loading processes they stay blocked
                batches = iter(self.loader)
        except (OSError, ImportError) as error:
            raise self._error(f"{self.workers} loading processes cannot be started: {error}") from None
        processes = set(multiprocessing.active_children()) - before
        deaths = _deaths_of_workers()
        try:
            while (batch := self._next(batches, processes, deaths)) is not None:
                yield batch
        except LoaderError:
            for process in processes:  # none of them is of use any more, and one may not listen
                process.kill()
            raise

    def _next(self, batches: Iterator[Any], processes: set[Process], deaths: _Deaths) -> Any:
        """The next batch; None after the last."""
        silences = 0
        while True:
            try:
                with deaths.reported():
                    return next(batches, None)
            except ImageDecodeError as error:  # a worker's comes with its whole traceback as the message
                last = str(error).strip().splitlines()[-1]
                raise ImageDecodeError(last.partition("ImageDecodeError: ")[2] or last) from None
            except (RuntimeError, OSError, EOFError) as error:
                if "in DataLoader worker process" in str(error):  # raised by the view: a defect, with its traceback
                    raise
                if "timed out after" not in str(error):
                    raise self._error(f"a loading process {self._reason(error, processes)}") from None
            silences += 1
            seconds = silences * self.silence_seconds
            if silences >= self.most_silences:
                raise self._error(f"no batch came from {self.workers} loading processes for {seconds} s")
            _LOG.warning("awbench: waiting for loading processes: no batch for %d s", seconds)

    def _reason(self, error: Exception, processes: set[Process]) -> str:
        if self.reports.poll():
            return f"cannot send its batch: {self.reports.recv()}"
        wait([process.sentinel for process in processes], timeout=1)  # what it had opened is closed before it has ended
        codes = [process.exitcode for process in processes if process.exitcode]
        if codes:
            code = codes[0]
            return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"failed: {lines[-1] if lines[0].startswith('Caught ') else lines[0]}"  # by the thread that pins memory

    def _error(self, what: str) -> LoaderError:
        return LoaderError(
            f"{what}; they need memory, and space in /dev/shm{_free_space('/dev/shm')}: give more (a container's "
            "--shm-size), or use fewer --workers; --workers 0 needs none"
        )


def _free_space(folder: str) -> str:
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return f" ({error.strerror})"
    return (
        f" ({found.f_bavail * found.f_frsize / 2**20:,.1f} of {found.f_blocks * found.f_frsize / 2**20:,.1f} MiB free)"
    )


def _begin_worker(sender: Connection, worker: int) -> None:
    """What a loading process does first: it heeds its parent alone, and ends when it cannot send.

    A signal to the whole process group asks the training to stop, which still needs its batches. Without the hook a
    batch that cannot be sent is lost, and waited for without end.
    """
    die_with_parent(signal.SIGKILL)
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        threading.Thread(target=_heed_parent_alone, args=(os.getppid(),), daemon=True).start()

    def cannot_send(error: BaseException, item: Any) -> None:
        sender.send(f"{type(error).__name__}: {error}"[:1000])
        os._exit(1)

    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(cannot_send)  # type: ignore[attr-defined]


def _heed_parent_alone(parent: int) -> None:
    while sys.platform == "linux":
        if signal.sigwaitinfo(STOP_SIGNALS).si_pid == parent:  # the DataLoader's `terminate`
            os._exit(0)


@contextlib.contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Deaths:
    """The handler of SIGCHLD. torch's raises a worker's death wherever the main thread is: in the middle of a step."""

    def __init__(self, report: Any) -> None:
        self.report, self.wanted = report, False

    def __call__(self, signum: int, frame: Any) -> None:
        if self.wanted and callable(self.report):
            self.report(signum, frame)

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Raise deaths inside, those of before too."""
        self.wanted = True
        try:
            self(signal.SIGCHLD, None)
            yield
        finally:
            self.wanted = False


def _deaths_of_workers() -> _Deaths:
    """The process's handler, put before torch's the first time."""
    found = signal.getsignal(signal.SIGCHLD)
    if isinstance(found, _Deaths):
        return found
    deaths = _Deaths(found)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, deaths)
    return deaths
