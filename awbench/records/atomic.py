"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import BinaryIO

from awbench.system import is_held

_TEMPORARY_SUFFIX = ".partial"
_LOCKED_SUFFIX = ".locked" + _TEMPORARY_SUFFIX  # its writer holds it by flock; older versions did not
_STALE_SECONDS = 3600


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` so that a kill at any instant leaves either the old file or the new one, complete.

    What a killed writer has left beside it is removed.

    A link stays one: the file that it names is written.

    Raises:
        OSError: the disk is full or the folder cannot be written, the old file is intact; or there is something that is
            no regular file, as a folder or a device.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file; name another", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_LOCKED_SUFFIX}")
    try:
        with _create_locked(temporary) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)  # while it is held
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):  # that of a full disk names no file
            error.filename = str(path)
        raise
    _sync_directory(path.parent)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` in UTF-8; what is no character, as in the name of a file that is no UTF-8, as its code."""
    write_bytes(path, content.encode(errors="backslashreplace"))


def _create_locked(path: Path) -> BinaryIO:
    while True:
        file = open(path, "xb")  # noqa: SIM115  # the caller's context
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # else it was taken for a dead writer's, between the two calls
            return file
        file.close()


def _sync_directory(directory: Path) -> None:
    """Make the new name itself survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_stale_temporaries(directory: Path) -> None:
    """Remove what killed writers left behind: files that nobody holds; where that cannot be told, an hour old ones."""
    for temporary in directory.glob(f".*{_TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            held = is_held(temporary) if temporary.name.endswith(_LOCKED_SUFFIX) else None
            stale = time.time() - temporary.stat().st_mtime > _STALE_SECONDS if held is None else not held
            if stale:
                temporary.unlink()
