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

from awbench.detection import install

TORCH = """
import os
__version__ = os.environ["FAKE_TORCH"]
class cuda:
    is_available = staticmethod(lambda: bool(os.environ.get("FAKE_GPU")))
    device_count = staticmethod(lambda: 1)
    get_device_capability = staticmethod(lambda i: (9, 0))
class version:
    hip = None
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
    for old in site.glob("detectron2-*"):
        (old / "METADATA").unlink()
        old.rmdir()
    package, info = site / "detectron2", site / f"detectron2-{version}.dist-info"
    package.mkdir(exist_ok=True)
    for module in ("__init__", "_C", "model_zoo"):
        (package / f"{module}.py").write_text(os.environ.get("FAKE_MODULE", ""))
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: detectron2\\nVersion: {version}\\n")
"""

RUN = [sys.executable, "-m", "awbench.detection.install"]


class Machine:
    """A machine without detectron2, with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.site, self.cache, self.temporary = folder / "site", folder / "cache", folder / "tmp"
        self.temporary.mkdir()
        self.new_environment()

    def new_environment(self) -> None:
        """Another environment: nothing installed; the cache is the same."""
        self.site = self.site.with_name(f"{self.site.name}x")
        (self.site / "pip").mkdir(parents=True)
        (self.site / "torch").mkdir()
        (self.site / "torch" / "__init__.py").write_text(TORCH)
        (self.site / "pip" / "__init__.py").touch()
        (self.site / "pip" / "__main__.py").write_text(PIP)

    def environment(self, **changes: str) -> dict[str, str]:
        path = f"{self.site}{os.pathsep}{Path(install.__file__).parents[2]}"
        fixed = {"PYTHONPATH": path, "AWBENCH_CACHE": str(self.cache), "TMPDIR": str(self.temporary)}
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
        return list(self.cache.rglob("*.whl*"))


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A source folder."""
    source = tmp_path / "source"
    (source / "detectron2").mkdir(parents=True)
    (source / "setup.py").write_text("# as it was")
    (source / "detectron2" / "__init__.py").touch()
    return source


def git(where: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", where, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def commit(folder) -> str:
    """Makes the source folder a repository."""
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


def test_a_second_environment_installs_the_kept_wheel_without_source_compiler_or_git(machine, folder, commit):
    words = ("--source", folder, "--commit", commit)
    code, out, _ = machine.run(*words)
    assert code == 0
    assert f"commit {commit}, built now" in out
    machine.new_environment()
    code, out, _ = machine.run(*words, PATH="/nowhere", CXX="/nowhere/c++")
    assert code == 0
    assert f"commit {commit}, from the cache" in out
    assert machine.builds == 0
    [wheel] = machine.wheels
    assert wheel.read_text() == "whole"


def test_the_same_commit_is_not_installed_twice(machine, folder, commit):
    words = ("--source", folder, "--commit", commit)
    machine.run(*words)
    before = machine.calls
    code, out, _ = machine.run(*words)
    assert code == 0
    assert "installed already" in out
    assert machine.calls == before


def test_what_is_installed_but_broken_is_installed_again(machine, folder, commit):
    words = ("--source", folder, "--commit", commit)
    machine.run(*words)
    (machine.site / "detectron2" / "_C.py").write_text("raise ImportError('undefined symbol')")
    code, out, err = machine.run(*words)
    assert (code, machine.builds) == (0, 1)
    assert "from the cache" in out
    assert any("ImportError: undefined symbol" in line for line in err)
    assert "--force-reinstall" in machine.calls[-1]


@pytest.mark.parametrize("change", [{"FAKE_TORCH": "2.14.0+cpu"}, {"FORCE_CUDA": "1"}])
def test_another_torch_and_a_cuda_build_have_wheels_of_their_own(machine, folder, commit, change):
    words = ("--source", folder, "--commit", commit)
    machine.run(*words)
    code, _, _ = machine.run(*words, **change)
    assert (code, machine.builds, len(machine.wheels)) == (0, 2, 2)


def test_another_commit_has_a_wheel_of_its_own(machine, folder, commit):
    machine.run("--source", folder, "--commit", commit)
    (folder / "setup.py").write_text("# later")
    git(folder, "commit", "--quiet", "-a", "-m", "later")
    later = git(folder, "rev-parse", "HEAD")
    code, out, _ = machine.run("--source", folder, "--commit", later)
    assert (code, machine.builds) == (0, 2)
    assert f"commit {later}" in out


def test_a_wheel_of_another_python_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "detectron2-0.6+g0.cpu-cp27-cp27m-win32.whl").touch()
    assert install.cached_wheel("g0.cpu") is None
    fits = tmp_path / "wheels" / "detectron2-0.6+g0.cpu-py3-none-any.whl"
    fits.touch()
    assert install.cached_wheel("g0.cpu") == fits
    assert install.cached_wheel("g1.cpu") is None


