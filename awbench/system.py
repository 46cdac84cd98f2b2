"""What the operating system says of this process: cores it may use, signals that ask it to stop, its parent's life.

As a program it starts a command that does not outlive its parent: `python -m awbench.system PARENT_PID COMMAND...`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import io
import math
import os
import re
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from awbench.errors import UserError

_CHECKOUT = Path(__file__).resolve().parent.parent
_REMEDIES = (
    ("make detectron2", "pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2"),
)  # fmt: skip
# Ctrl-C; what torchrun, Slurm and containers send; a terminal that is closed.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# What the environment may say of how OpenMP's threads wait for work; and for how long ours spin, a fraction of 1 ms.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SPINS = 10_000

# What flock fails with where there are no locks, as on network file systems without a lock service.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def said_here(text: str) -> str:
    """The text; where the package was installed without its repository, with what stands in place of make targets."""
    if (_CHECKOUT / "Makefile").is_file() and (_CHECKOUT / "pyproject.toml").is_file():
        return text
    for target, remedy in _REMEDIES:
        text = text.replace(target, remedy)
    return text


@contextlib.contextmanager
def on_stop_signals(
    handler: Callable[[int, FrameType | None], None],
    replaces: Callable[[Any], bool] = lambda before: before != signal.SIG_IGN,
) -> Iterator[None]:
    """A context in which `handler` is called on STOP_SIGNALS; in threads, which signals do not reach, it does nothing.

    Args:
        replaces: whether it takes the place of a signal's present handler. What is ignored stays so, as under nohup.
    """
    found = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    if threading.current_thread() is not threading.main_thread():
        found = {}
    before = {number: earlier for number, earlier in found.items() if replaces(earlier)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def available_cores() -> int:
    """Cores that this process may keep busy: by its affinity (cpusets limit it too) and its cgroups' CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _cpu_quotas(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))]))


def loading_processes(processes: int) -> int:
    """Of each of so many processes that train on GPUs side by side: their share of the cores but one, 1 to 8."""
    return max(1, min(8, available_cores() // processes - 1))


def _cpu_quotas(membership: Path, mount: Path) -> Iterator[float]:
    """The CPU time per second that each cgroup on the way up from this process's own allows, versions 1 and 2.

    Args:
        membership: a file of lines "hierarchy:controllers:path", see cgroups(7).
        mount: where the hierarchies are mounted. In a container a path may be the host's: then the mount has its own.
    """
    try:
        lines = membership.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        own = Path(path.lstrip("/"))
        for top in {mount / controllers, mount / "cpu"} if controllers else {mount}:  # the order of their names varies
            for group in (own, *own.parents):
                if (quota := _quota(top / group)) is not None:
                    yield quota


def _quota(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no limit: there is no such file, "max", or -1
        return None


# Of `git rev-parse --local-env-vars`, those that name a repository: in a hook, the one that the hook is of.
_GIT_REPOSITORY = {
    "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_CONFIG", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE",
    "GIT_IMPLICIT_WORK_TREE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS", "GIT_INTERNAL_SUPER_PREFIX",
}  # fmt: skip


def git_environment() -> dict[str, str]:
    """The environment of a git command on the repository around its folder; git's messages are in English."""
    kept = {name: value for name, value in os.environ.items() if name not in _GIT_REPOSITORY}
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}  # git status would write the index anew


def open_regular(path: str | Path, folder: int | None = None) -> io.BufferedReader:
    """Open a file to be read; a FIFO or a device, which may give no end or nothing at all, is an error.

    Args:
        folder: a descriptor of the folder that the path begins at; None for the current one.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_held(path: Path) -> bool | None:
    """Whether a process holds a file by flock, which ends with the process; None where that cannot be told."""
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno == errno.EWOULDBLOCK else None
    return False


def spin_briefly() -> None:
    """Let OpenMP's threads wait for work asleep after SPINS rounds; call it before torch is imported.

    By default they spin for milliseconds, which takes a core from any work beside this process and makes this one wait
    for its own threads (benchmarks/spinning.py). What the environment says stays.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, where its C library is glibc; whether it does.

    Else glibc gives large blocks back to the system and gets them anew, page by page, at some calls of a network and
    not at others: a CPU's times then depend on what else lies in memory, by a half. For processes that measure.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of <malloc.h>
    return mallopt is not None and bool(mallopt(trim_threshold, -1)) and bool(mallopt(mmap_max, 0))


# The same for a process that is to be started, unless the variables are set already.
KEEPS_FREED_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**62), "MALLOC_MMAP_MAX_": "0"}


def die_with_parent(how: signal.Signals, parent: int | None = None) -> None:
    """Let this process get a signal when the thread that started it ends, even by SIGKILL. Does nothing but on Linux.

    Args:
        parent: the process that started it: if that is gone already, the signal comes now.
    """
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
    ctypes.CDLL(None).prctl(set_parent_death_signal, int(how))
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), how)


def argv_that_ends_with_us(argv: list[str]) -> list[str]:
    """A command that gets SIGTERM when this process's thread that starts it ends, however that ends."""
    return [sys.executable, "-m", "awbench.system", str(os.getpid()), *argv]


def rank_and_size() -> tuple[int, int]:
    """(rank, number of processes) of this process among those that a launcher started; (0, 1) where none did.

    Raises:
        UserError: the launcher's variables are not all there, or are no numbers that go together.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        return 0, 1
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"WORLD_SIZE={size} is set, but {' and '.join(missing)} not: a launcher such as torchrun sets all of them; "
            "unset WORLD_SIZE to run alone"
        )
    rank = _number("RANK", 0)
    if not 0 <= rank < size:
        raise UserError(f"RANK={rank} is not a rank of WORLD_SIZE={size} processes, 0 to {size - 1}")
    return rank, size


def stray_rank() -> str:
    """A line on a RANK that another program has left in the environment, "" for none."""
    rank = os.environ.get("RANK", "0")
    stray = _number("WORLD_SIZE", 1) == 1 and rank != "0"
    return f"RANK={rank} is ignored: WORLD_SIZE, which a launcher sets beside it, names no other process" * stray


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < default:
        raise UserError(f"{variable}={text} is not a number of {default} or more; unset it to run alone")
    return int(text)


if __name__ == "__main__":
    die_with_parent(signal.SIGTERM, int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
