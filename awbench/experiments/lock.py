"""One training to a folder. The lock is the system's, which ends with its process; where there is none, a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import SoftFileLock, Timeout

from awbench.errors import Preempted, UserError
from awbench.records.clock import now
from awbench.system import NO_LOCKS

_NAME, _SOFT_NAME = ".lock", ".lock-without-flock"
_ATTEMPTS, _PAUSE_SECONDS = 10, 0.05  # `holder` holds it for an instant
_BUSY = (errno.EWOULDBLOCK, errno.EACCES)


class BusyError(Preempted):
    """Another process is training this very run: try again later."""


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a run's folder.

    Raises:
        BusyError: another process holds it; says which.
        UserError: it cannot be locked; says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for attempt in range(_ATTEMPTS):
            if _acquire(folder, stack):
                break
            if attempt == _ATTEMPTS - 1:
                raise BusyError(f"{folder} is being trained by {_owner(folder)}; later, run the same command again")
            time.sleep(_PAUSE_SECONDS)
        (folder / _NAME).write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": now()}))
        yield


def holder(folder: Path) -> str | None:
    """Who is training in that folder, in words; None for nobody.

    Raises:
        UserError: as `only_one`.
    """
    if not (folder / _NAME).exists():
        return None
    with contextlib.ExitStack() as stack:
        return None if _acquire(folder, stack) else _owner(folder)


def _acquire(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Take the lock until the stack is closed; False where another has it."""
    path = folder / _NAME
    if path.exists() and not path.is_file():  # a FIFO would be waited for
        raise UserError(f"{path} is not a regular file; delete it")
    file = stack.enter_context(path.open("a"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in _BUSY:
            return False
        if error.errno not in NO_LOCKS:
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            raise UserError(
                f"{path} cannot be locked ({name}: {error.strerror}): a run has one process only if its folder can; "
                "give --results, or --output, on another file system"
            ) from None
    try:  # filelock tells a dead owner on the same host
        stack.enter_context(SoftFileLock(folder / _SOFT_NAME).acquire(timeout=0))
        return True
    except Timeout:
        return False


def _owner(folder: Path) -> str:
    """The process that holds the lock, as it has written."""
    try:
        found = json.loads((folder / _NAME).read_text())
        who = f"process {int(found['pid'])} on {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # it is about to write, or is an older version
        who = "another process"
    soft = folder / _SOFT_NAME
    return f"{who} (if that is gone, delete {soft})" if soft.exists() else who
