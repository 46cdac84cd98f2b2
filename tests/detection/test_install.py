"""`make detectron2`: real git, real processes, real wheels; pip, torch and detectron2 are tiny stand-ins.

The stand-ins lie in a folder on PYTHONPATH, which comes before the environment's own packages.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "install_detectron2.py"
TORCH = """
import os
__version__ = os.environ["FAKE_TORCH"]
class cuda:
    is_available = staticmethod(lambda: bool(os.environ.get("FAKE_GPU")))
    device_count = staticmethod(lambda: 1)
    get_device_capability = staticmethod(lambda i: (9, 0))
"""

# `pip wheel` writes an empty wheel, `pip install` a package that imports; both note that they were called.
PIP = """
import os, pathlib, sys, time
from packaging.tags import sys_tags
site, command, words = pathlib.Path(__file__).parent.parent, sys.argv[3], sys.argv[4:]
with open(site / "calls", "a") as calls:
    print(command, *words, file=calls)
if command == "wheel":
    if fault := os.environ.get("FAKE_FAULT"):
        print(fault)
        sys.exit(1)
    folder = pathlib.Path(words[words.index("--wheel-dir") + 1])
    folder.mkdir()
    wheel = folder / f"detectron2-0.6{os.environ['D2_VERSION_SUFFIX']}-{next(iter(sys_tags()))}.whl"
    wheel.write_text("half")
    (site / "building").touch()
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    wheel.write_text("whole")
elif "--target" not in words:
    [wheel] = [pathlib.Path(word) for word in words if word.endswith(".whl")]
    assert wheel.read_text() == "whole"
    version = wheel.name.split("-")[1]
    package, info = site / "detectron2", site / f"detectron2-{version}.dist-info"
    if info.exists() and "--force-reinstall" not in words:
        sys.exit()
    for old in site.glob("detectron2-*"):
        (old / "METADATA").unlink()
        old.rmdir()
    package.mkdir(exist_ok=True)
    for module in ("__init__", "_C", "model_zoo"):
        (package / f"{module}.py").write_text(os.environ.get("FAKE_MODULE", ""))
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: detectron2\\nVersion: {version}\\n")
"""

RUN = [sys.executable, str(SCRIPT)]


class Machine:
    """A machine without detectron2, with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.site, self.cache = folder / "site", folder / "cache"
        self.new_environment()

    def new_environment(self) -> None:
        """Another environment: nothing installed; the cache is the same."""
        self.site = self.site.with_name(f"{self.site.name}x")
        (self.site / "pip").mkdir(parents=True)
        (self.site / "torch" / "utils").mkdir(parents=True)
        (self.site / "torch" / "__init__.py").write_text(TORCH)
        (self.site / "torch" / "utils" / "cpp_extension.py").write_text("CUDA_HOME, ROCM_HOME = 'nvcc', None")
        (self.site / "pip" / "__init__.py").touch()
        (self.site / "pip" / "__main__.py").write_text(PIP)

    def environment(self, **changes: str) -> dict[str, str]:
        fixed = {"PYTHONPATH": str(self.site), "AWBENCH_CACHE": str(self.cache)}
        own = {key: value for key, value in os.environ.items() if key not in ("FORCE_CUDA", "CXX")}
        return {**own, **fixed, "FAKE_TORCH": "2.14.1+cpu", "CXX": sys.executable, **changes}

    def run(self, *words: object, **environment: str) -> tuple[int, str, list[str]]:
        """Exit code, stdout and the lines of stderr."""
        command = [*RUN, *map(str, words)]
        done = subprocess.run(command, env=self.environment(**environment), capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr.splitlines()

    @property
    def calls(self) -> list[str]:
        file = self.site / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def builds(self) -> int:
        return sum(call.startswith("wheel ") for call in self.calls)

    @property
    def wheels(self) -> list[Path]:
        return list(self.cache.rglob("*.whl"))


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def git(where: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", where, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    repository = tmp_path / "repository"
    (repository / "detectron2").mkdir(parents=True)
    (repository / "setup.py").write_text("# as it was")
    (repository / "detectron2" / "__init__.py").touch()
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "all")
    return repository


@pytest.fixture
def commit(repository) -> str:
    return git(repository, "rev-parse", "HEAD")


def test_a_second_environment_installs_the_kept_wheel_without_source_compiler_or_git(machine, repository, commit):
    code, out, _ = machine.run("--source", repository, "--commit", commit)
    assert code == 0
    assert f"commit {commit}, built now" in out
    machine.new_environment()
    code, out, _ = machine.run("--source", repository, "--commit", commit, PATH="/nowhere", CXX="/nowhere/c++")
    assert code == 0
    assert f"commit {commit}, from the cache" in out
    assert machine.builds == 0
    [wheel] = machine.wheels
    assert wheel.read_text() == "whole"
    assert f"0.6+g{commit}.torch2.14.1.cpu.cpu-" in wheel.name  # records name the version, and with it the commit


def test_what_is_installed_but_broken_is_installed_again(machine, repository, commit):
    machine.run("--source", repository, "--commit", commit)
    (machine.site / "detectron2" / "_C.py").write_text("raise ImportError('undefined symbol')")
    code, out, _ = machine.run("--source", repository, "--commit", commit)
    assert (code, machine.builds) == (0, 1)
    assert "detectron2 works" in out


@pytest.mark.parametrize("change", [{"FAKE_TORCH": "2.14.0+cpu"}, {"FORCE_CUDA": "1"}, {"FAKE_GPU": "1"}, {}])
def test_another_torch_a_cuda_build_and_another_commit_have_wheels_of_their_own(machine, repository, commit, change):
    machine.run("--source", repository, "--commit", commit)
    if not change:
        git(repository, "commit", "--quiet", "--allow-empty", "-m", "later")
        commit = git(repository, "rev-parse", "HEAD")
    code, out, _ = machine.run("--source", repository, "--commit", commit, **change)
    assert (code, machine.builds, len(machine.wheels)) == (0, 2, 2)
    assert f"commit {commit}" in out


def test_a_checkout_a_bare_repository_and_a_url_are_built_and_left_as_they_are(machine, repository, commit, tmp_path):
    bare = tmp_path / "bare"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(bare))
    for source in (repository, bare, f"file://{repository}"):
        code, out, _ = machine.run("--source", source, "--commit", commit, "--force")
        assert code == 0
        assert f"commit {commit}, built now" in out
    assert git(repository, "status", "--porcelain") == ""
    assert not list(machine.cache.glob("building-*"))


