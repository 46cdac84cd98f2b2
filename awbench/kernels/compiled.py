"""C that is compiled for this machine's processor when it is first used, and kept in the user's cache.

Triton and torch.compile do so too: a wheel that serves every processor would use none of them well. Where there is no
compiler, the rest of awbench works as ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from awbench.cache import cache_directory
from awbench.errors import UserError
from awbench.records import atomic
from awbench.records.environment import c_compiler, c_compiler_command, cpu_features
from awbench.system import open_regular

_OPTIONS = ("-std=gnu11", "-O3", "-shared", "-fPIC")
# Without these the code is right but slow. A compiler may lack OpenMP, as Apple's does, or not know the processor;
# its error message then contains one of these words.
_OPTIONAL = {"-march=native": ("march", "native"), "-fopenmp": ("openmp", "gomp", "libomp", "kmpc")}
_LIMIT_SECONDS = 30  # of a compiler that takes one

log = logging.getLogger("awbench.kernels")


class NotCompiled(Exception):
    """Why there is no library, as the end of a sentence about what would use it: "needs a C compiler, ..."."""


class NoCompiler(NotCompiled):
    """There is no compiler at all, as on many machines."""


def library(source: Path, functions: Sequence[str], *definitions: str) -> ctypes.CDLL:
    """The shared library of one C file: the one kept in the cache, or one compiled now, which is logged.

    Args:
        functions: that it must have.
        definitions: macros, e.g. "REAL=float".

    Raises:
        NoCompiler: there is no compiler.
        NotCompiled: compiling fails, or the library cannot be used.
    """
    compiler = _compiler()
    arguments = [*_OPTIONS, *(f"-D{definition}" for definition in definitions)]
    path = _path(source, [*compiler, c_compiler(c_compiler_command()), *arguments])
    content = _kept(path)
    if content is not None:
        return _load(content, functions)
    started = time.monotonic()
    optional, missing = list(_OPTIONAL), []
    while True:
        try:
            content = _compile([*compiler, *arguments, *optional], source)
            code = _load(content, functions)
            break
        except NotCompiled as error:
            message = str(error).lower()
            unknown = [option for option in optional if any(word in message for word in _OPTIONAL[option])]
            if not unknown:
                raise
            missing.append(optional.pop(optional.index(unknown[0])))
    seconds = time.monotonic() - started
    lacking = f" without {' and '.join(missing)}, which this compiler lacks" if missing else ""
    where = _keep(path, content)
    log.info("awbench: a kernel for this processor was compiled in %.1f s%s, %s", seconds, lacking, where)
    return code


def _compiler() -> list[str]:
    """The command of $CC, or cc.

    Raises:
        NoCompiler: it is not there.
    """
    wanted = c_compiler_command()
    try:
        command = shlex.split(wanted)
    except ValueError:  # a quotation that does not end
        command = []
    if not command or shutil.which(command[0]) is None:
        raise NoCompiler(f"needs a C compiler, and {wanted!r} is not one that can be run; set CC=COMPILER")
    return command


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a compiler, and end all that it started if it takes too long.

    Raises:
        NotCompiled: it cannot be run, or took too long.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise NotCompiled(f"needs a C compiler, and {command[0]!r} cannot be run: {error}") from None
    try:
        out, err = process.communicate(timeout=_LIMIT_SECONDS)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise NotCompiled(f"needs a C compiler, and {command[0]!r} did not end in {_LIMIT_SECONDS} s") from None
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _path(source: Path, command: list[str]) -> Path | None:
    """The compiled file's path in the cache, named by all that can change it; None where there is no cache."""
    digest = hashlib.sha256(source.read_bytes())
    for part in (*command, cpu_features()):
        digest.update(b"\0" + os.fsencode(part))
    try:
        return cache_directory() / "kernels" / f"{source.stem}-{digest.hexdigest()[:24]}.compiled"
    except UserError:
        return None


def _kept(path: Path | None) -> bytes | None:
    """What was kept there, after its digest; None where there is nothing, or, logged, nothing that can be trusted."""
    try:
        if path is None:
            return None
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:  # each is opened once: what is checked is what is read, and what is read is loaded
            with open_regular(path.name, folder) as file:
                if not _is_ours_alone(os.fstat(folder)) or not _is_ours(os.fstat(file.fileno())):
                    log.warning("awbench: the compiled %s is not used, for others could have written it", path)
                    return None
                digest, _, content = file.read().partition(b"\n")
        finally:
            os.close(folder)
    except OSError:
        return None
    if digest != _sha256(content):
        log.warning("awbench: the compiled %s is corrupt; it is compiled again", path)
        return None
    return content


def _keep(path: Path | None, content: bytes) -> str:
    """Write it to the cache; returns where it is kept or why it is not, for the log."""
    if path is None:
        return "not kept: there is no cache"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours_alone(path.parent.stat()):
            return f"not kept: others can write {path.parent}, and what lies there is executed"
        atomic.remove_stale_temporaries(path.parent)
        atomic.write_bytes(path, _sha256(content) + b"\n" + content)
    except OSError:
        return "not kept: the cache cannot be written"
    return f"kept in {path}"


def _is_ours_alone(status: os.stat_result) -> bool:
    return _is_ours(status) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid()


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _compile(command: list[str], source: Path) -> bytes:
    """The compiled file.

    Raises:
        NotCompiled: with the last error that the compiler printed.
    """
    with _temporary_folder() as folder:
        target = folder / "compiled.so"
        done = _run([*command, "-x", "c", str(source), "-o", str(target)])
        if done.returncode == 0 and target.is_file():
            return target.read_bytes()
    lines = done.stderr.strip().splitlines()
    errors = [line for line in lines if "error" in line.lower()] or lines
    last = errors[-1] if errors else f"exit code {done.returncode}"
    raise NotCompiled(f"needs a C compiler, and {command[0]!r} cannot compile {source.name}: {last}")


def _load(content: bytes, functions: Sequence[str]) -> ctypes.CDLL:
    """Load it from a file of this process alone: what was checked is what is loaded.

    Raises:
        NotCompiled: the system does not load it, or a function is missing.
    """
    with _temporary_folder() as folder:
        file = folder / "compiled.so"
        try:
            file.write_bytes(content)
            code = ctypes.CDLL(str(file))
            for name in functions:
                getattr(code, name)
        except (OSError, AttributeError) as error:
            hint = "where temporary files may not be executed, TMPDIR=DIR names another folder"
            raise NotCompiled(f"was compiled, but cannot be loaded: {error} ({hint})") from None
    return code


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="awbench-", ignore_cleanup_errors=True)
    except OSError as error:
        raise NotCompiled(f"needs a temporary folder to be compiled in: {error}; set TMPDIR=DIR") from None
    with folder as name:
        yield Path(name)
