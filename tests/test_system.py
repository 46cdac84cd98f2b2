"""What the system lets a process use, and what launchers leave in its environment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

import awbench as package
from awbench import system
from awbench.errors import UserError
from awbench.models.weights import save_weights
from awbench.records import RecordStore
from awbench.system import (
    KEEPS_FREED_MEMORY,
    _cpu_quotas,
    available_cores,
    keep_freed_memory,
    loading_processes,
    rank_and_size,
    stray_rank,
)
from awbench.training.distributed import World
from awbench.training.execution import Execution


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_cores_are_those_of_the_affinity(root):
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import awbench.system as s; "
    run = subprocess.run([sys.executable, "-c", program + "print(s.available_cores())"], cwd=root, capture_output=True)
    assert run.stdout == b"1\n"
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the memory of other C libraries")
@pytest.mark.parametrize(
    ("call", "variables", "keeps"),
    [("0", {}, False), ("s.keep_freed_memory()", {}, True), ("1", KEEPS_FREED_MEMORY, True)],
)
def test_freed_memory_is_kept(call, variables, keeps, root):
    """MiB that two freed blocks of 48 MiB leave with the process; of pages found anew, huge ones make hardly any."""
    program = (
        f"import resource; import awbench.system as s; done = {call}\n"
        "def resident():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() / 2**20\n"
        "before = resident()\n"
        "del [b'x' * (48 * 2**20) for _ in range(2)][:]\n"
        "print(bool(done), resident() - before)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | variables
    run = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, check=True)
    done, left = run.stdout.split()
    assert (float(left) > 48) == keeps and (done == b"True") == keeps, (done, left)


def test_a_c_library_that_cannot_be_asked_to_keep_memory(monkeypatch):
    monkeypatch.setattr(system.ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="other OpenMP libraries")
@pytest.mark.parametrize(
    ("command", "variables", "spins"),
    [
        ("train", {}, f"{system.SPINS}"),
        ("latency", {}, "300000"),  # what is timed waits as torch has it: GNU's default
        ("eval --weights x", {"OMP_WAIT_POLICY": "passive"}, "0"),
    ],
)
def test_threads_of_a_training_spin_briefly_while_they_wait(command, variables, spins, tmp_path, root):
    """As OpenMP's library says when torch loads it, which here a module from outside makes happen."""
    (tmp_path / "needs_torch.py").write_text("import torch\nclass Module(torch.nn.Identity): pass\n")
    name, *options = command.split()
    words = [sys.executable, "-m", "awbench", name, "nothing", *options, "--module", "needs_torch:Module"]
    environment = {name: value for name, value in os.environ.items() if name not in system.WAITING} | variables
    environment |= {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"}
    run = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert f"GOMP_SPINCOUNT = '{spins}'" in run.stderr and "nothing is not a variant" in run.stderr


def test_loading_processes_are_a_processs_share_of_the_cores(monkeypatch):
    for cores, processes, expected in ((1, 1, 1), (4, 1, 3), (64, 1, 8), (16, 4, 3), (8, 8, 1)):
        monkeypatch.setattr("awbench.system.available_cores", lambda cores=cores: cores)
        assert loading_processes(processes) == expected
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert Execution().workers_on(World(0, processes, torch.device("cuda"))) == expected
    assert Execution().workers_on(World(0, 1, torch.device("cpu"))) == 0
    assert Execution(workers=5).workers_on(World(0, 1, torch.device("cpu"))) == 5


@pytest.mark.parametrize(
    ("membership", "files", "quotas"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n", "a/cpu.max": "400000 100000\n"}, [1.5, 4.0]),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, []),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, [0.5]),
        ("0::/host/path\n", {"cpu.max": "50000 100000\n"}, [0.5]),  # in a container
        ("0::/a\n", {"a/cpu.max": "\n"}, []),
        ("", {}, []),
        (
            "4:cpu,cpuacct:/d\n2:memory:/d\n",
            {"cpu,cpuacct/d/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/d/cpu.cfs_period_us": "100000\n"},
            [3.0],
        ),
        (
            "4:cpuacct,cpu:/d\n",
            {"cpu/d/cpu.cfs_quota_us": "300000\n", "cpu/d/cpu.cfs_period_us": "100000\n"},
            [3.0],
        ),
        ("4:cpu:/d\n", {"cpu/d/cpu.cfs_quota_us": "-1\n", "cpu/d/cpu.cfs_period_us": "100000\n"}, []),
    ],
)
def test_quotas_of_cgroups(membership, files, quotas, tmp_path):
    (tmp_path / "self").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert list(_cpu_quotas(tmp_path / "self", tmp_path / "mount")) == quotas
    assert list(_cpu_quotas(tmp_path / "none", tmp_path / "mount")) == []


TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.fixture
def launched(monkeypatch):
    def set_to(variables):
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_to


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1)),
        (TORCHRUN, (1, 2)),
        ({**TORCHRUN, "RANK": "0"}, (0, 2)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "1"}, (0, 1)),
        ({"RANK": "x", "WORLD_SIZE": "1"}, (0, 1)),
    ],
)
def test_the_place_among_the_processes_of_a_launcher(variables, expected, launched):
    launched(variables)
    assert rank_and_size() == expected
    assert bool(stray_rank()) == (variables.get("RANK", "0") != "0" and expected[1] == 1)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 is set, but RANK and MASTER_ADDR and MASTER_PORT not"),
        ({**TORCHRUN, "MASTER_ADDR": ""}, "MASTER_ADDR not"),
        ({**TORCHRUN, "RANK": "2"}, "RANK=2 is not a rank of WORLD_SIZE=2 processes, 0 to 1"),
        ({**TORCHRUN, "RANK": "-1"}, "RANK=-1 is not a number of 0 or more"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 is not a number of 1 or more"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two is not a number"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE=99"),
    ],
)
def test_a_launcher_that_left_half_of_its_variables_is_a_line(variables, message, launched, awbench):
    launched(variables)
    with pytest.raises(UserError, match=message):
        rank_and_size()
    code, out, err = awbench("train", "resnet20", "--set", "epochs=1")
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_stray_rank_is_told_and_ignored(launched, awbench, tmp_path):
    launched({"RANK": "1", "LOCAL_RANK": "1"})
    save_weights(package.build("resnet20"), tmp_path / "w.safetensors")
    code, out, err = awbench("eval", "resnet20", "--weights", "w.safetensors")
    assert code == 0 and "top-1" in out
    assert "RANK=1 is ignored" in err
    assert len(RecordStore(tmp_path / "results").read().of_kind("accuracy")) == 1


def test_an_installation_without_the_repository_names_no_make_target(monkeypatch, tmp_path):
    text = "engine detectron2 is not installed here: run 'make detectron2'"
    assert system.said_here(text) == text
    monkeypatch.setattr(system, "_CHECKOUT", tmp_path)
    assert "make " not in system.said_here(text) and "pip install" in system.said_here(text)
