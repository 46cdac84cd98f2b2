"""Build and install Detectron2, which is not on PyPI: `make detectron2`.

A pinned commit is built once. Its wheel is kept in the user's cache under everything that its compiled extension
depends on (the commit, torch, CPU or the GPU's architecture, Python), and later environments install it from there.
Where a GPU and nvcc are found, Detectron2 compiles its CUDA kernels too; CUDA_VISIBLE_DEVICES= prevents it.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

URL = "https://github.com/facebookresearch/detectron2"
COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"
# detectron2.model_zoo imports pkg_resources, which setuptools 82 removed; setuptools names <81 as the pin.
SETUPTOOLS = "setuptools<81"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
PROBE = "import detectron2, detectron2._C, detectron2.model_zoo"
ERROR = re.compile(r"(^|: )[\w. ]*(error|fatal): ", re.IGNORECASE)
# Lines of pip, setuptools and torch that only say that there was an error above.
ECHO = re.compile("subprocess-exited|Failed (to build|building)|Error compiling|returned non-zero|command .* failed")


class Failure(Exception):
    """What is wrong, in one line."""


def install(source: str, commit: str, pip_options: list[str], force: bool, cache: Path) -> str:
    """Install Detectron2 and its dependencies: from the cached wheel, else from one built now."""
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise Failure(f"--commit {commit} is not the full name of a commit: 40 hexadecimal digits, such as {COMMIT}")
    label, log = build_label(commit), cache / "detectron2.log"
    folder = cache / "wheels" / f"{label}-{sys.implementation.cache_tag}-{platform.machine()}"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = None if force else next(folder.glob("[!.]*.whl"), None)
    origin = "from the cache" if wheel else "built now"
    if wheel is None:
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-", ignore_cleanup_errors=True) as work:
            built = build(source, commit, label, pip_options, Path(work), log)
            wheel = built.replace(folder / built.name)  # whole or not at all
    reinstall = [*PIP, "install", "--no-deps", "--force-reinstall", str(wheel)]  # pip leaves a version that is there
    run("installing detectron2", reinstall, log)
    run("installing its dependencies", [*PIP, "install", *pip_options, str(wheel), SETUPTOOLS], log)
    probe = subprocess.run([sys.executable, "-P", "-c", PROBE], capture_output=True, text=True)
    if probe.returncode:
        raise Failure(f"detectron2 is installed ({origin}) but does not work: {why(probe.stderr)}; try --force")
    return f"detectron2 works; commit {commit}, {origin}, kept as {wheel}"


def build_label(commit: str) -> str:
    """The local part of the wheel's version. awbench reads the commit from it."""
    try:
        import torch
    except ImportError as error:
        raise Failure(f"torch, which detectron2 is compiled against, is not installed: {error}") from None
    cuda = os.environ.get("FORCE_CUDA") == "1"  # as detectron2's setup.py decides
    if torch.cuda.is_available() and not cuda:
        from torch.utils.cpp_extension import CUDA_HOME, ROCM_HOME

        cuda = bool(CUDA_HOME or ROCM_HOME)
    target = "cpu"
    if cuda:
        present = {"sm{}{}".format(*torch.cuda.get_device_capability(i)) for i in range(torch.cuda.device_count())}
        target = f"cuda.{os.environ.get('TORCH_CUDA_ARCH_LIST') or '.'.join(sorted(present)) or 'all'}"
    return re.sub("[^a-z0-9]+", ".", f"g{commit}.torch{torch.__version__}.{target}".lower()).strip(".")


def build(source: str, commit: str, label: str, pip_options: list[str], work: Path, log: Path) -> Path:
    """The wheel, built in the folder `work`."""
    for tool in ("git", (shlex.split(os.environ.get("CXX", "")) or ["c++"])[0]):
        if not shutil.which(tool):
            raise Failure(f"{tool} is not on PATH, and detectron2 is built with it; e.g. 'apt-get install git g++'")
    is_url = re.match(r"[a-z+]+://|[\w.-]+@[\w.-]+:", source)
    if not is_url and not Path(source).exists():
        raise Failure(f"{source} does not exist; detectron2's source is a git URL or a copy of its repository")
    checkout = Path(source, ".git")
    git = ["git", "--git-dir", str(work / "git" if is_url else checkout if checkout.exists() else source)]
    if is_url:
        run("preparing a git folder", [*git, "init", "--quiet", "--bare"], log)
        run(f"fetching detectron2 from {source}", [*git, "fetch", "--depth=1", "--no-tags", source, commit], log)
    archive = ["archive", "--format=tar", f"--output={work / 'source.tar'}", commit]
    run(f"unpacking commit {commit} of {source}", [*git, *archive], log)
    shutil.unpack_archive(work / "source.tar", work / "detectron2")
    tools, wheels = work / "tools", work / "wheels"
    get_tools = ["install", *pip_options, "--target", str(tools), SETUPTOOLS, "wheel", "ninja"]
    run("fetching what the build needs", [*PIP, *get_tools], log)
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(tools), os.environ.get("PYTHONPATH")])),
        "PATH": os.pathsep.join([str(tools / "bin"), os.environ.get("PATH", os.defpath)]),
        "D2_VERSION_SUFFIX": f"+{label}",
    }
    make = ["wheel", "-v", "--no-build-isolation", "--no-deps", "--wheel-dir", str(wheels), str(work / "detectron2")]
    run("building detectron2 (usually 2 to 5 minutes)", [*PIP, *make], log, environment)
    return next(wheels.glob("[!.]*.whl"))


def run(step: str, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
    """Run a command with its output in `log`; one that fails says why in one line."""
    print(step, file=sys.stderr, flush=True)
    variables = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **(environment or {})}
    with log.open("wb") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables)
    if done.returncode:
        raise Failure(f"{step} failed: {why(log.read_text(errors='replace'))}; the whole output is in {log}")


def why(output: str) -> str:
    """The last line that names an error, else the last line."""
    output = re.sub(r"Error:\s*\n\s*", "Error: ", output)  # torch begins some messages with a new line
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.search(line) and not ECHO.search(line)]
    return (errors or lines or ["no output"])[-1][:400]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default=URL, metavar="URL-or-path", help="a git repository (default: %(default)s)")
    parser.add_argument("--commit", default=COMMIT, metavar="SHA", help="to build (default: %(default)s)")
    parser.add_argument("--constraint", metavar="FILE", help="for pip")
    parser.add_argument("--pip-args", default="", metavar="ARGS", help="for pip: --pip-args='--index-url ...'")
    parser.add_argument("--force", action="store_true", help="build again")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as after Ctrl-C, nothing temporary stays
    constraint = ["--constraint", args.constraint] if args.constraint else []
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "awbench")
    try:
        cache = Path(os.environ.get("AWBENCH_CACHE") or default).expanduser().resolve()
        print(install(args.source, args.commit, [*constraint, *shlex.split(args.pip_args)], args.force, cache))
        return 0
    except (Failure, OSError, RuntimeError) as error:
        print(f"install_detectron2: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("install_detectron2: interrupted; nothing half-built is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