def test_pip_gets_the_constraints_and_the_index_and_setuptools_with_pkg_resources(
    machine, repository, commit, tmp_path
):
    (tmp_path / "c.txt").touch()
    pip = ("--constraint", tmp_path / "c.txt", "--pip-args=--index-url 'a b'")
    machine.run("--source", repository, "--commit", commit, *pip)
    for call in (machine.calls[0], machine.calls[-1]):  # tools of the build, dependencies
        assert f"--constraint {tmp_path / 'c.txt'} --index-url a b " in call
        assert "setuptools<81" in call


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_build_leaves_no_wheel_and_the_next_one_is_whole(machine, repository, commit, how):
    words = ["--source", str(repository), "--commit", commit]
    environment = machine.environment(FAKE_SECONDS="30")
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a shell's background jobs ignore
    process = subprocess.Popen([*RUN, *words], env=environment, stderr=subprocess.DEVNULL, preexec_fn=heed)
    deadline = time.monotonic() + 30
    while not (machine.site / "building").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    process.wait(timeout=10)
    assert not list((machine.cache / "wheels").rglob("*.whl"))
    if how != signal.SIGKILL:  # nothing can be tidied after that one
        assert not list(machine.cache.glob("building-*"))
    assert machine.run(*words)[0] == 0
    assert [wheel.read_text() for wheel in (machine.cache / "wheels").rglob("*.whl")] == ["whole"]


