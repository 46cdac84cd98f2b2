"""Where things that are made once for a user are kept."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from awbench.errors import UserError
from awbench.system import NO_LOCKS

_LOG = logging.getLogger(__name__)


def cache_directory() -> Path:
    """The user's cache: $AWBENCH_CACHE, $XDG_CACHE_HOME/awbench or ~/.cache/awbench.

    Raises:
        UserError: there is none of these.
    """
    chosen = os.environ.get("AWBENCH_CACHE")
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "awbench")
    try:
        return folder.expanduser().resolve()
    except RuntimeError:
        raise UserError("there is no home folder for awbench's cache; set AWBENCH_CACHE=DIR") from None


@contextlib.contextmanager
def one_downloads(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made, while something is downloaded into it; another process waits, and says so.

    Raises:
        OSError: it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock: BaseFileLock = FileLock(folder / ".download.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            lock = SoftFileLock(folder / ".download.lock-without-flock")
            lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("awbench: waiting for another process that downloads into %s, as %s says", folder, lock.lock_file)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
