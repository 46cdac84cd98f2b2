"""Install detectron2, which is not on PyPI: `make detectron2`, or `python -m awbench.detection.install`.

A pinned commit is built once, into a wheel that is kept in the user's cache and that later environments
install. The version of that wheel names all that its compiled extension depends on beyond Python and the
platform, which every wheel's name ends with:

    detectron2-0.6+g02b5c4e...8833.torch2.14.1.cu130.cpu-cp311-cp311-linux_x86_64.whl

Where a GPU and nvcc are found, detectron2 compiles its CUDA kernels too; CUDA_VISIBLE_DEVICES= prevents it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from awbench.cache import cache_directory
from awbench.cli.common import Parser, say
from awbench.errors import UserError
from awbench.records.atomic import write_bytes

URL = "https://github.com/facebookresearch/detectron2"
COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"
# detectron2.model_zoo imports pkg_resources, which setuptools 82 removed; setuptools names <81 as the pin.
SETUPTOOLS = "setuptools<81"

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
_PROBE = "import detectron2, detectron2._C, detectron2.model_zoo"
_PROGRESS_SECONDS = 10.0
_ERROR = re.compile(r"(^|: )[\w. ]*(error|fatal): ", re.IGNORECASE)
# Lines of pip, setuptools and torch that only say that there was an error above.
_ECHO = re.compile("subprocess-exited|Failed (to build|building)|Error compiling|returned non-zero|command .* failed")


@dataclass(frozen=True)
class Source:
    """Where detectron2 comes from.

    Attributes:
        kind: "url" and "git" (repositories), "folder" or "wheel".
        location: the URL or the path.
        revision: "g" and the commit; of a folder "src" and a digest of its files; of a wheel not known.
    """

    kind: str
    location: str
    revision: str = ""


def installed_commit() -> str | None:
    """The commit that the installed detectron2 was built from; None without one, or when it does not say."""
    version = _installed_version()
    match = re.match(r"g([0-9a-f]{40})\b", version.local or "") if version else None
    return match[1] if match else None


def read_source(location: str, commit: str | None = None) -> Source:
    """What `location` is, and what of it is to be built.

    Raises:
        UserError: nothing is there, it cannot be built, or `commit` is not the full name of a commit.
    """
    if commit is not None and not re.fullmatch("[0-9a-f]{40}", commit):
        raise UserError(f"--commit {commit} is not the full name of a commit: 40 hexadecimal digits, such as {COMMIT}")
    revision = f"g{commit or COMMIT}"
    if re.match(r"[a-z+]+://|[\w.-]+@[\w.-]+:", location):
        return Source("url", location, revision)
    path = Path(location).expanduser().resolve()
    if not path.exists():
        raise UserError(
            f"{location} does not exist; detectron2's source is a git URL or folder, a source folder or a wheel"
        )
    if (path / ".git").exists():
        return Source("git", str(path / ".git"), revision)
    if (path / "HEAD").is_file() and (path / "objects").is_dir():
        return Source("git", str(path), revision)
    if commit is not None:
        raise UserError(f"--commit {commit} needs a git repository; {location} is none")
    if path.suffix == ".whl":
        return Source("wheel", str(path))
    if (path / "setup.py").is_file():
        return Source("folder", str(path), f"src{_digest(path)}")
    raise UserError(f"{location} is not detectron2's source: no git repository, no folder with setup.py, no wheel")


def build_label(revision: str) -> str:
    """What a build depends on beyond Python and the platform: the code, torch, and CPU or CUDA.

    Raises:
        UserError: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"torch, which detectron2 is compiled against, is not installed in {sys.prefix}: {error}"
        ) from None
    words = f"{revision}.torch{torch.__version__}.{_accelerator()}"
    return str(Version(f"0+{re.sub('[^a-z0-9]+', '.', words.lower())}").local)


def cached_wheel(label: str) -> Path | None:
    """The wheel of that label in the cache that fits this Python and platform."""
    for path in sorted((cache_directory() / "wheels").glob("detectron2-*.whl")):
        with contextlib.suppress(InvalidWheelFilename):
            _, version, _, tags = parse_wheel_filename(path.name)
            if version.local == label and not tags.isdisjoint(sys_tags()):
                return path
    return None