def test_a_bare_repository_a_url_and_a_folder_are_built_and_left_as_they_are(machine, folder, commit, tmp_path):
    bare = tmp_path / "bare"
    git(tmp_path, "clone", "--quiet", "--bare", str(folder), str(bare))
    for source in (bare, f"file://{folder}"):
        code, out, _ = machine.run("--source", source, "--commit", commit, "--force")
        assert code == 0
        assert f"commit {commit}, built now" in out
    assert git(folder, "status", "--porcelain") == ""
    plain = tmp_path / "plain"
    git(tmp_path, "clone", "--quiet", str(folder), str(plain))
    (plain / ".git").rename(tmp_path / "elsewhere")
    code, out, _ = machine.run("--source", plain)
    assert code == 0
    assert "commit not known, built now" in out
    assert not list(machine.temporary.iterdir())


def test_a_folder_that_changed_is_built_again_and_one_that_was_built_in_is_not(folder):
    first = install.read_source(str(folder))
    (folder / "build").mkdir()
    (folder / "build" / "vision.o").write_text("left by a build")
    (folder / "detectron2" / "_C.so").write_text("left by a build")
    assert install.read_source(str(folder)) == first
    (folder / "setup.py").write_text("# changed")
    assert install.read_source(str(folder)) != first


def test_a_wheel_is_installed_as_it_is(machine, tmp_path):
    wheel = tmp_path / "detectron2-0.6-py3-none-any.whl"
    wheel.write_text("whole")
    code, out, _ = machine.run("--source", wheel)
    assert (code, machine.builds) == (0, 0)
    assert "detectron2 0.6 works; commit not known" in out


def test_pip_gets_the_constraints_and_the_index_and_setuptools_with_pkg_resources(machine, folder, tmp_path):
    (tmp_path / "c.txt").touch()
    machine.run("--source", folder, "--constraint", tmp_path / "c.txt", "--pip-args=--index-url 'a b'")
    tools, _, last = machine.calls
    for call in (tools, last):
        assert f"--constraint {tmp_path / 'c.txt'} --index-url a b " in call
        assert "setuptools<81" in call


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_build_leaves_no_wheel_and_the_next_one_is_whole(machine, folder, how):
    command = [*RUN, "--source", str(folder)]
    environment = machine.environment(FAKE_SECONDS="30")
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a shell's background jobs ignore
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, preexec_fn=heed)
    deadline = time.monotonic() + 30
    while not (machine.site / "building").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    process.wait(timeout=10)
    assert machine.wheels == []
    if how != signal.SIGKILL:  # nothing can be tidied after that one
        assert not list(machine.temporary.iterdir())
    assert machine.run("--source", folder)[0] == 0
    assert [wheel.read_text() for wheel in machine.wheels] == ["whole"]


def test_two_at_once_build_once_and_both_end_well(machine, folder):
    command = [*RUN, "--source", str(folder)]
    environment = machine.environment(FAKE_SECONDS="0.5")
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert machine.builds == 1
    assert sum("installed already" in out for out in outputs) == 1


