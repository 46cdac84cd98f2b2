"""The fingerprint of where a measurement was made."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from awbench.module_files import code_of
from awbench.records.clock import now
from awbench.system import available_cores, git_environment

_LOG = logging.getLogger(__name__)
_CPUINFO = Path("/proc/cpuinfo")
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
        "usable_cores": available_cores(),
        "threads": torch.get_num_threads(),
        "c_compiler": c_compiler(c_compiler_command()),
    }


def begin() -> str:
    """To be called before what is to be recorded: the time now; the record will have the commit of now."""
    git_state()
    return now()


def package_version(package: str) -> str:
    """The installed version, or "unknown"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@functools.cache
def cpu_name() -> str:
    """The processor's model name, or "unknown"; of ARM's with what tells its cores apart where that has no name."""
    if cores := _arm_cores():
        return f"{_model_by_tool() or 'ARM'} ({cores})"
    return next(iter(_of_cpu("model name")), "") or _model_by_tool() or "unknown"


@functools.cache
def cpu_identity() -> str:
    """The same for processors of one model; what has no name is only itself."""
    name = cpu_name()
    return f"unknown, of {platform.node()}" if name == "unknown" else name


@functools.cache
def cpu_features() -> str:
    """The processor's identity and instruction sets, as far as the system tells: other ones may need other code."""
    return " ".join((platform.machine(), cpu_identity(), *[*_of_cpu("flags"), *_of_cpu("Features")][:1]))


def _of_cpu(name: str) -> list[str]:
    """The values under this name in /proc/cpuinfo, each once."""
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return list(dict.fromkeys(value.strip() for key, _, value in pairs if key.strip() == name))


def _arm_cores() -> str:
    """E.g. "0x41 0xd0c r3p1", or several of a processor with unlike cores; "" for another processor's."""
    names = ("implementer", "part", "variant", "revision")
    implementer, part, variant, revision = ("/".join(_of_cpu(f"CPU {name}")) for name in names)
    return f"{implementer} {part} r{variant.removeprefix('0x')}p{revision}" if implementer else ""


def _model_by_tool() -> str:
    """What lscpu, or on macOS sysctl, calls it, or ""."""
    command = ["sysctl", "-n", "machdep.cpu.brand_string"] if sys.platform == "darwin" else ["lscpu"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=30, env={**os.environ, "LC_ALL": "C"})
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    if sys.platform == "darwin":
        return run.stdout.strip()
    pairs = (line.partition(":") for line in run.stdout.splitlines())
    found = dict.fromkeys(value.strip() for key, _, value in pairs if key.strip() == "Model name")
    return " + ".join(name for name in found if name not in ("", "-"))


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
    """(commit, has uncommitted changes) of the checkout this package runs from; "unknown" outside one.

    As it was when it was first asked, which `begin` does: it may change before a run ends, not what runs.
    """
    try:
        # A package installed inside somebody else's checkout must not report that checkout's commit.
        _git("ls-files", "--error-unmatch", "__init__.py")
        return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError) as error:
        if "dubious ownership" in str(getattr(error, "stderr", "")):
            _LOG.warning(
                "awbench: %s belongs to somebody else, so git does not tell its commit, and records will not "
                "have it; git config --global --add safe.directory DIR of the checkout allows it",
                _PACKAGE,
            )
        return "unknown", "unknown"


def _git(*arguments: str) -> str:
    run = subprocess.run(
        ["git", *arguments], cwd=_PACKAGE, env=git_environment(), capture_output=True, check=True, timeout=30,
        encoding="utf-8", errors="replace",  # names of files may be of any bytes
    )  # fmt: skip
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
        found = (file.relative_to(path) for file in path.rglob("*") if file.suffix in _SOURCE)
        shown = (file for file in found if not any(name.startswith(".") for name in file.parts))  # an editor's are not
        files += sorted(path / file for file in shown) if path.is_dir() else [path]
    return files