def install(source: Source, pip_options: Sequence[str] = (), force: bool = False) -> str:
    """Install detectron2 and what it depends on: from the cached wheel, else from one built now.

    Args:
        pip_options: for `pip install`, e.g. a constraints file or an index.
        force: build and install even if there is no need to.

    Returns:
        A sentence on what is installed now.

    Raises:
        UserError: something is missing, cannot be reached or does not compile; nothing half-made is kept.
    """
    with _alone():
        log = cache_directory() / "detectron2.log"
        log.unlink(missing_ok=True)
        if source.kind == "wheel":
            wheel, origin = Path(source.location), f"from {source.location}"
        else:
            label = build_label(source.revision)
            installed = _installed_version()
            if not force and installed and installed.local == label:
                problem = _problem()
                if problem is None:
                    return f"detectron2 {installed} is installed already, and works"
                say(f"detectron2 {installed} is installed but does not work ({problem}); installing it again")
            cached = None if force else cached_wheel(label)
            wheel = cached or _build(source, label, pip_options, log)
            origin = f"from the cache, {wheel}" if cached else f"built now, kept as {wheel}"
        _install_wheel(wheel, pip_options, log)
        if problem := _problem():
            raise UserError(f"detectron2 is installed ({origin}) but does not work: {problem}; --force builds it again")
        return f"detectron2 {_installed_version()} works; commit {installed_commit() or 'not known'}, {origin}"


def _build(source: Source, label: str, pip_options: Sequence[str], log: Path) -> Path:
    """Build in a temporary folder; the wheel comes into the cache whole or not at all."""
    compiler = (shlex.split(os.environ.get("CXX", "")) or ["c++"])[0]
    if not shutil.which(compiler):
        raise UserError(
            f"no C++ compiler: {compiler} is not on PATH, and detectron2 has an extension to compile; "
            "install one, e.g. 'apt-get install g++', or set CXX to yours"
        )
    with tempfile.TemporaryDirectory(prefix="awbench-detectron2-") as name:
        folder, tools, wheels = Path(name), Path(name, "tools"), Path(name, "wheels")
        code = _unpack(source, folder, log)
        get_tools = ["install", *pip_options, "--target", str(tools), SETUPTOOLS, "wheel", "ninja"]
        _run("fetching what the build needs", [*_PIP, *get_tools], log)
        build = ["wheel", "-v", "--no-build-isolation", "--no-deps", "--wheel-dir", str(wheels), str(code)]
        environment = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(tools), os.environ.get("PYTHONPATH")])),
            "PATH": os.pathsep.join([str(tools / "bin"), os.environ.get("PATH", os.defpath)]),
            "D2_VERSION_SUFFIX": f"+{label}",
        }
        _run("building detectron2", [*_PIP, *build], log, " (usually 2 to 5 minutes)", environment)
        (built,) = wheels.glob("*.whl")
        if parse_wheel_filename(built.name)[1].local != label:
            raise UserError(f"{source.location} is not detectron2's source: it makes {built.name}, without +{label}")
        kept = cache_directory() / "wheels" / built.name
        write_bytes(kept, built.read_bytes())
        return kept


def _unpack(source: Source, folder: Path, log: Path) -> Path:
    """A copy of the source in `folder`: setup.py writes beside itself."""
    code = folder / "detectron2"
    if source.kind == "folder":
        for path in _files(Path(source.location)):
            copy = code / path.relative_to(source.location)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        return code
    if not shutil.which("git"):
        raise UserError(f"git is not on PATH, and {source.location} needs it; install it, e.g. 'apt-get install git'")
    commit, archive = source.revision[1:], folder / "source.tar"
    git = ["git", "--git-dir", source.location if source.kind == "git" else str(folder / "git")]
    try:
        if source.kind == "url":
            _run("preparing a git folder", [*git, "init", "--quiet", "--bare"], log)
            fetch = [*git, "fetch", "--depth=1", "--no-tags", source.location, commit]
            _run(f"fetching detectron2 from {source.location}", fetch, log, env={"GIT_TERMINAL_PROMPT": "0"})
        _run("unpacking detectron2", [*git, "archive", "--output", archive, commit], log)
    except UserError as error:
        if re.search("not our ref|unadvertised object|not a tree object|not a valid object", str(error)):
            raise UserError(f"commit {commit} is not in {source.location}; --commit names another") from None
        raise
    shutil.unpack_archive(archive, code)
    return code


