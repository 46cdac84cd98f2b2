"""The fingerprint of where a measurement was made."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from awbench.module_files import code_of

_PACKAGE = Path(__file__).resolve().parent.parent
_SOURCE = (".py", ".c")


def environment() -> dict[str, Any]:
    """Versions, device and threads, as plain JSON values; what cannot be found out is "unknown"."""
    import torch

    cuda = torch.cuda.is_available()
    commit, dirty = git_state()
    return {
        "awbench": package_version("awbench"),
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": package_version("torchvision"),
        "fvcore": package_version("fvcore"),
        "cuda": torch.version.cuda or "none",
        "cudnn": str(torch.backends.cudnn.version() or "none"),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "cpu": cpu_name(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "c_compiler": c_compiler(c_compiler_command()),
    }


def package_version(package: str) -> str:
    """The installed version, or "unknown"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@functools.cache
def cpu_name() -> str:
    """The processor's model name, or "unknown"."""
    return _of_cpu("model name") or platform.processor() or "unknown"


@functools.cache
def cpu_features() -> str:
    """The processor's name and instruction sets, as far as the system tells: other ones may need other code."""
    return " ".join((platform.machine(), cpu_name(), _of_cpu("flags") or _of_cpu("Features")))


def _of_cpu(name: str) -> str:
    """The first value under this name in /proc/cpuinfo, or ""."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def c_compiler_command() -> str:
    """$CC, or cc."""
    return os.environ.get("CC") or "cc"


@functools.cache
def c_compiler(command: str) -> str:
    """What it calls itself, or "none": of the compiler depends which AW strategies a CPU has."""
    try:
        words = [*shlex.split(command), "--version"]
        run = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=30)
    except (OSError, ValueError, subprocess.SubprocessError):
        return "none"
    return (run.stdout.strip() or "unknown").splitlines()[0]


@functools.cache
def git_state() -> tuple[str, bool | str]:
    """(commit, has uncommitted changes) of the checkout this package runs from; "unknown" outside one."""
    try:
        # A package installed inside somebody else's checkout must not report that checkout's commit.
        _git("ls-files", "--error-unmatch", "__init__.py")
        return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return "unknown", "unknown"


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=_PACKAGE, capture_output=True, text=True, check=True, timeout=30)
    return run.stdout.strip()


@functools.cache
def source_digest(*parts: str) -> str:
    """sha256 of the package's own source under `parts` (files or folders): it changes when the code does."""
    digest = hashlib.sha256()
    for path in _source_files(parts):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def training_source_digest(task: str) -> str:
    """Of the code that computes a training of a task; comments and docstrings are not code.

    The loop around it is not in it: `awbench.recipes.PROTOCOLS` counts its changes that change a result.
    """
    digest = hashlib.sha256()
    engines = ("backbone.py", "detectron2.py", "engine.py", "torchvision.py")
    parts = ["attention", "kernels", "models/resnet.py", "tasks/transforms.py", f"tasks/{task}.py"]
    parts += [f"detection/{name}" for name in engines] if task == "detection" else []
    for path in _source_files(parts):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0")
        digest.update(code_of(path).encode() + b"\0")
    return digest.hexdigest()


def complexity_source_digest() -> str:
    """Of the source whose change can change a count."""
    return source_digest(
        "variants.py", "architectures.py", "attention", "kernels", "models/resnet.py", "measure/complexity.py",
        "measure/fvcore_counter.py", "measure/layers.py",
        *(f"detection/{name}.py" for name in ("backbone", "complexity", "detectron2", "engine", "torchvision")),
    )  # fmt: skip


def latency_source_digest() -> str:
    """Of the source whose change can change a latency."""
    return source_digest(
        "variants.py", "architectures.py", "attention", "kernels", "models/resnet.py", "measure/latency.py",
        "measure/timing.py",
        *(f"detection/{name}.py" for name in ("backbone", "detectron2", "engine", "latency", "torchvision")),
    )  # fmt: skip


def _source_files(parts: Iterable[str]) -> list[Path]:
    files: list[Path] = []
    for part in parts:
        path = _PACKAGE / part
        files += sorted(file for file in path.rglob("[!.]*") if file.suffix in _SOURCE) if path.is_dir() else [path]
    return files
