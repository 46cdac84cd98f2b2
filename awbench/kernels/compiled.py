"""C compiled for this machine's processor when it is first wanted, and kept in the user's cache.

As Triton does, and torch.compile: a wheel that serves every processor would use none of them well. Where there is no
compiler, nothing else of awbench is missing.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from awbench.cache import cache_directory
from awbench.errors import UserError
from awbench.records import atomic
from awbench.records.environment import cpu_features

_OPTIONS = ("-std=gnu11", "-O3", "-shared", "-fPIC")
# A compiler may lack OpenMP, as Apple's does, or not know the processor: then slower code is better than none.
_WISHES: tuple[tuple[str, ...], ...] = (("-march=native", "-fopenmp"), ("-fopenmp",), ("-march=native",), ())
_LIMIT_SECONDS = 120

log = logging.getLogger("awbench.kernels")


class NotCompiled(Exception):
    """Why there is no library, in words that follow the name of what needs it: "needs a C compiler, ..."."""


def library(source: Path, *definitions: str) -> ctypes.CDLL:
    """The shared library of one C file; asked for again, what was found the first time.

    Args:
        definitions: macros, e.g. "REAL=float".

    Raises:
        NotCompiled: no compiler, or what it said.
    """
    found = _attempt(source, *definitions)
    if isinstance(found, str):
        raise NotCompiled(found)
    return found


@functools.cache
def _attempt(source: Path, *definitions: str) -> ctypes.CDLL | str:
    try:
        return _kept_or_compiled(source, *definitions)
    except NotCompiled as error:
        return str(error)


def _kept_or_compiled(source: Path, *definitions: str) -> ctypes.CDLL:
    compiler = _compiler()
    arguments = [*_OPTIONS, *(f"-D{definition}" for definition in definitions)]
    path = _path(source, [*compiler, _version(compiler), *arguments])
    content = _kept(path)
    if content is None:
        started = time.monotonic()
        content = _compile(compiler, arguments, source)
        _keep(path, content, time.monotonic() - started)
    return _load(content)


def _compiler() -> list[str]:
    """The words of $CC, or cc.

    Raises:
        NotCompiled: it is not there.
    """
    wanted = os.environ.get("CC") or "cc"
    try:
        words = shlex.split(wanted)
    except ValueError:  # a quotation that does not end
        words = []
    if not words or shutil.which(words[0]) is None:
        raise NotCompiled(f"needs a C compiler, and {wanted!r} is not one that can be run; set CC=COMPILER")
    return words


def _version(compiler: list[str]) -> str:
    try:
        run = subprocess.run([*compiler, "--version"], capture_output=True, text=True, timeout=_LIMIT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotCompiled(f"needs a C compiler, and {shlex.join(compiler)!r} fails: {error}") from None
    return run.stdout


def _path(source: Path, words: list[str]) -> Path | None:
    """Of a compiled file in the cache, under all that can change it; None where there is no cache."""
    digest = hashlib.sha256(source.read_bytes())
    for word in (*words, cpu_features()):
        digest.update(b"\0" + word.encode())
    try:
        return cache_directory() / "kernels" / f"{source.stem}-{digest.hexdigest()[:24]}.compiled"
    except UserError:
        return None


def _kept(path: Path | None) -> bytes | None:
    """What was kept there, behind its digest; None where there is nothing, or something else, which is said."""
    try:
        file = path.read_bytes() if path else None
    except OSError:
        return None
    if file is None:
        return None
    digest, _, content = file.partition(b"\n")
    if digest != _sha256(content):
        log.warning("awbench: the compiled %s is corrupt; it is compiled again", path)
        return None
    return content


def _keep(path: Path | None, content: bytes, seconds: float) -> None:
    where = "not kept: the cache cannot be written"
    if path is not None:
        try:
            atomic.remove_stale_temporaries(path.parent)
            atomic.write_bytes(path, _sha256(content) + b"\n" + content)
            where = f"kept in {path}"
        except OSError:
            pass
    log.warning("awbench: a kernel for this processor was compiled in %.1f s, %s", seconds, where)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _compile(compiler: list[str], arguments: list[str], source: Path) -> bytes:
    """The compiled file, with as many of the wishes as the compiler can fulfil.

    Raises:
        NotCompiled: what it said last.
    """
    with tempfile.TemporaryDirectory(prefix="awbench-") as folder:
        target = Path(folder, "compiled.so")
        for wishes in _WISHES:
            words = [*compiler, *arguments, *wishes, str(source), "-o", str(target)]
            try:
                run = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_SECONDS)
            except (OSError, subprocess.SubprocessError) as error:
                raise NotCompiled(f"needs a C compiler, and {shlex.join(compiler)!r} fails: {error}") from None
            if run.returncode == 0 and target.is_file():
                return target.read_bytes()
    said = (run.stderr.strip() or f"exit code {run.returncode}").splitlines()[-1]
    raise NotCompiled(f"needs a C compiler, and {shlex.join(compiler)!r} cannot compile {source.name}: {said}")


def _load(content: bytes) -> ctypes.CDLL:
    """From a file of this process alone: what was checked is what is loaded.

    Raises:
        NotCompiled: the system refuses it, as where temporary files may not be executed.
    """
    with tempfile.TemporaryDirectory(prefix="awbench-") as folder:
        file = Path(folder, "compiled.so")
        try:
            file.write_bytes(content)
            return ctypes.CDLL(str(file))
        except OSError as error:
            raise NotCompiled(f"cannot be loaded: {error} (TMPDIR=DIR names another folder)") from None