def _files(folder: Path) -> list[Path]:
    """The files of a source folder, without what an earlier build left in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".so", ".pyc"))
    return [path for path in files if path.relative_to(folder).parts[0] != "build"]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()[:40]


def _accelerator() -> str:
    """What detectron2's setup.py compiles for on this machine: "cpu", or "cuda" and the architectures."""
    import torch

    if os.environ.get("FORCE_CUDA") != "1":
        if not torch.cuda.is_available():
            return "cpu"
        from torch.utils.cpp_extension import CUDA_HOME, ROCM_HOME

        if (ROCM_HOME if torch.version.hip else CUDA_HOME) is None:
            return "cpu"
    present = {"sm{}{}".format(*torch.cuda.get_device_capability(i)) for i in range(torch.cuda.device_count())}
    return f"cuda.{os.environ.get('TORCH_CUDA_ARCH_LIST') or '.'.join(sorted(present)) or 'all'}"


def _install_wheel(wheel: Path, pip_options: Sequence[str], log: Path) -> None:
    try:
        same = _installed_version() == parse_wheel_filename(wheel.name)[1]
    except InvalidWheelFilename as error:
        raise UserError(f"{wheel} is not a wheel: {error}") from None
    _run("installing detectron2", [*_PIP, "install", *pip_options, wheel, SETUPTOOLS], log)
    if same:  # pip leaves a version that is there as it is
        _run("installing detectron2 again", [*_PIP, "install", "--no-deps", "--force-reinstall", wheel], log)


def _installed_version() -> Version | None:
    importlib.invalidate_caches()  # pip ran in another process
    try:
        return Version(metadata.version("detectron2"))
    except metadata.PackageNotFoundError:
        return None


def _problem() -> str | None:
    """Why the installed detectron2 does not work, asked in a fresh process; None when it does."""
    probe = subprocess.run([sys.executable, "-P", "-c", _PROBE], capture_output=True, text=True)
    return _telling_line(probe.stderr or f"exit code {probe.returncode}") if probe.returncode else None


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One installation at a time: the second finds the wheel of the first, and has pip to itself."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".detectron2.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is installing detectron2; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(
    doing: str, command: Sequence[str | Path], log: Path, usual: str = "", env: dict[str, str] | None = None
) -> None:
    """Run a command with its output at the end of `log` and a line of progress every ten seconds.

    Raises:
        UserError: it failed; the message has the line of its output that says why.
    """
    say(f"{doing}{usual}")
    start = time.monotonic()
    with log.open("ab") as file:
        begin = file.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # a group of its own, to end the compilers with it
        )
    try:
        while process.poll() is None:
            try:
                process.wait(_PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"{doing}: {time.monotonic() - start:.0f} s{usual}")
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        why = _telling_line(log.read_bytes()[begin:].decode(errors="replace"))
        raise UserError(f"{doing} failed: {why}; the whole output is in {log}")


def _telling_line(output: str) -> str:
    """The last line that names an error, else the last line."""
    output = re.sub(r"Error:\s*\n\s*", "Error: ", output)  # torch begins some messages with a new line
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line) and not _ECHO.search(line)]
    return (errors or lines or ["no output"])[-1][:400]


def main(argv: Sequence[str] | None = None) -> int:
    """Install detectron2 as the words of the command line say; returns the exit code."""
    parser = Parser(prog="awbench.detection.install", description=__doc__)
    parser.add_argument(
        "--source", default=URL, metavar="URL-or-path", help="git, source folder or wheel (default: %(default)s)"
    )
    parser.add_argument("--commit", metavar="SHA", help=f"of a git repository (default: {COMMIT})")
    parser.add_argument("--constraint", metavar="FILE", help="for pip")
    parser.add_argument("--pip-args", default="", metavar="WORDS", help="for pip: --pip-args='--index-url ...'")
    parser.add_argument("--force", action="store_true", help="build and install again")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as after Ctrl-C, nothing temporary stays
    try:
        constraint = ["--constraint", args.constraint] if args.constraint else []
        print(install(read_source(args.source, args.commit), [*constraint, *shlex.split(args.pip_args)], args.force))
        return 0
    except UserError as error:
        say(f"awbench: {' '.join(str(error).split())}")
        return 2
    except OSError as error:
        say(f"awbench: {error.filename or 'the system'}: {error.strerror or error}")
        return 2
    except KeyboardInterrupt:
        say("awbench: interrupted; nothing half-built is kept")
        return 130


if __name__ == "__main__":
    sys.exit(main())