COMPILER_OUTPUT = """
c++ -Werror=format-security -c x.cpp
x.cpp:1:10: fatal error: Python.h: No such file or directory
subprocess.CalledProcessError: Command '['ninja', '-v']' returned non-zero exit status 1.
RuntimeError: Error compiling objects for extension
error: subprocess-exited-with-error
full command: python -c '
      print("ERROR: Can not execute `setup.py` since setuptools is not available in ")
          "ERROR: Can not execute `setup.py` since setuptools is not available in "
ERROR: Failed building wheel for detectron2
"""
CUDA_OUTPUT = """
  RuntimeError:
  The detected CUDA version (12.4) mismatches the version that was used to compile
  PyTorch (13.0). Please make sure to use the same CUDA versions.
  ERROR: Failed building wheel for detectron2
"""
NONE = "0" * 40


HERE = ["--source", "REPOSITORY", "--commit", "COMMIT"]


@pytest.mark.parametrize(
    ("words", "environment", "says"),
    [
        (["--source", "nowhere"], {}, ["nowhere does not exist"]),
        (["--source", "."], {}, ["unpacking", "fatal: not a git repository: '.'"]),
        (["--source", "REPOSITORY", "--commit", "main"], {}, ["--commit main", "40 hexadecimal digits"]),
        (["--source", "REPOSITORY", "--commit", NONE], {}, [f"unpacking commit {NONE} of REPOSITORY failed: fatal:"]),
        (
            ["--source", "file://REPOSITORY", "--commit", NONE],
            {},
            ["fetching detectron2 from file://REPOSITORY failed"],
        ),
        (["--source", "http://127.0.0.1:9/x"], {}, ["fetching detectron2 from http://127.0.0.1:9/x failed", "unable"]),
        (HERE, {"PATH": "/nowhere"}, ["git is not on PATH", "apt-get install"]),
        (HERE, {"CXX": "/nowhere/g++ -O"}, ["/nowhere/g++ is not on PATH"]),
        (HERE, {"FAKE_FAULT": COMPILER_OUTPUT}, ["x.cpp:1:10: fatal error: Python.h", "cache/detectron2.log"]),
        (HERE, {"FAKE_FAULT": CUDA_OUTPUT}, ["RuntimeError: The detected CUDA version (12.4)"]),
        (HERE, {"FAKE_NO_TORCH": "1"}, ["torch", "is not installed"]),
        (HERE, {"FAKE_MODULE": "raise ImportError('no symbol')"}, ["ImportError: no symbol", "--force"]),
        (HERE, {"AWBENCH_CACHE": "REPOSITORY/setup.py"}, ["REPOSITORY/setup.py"]),
        (HERE, {"AWBENCH_CACHE": "~nobody-of-that-name/x"}, ["home directory"]),
        (["--nonsense"], {}, ["--nonsense"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(machine, repository, commit, monkeypatch, words, environment, says):
    monkeypatch.chdir(machine.site)
    if "FAKE_NO_TORCH" in environment:
        (machine.site / "torch" / "__init__.py").write_text("raise ModuleNotFoundError('No module named torch')")

    def real(text: str) -> str:
        return text.replace("REPOSITORY", str(repository)).replace("COMMIT", commit)

    code, out, err = machine.run(*map(real, words), **{key: real(value) for key, value in environment.items()})
    assert (code, out) == (2, "")
    assert all(real(text) in err[-1] for text in says)
    progress = ("fetching", "preparing", "unpacking", "building", "installing", "usage: ", " ")
    assert all(line.startswith(progress) for line in err[:-1])
    assert not list(machine.cache.glob("building-*")) if machine.cache.is_dir() else True