def test_a_long_build_says_that_it_goes_on(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(install, "_PROGRESS_SECONDS", 0.1)
    install._run("building", ["sleep", "0.5"], tmp_path / "log")
    assert "building: 0 s" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("words", "environment", "says"),
    [
        (["--source", "nowhere"], {}, ["nowhere does not exist"]),
        (["--source", "."], {}, [". is not detectron2's source"]),
        (["--source", "SOURCE", "--commit", "main"], {}, ["--commit main", "40 hexadecimal digits"]),
        (["--source", "SOURCE", "--commit", NONE], {}, ["needs a git repository", "SOURCE"]),
        (["--source", "REPOSITORY", "--commit", NONE], {}, [f"commit {NONE} is not in", "REPOSITORY"]),
        (["--source", "file://REPOSITORY", "--commit", NONE], {}, [f"commit {NONE} is not in file://REPOSITORY"]),
        (["--source", "file:///nowhere.git"], {}, ["fetching detectron2 from file:///nowhere.git failed", "fatal:"]),
        (["--source", "http://127.0.0.1:9/x"], {}, ["fetching detectron2 from http://127.0.0.1:9/x failed", "unable"]),
        (["--source", "bad.whl"], {}, ["bad.whl is not a wheel"]),
        (["--source", "REPOSITORY"], {"PATH": "/nowhere"}, ["git is not on PATH", "install"]),
        (["--source", "SOURCE"], {"PATH": "/nowhere", "CXX": ""}, ["no C++ compiler: c++ is not on PATH", "install"]),
        (["--source", "SOURCE"], {"CXX": "/nowhere/g++ -O"}, ["no C++ compiler: /nowhere/g++ is not on PATH"]),
        (["--source", "SOURCE"], {"FAKE_FAULT": COMPILER_OUTPUT}, ["x.cpp:1:10: fatal error: Python.h", "cache/detec"]),
        (["--source", "SOURCE"], {"FAKE_FAULT": CUDA_OUTPUT}, ["RuntimeError: The detected CUDA version (12.4)"]),
        (["--source", "SOURCE"], {"FAKE_NO_TORCH": "1"}, ["torch", "is not installed"]),
        (
            ["--source", "SOURCE"],
            {"FAKE_MODULE": "raise ImportError('no symbol')"},
            ["ImportError: no symbol", "--force"],
        ),
        (["--source", "SOURCE"], {"AWBENCH_CACHE": "SOURCE/setup.py"}, ["SOURCE/setup.py"]),
        (["--source", "SOURCE"], {"AWBENCH_CACHE": "~nobody-of-that-name/x"}, ["no home folder", "AWBENCH_CACHE=DIR"]),
        (["--nonsense"], {}, ["--nonsense"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(machine, folder, tmp_path, monkeypatch, words, environment, says):
    monkeypatch.chdir(machine.temporary)
    Path("bad.whl").touch()
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet")
    if "FAKE_NO_TORCH" in environment:
        (machine.site / "torch" / "__init__.py").write_text("raise ModuleNotFoundError('No module named torch')")

    def real(text: str) -> str:
        return text.replace("SOURCE", str(folder)).replace("REPOSITORY", str(repository))

    code, out, err = machine.run(*map(real, words), **{key: real(value) for key, value in environment.items()})
    assert (code, out) == (2, "")
    assert all(real(text) in err[-1] for text in says)
    progress = ("fetching", "preparing", "unpacking", "building", "installing")
    assert all(line.startswith(progress) for line in err[:-1])


def test_a_folder_whose_setup_is_not_detectron2s_is_not_kept(machine, folder):
    pip = machine.site / "pip" / "__main__.py"
    pip.write_text(PIP.replace("{os.environ['D2_VERSION_SUFFIX']}", ""))
    code, _, err = machine.run("--source", folder)
    assert code == 2
    assert "is not detectron2's source" in err[-1]
    assert machine.wheels == []
