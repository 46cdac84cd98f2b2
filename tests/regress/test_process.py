"""The worker and its process, on trees that are plain folders."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from awbench.errors import UserError
from awbench.regress import process
from awbench.regress.process import SuiteRun, pair
from awbench.regress.trees import side_by_side


def timed(repository, suite_run=None) -> list[float]:
    """Milliseconds of a call of each workload in base: the least of three turns, for the machine may be busy."""
    with pair(repository.tree(), repository.tree("head"), suite_run or repository.suite_run) as (base, _):
        for name in base.workloads:
            base.warm_up(name, 0.0)
        return [min(base.turn(name, 0.0)[0] for _ in range(3)) for name in base.workloads]


def test_times_are_of_one_call_in_milliseconds(repository):
    repository.suite.write_text(
        "import time, functools, work\n"
        "WORKLOADS = {'nothing': lambda: int}\n"
        "WORKLOADS |= {str(ms): functools.partial(functools.partial, time.sleep, ms / 1e3) for ms in (0.2, 20)}\n"
    )
    nothing, short, long = timed(repository)
    assert 0 < nothing < 0.02
    assert 0.2 < short < 10
    assert 20 < long < 200


def test_the_code_under_test_may_print_read_and_make_files(repository, tmp_path):
    (repository.path / "work.py").write_text(
        "import os, sys, atexit\n"
        "print('imported')\n"
        "atexit.register(print, 'bye')\n"
        "def work():\n"
        "    print('called', flush=True)\n"
        "    print('warning', file=sys.stderr)\n"
        "    os.write(1, b'[1, 2]\\n')\n"
        "    os.system('echo from a process; cat')\n"
        "    assert sys.stdin.read() == ''\n"
        "    open('left', 'w').close()\n"
    )
    assert timed(repository)[0] > 0
    assert not list(tmp_path.rglob("left"))


@pytest.mark.parametrize("told", ["", "7"])
def test_processes_keep_the_memory_that_they_free_unless_told_otherwise(repository, told, monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    if told:
        monkeypatch.setenv("MALLOC_MMAP_MAX_", told)
    repository.suite.write_text(
        f"import os, work\nassert os.environ['MALLOC_MMAP_MAX_'] == '{told or 0}'\n"
        "WORKLOADS = {'nap': lambda: work.work}\n"
    )
    timed(repository, SuiteRun(repository.suite))


def test_the_suite_runs_in_an_empty_folder_with_what_it_was_told(repository):
    repository.suite.write_text(
        "import os, sys, work\n"
        "assert os.listdir() == []\n"
        "assert os.environ['WHAT'] == 'told'\n"
        "assert os.environ['OMP_NUM_THREADS'] == '3'\n"
        "assert os.environ['PYTHONPATH'].split(os.pathsep)[0] == sys.path[0] == os.path.dirname(work.__file__)\n"
        "assert not any('regress' in path for path in sys.path), 'no modules of the command itself'\n"
        "assert 'awbench' not in sys.modules and 'torch' not in sys.modules\n"
        "WORKLOADS = {'nap': lambda: work.work}\n"
    )
    timed(repository, SuiteRun(repository.suite, threads=3, environment={"WHAT": "told"}))


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("import wrok", "suite .*suite.py fails: ModuleNotFoundError: No module named 'wrok'"),
        ("WORKLOADS = {}", "has no WORKLOADS, a dictionary of functions by name"),
        ("import work\nWORKLOADS = {'nap': lambda: 1 / 0}", "workload nap fails: ZeroDivisionError"),
        ("import work\nWORKLOADS = {'nap': lambda: lambda: 1 / 0}", "workload nap fails: ZeroDivisionError"),
        ("import os, work\nWORKLOADS = {'nap': lambda: lambda: os._exit(7)}", "workload nap fails: exit code 7"),
        ("import os, work\nWORKLOADS = {'nap': lambda: lambda: os.kill(os.getpid(), 9)}", "killed by SIGKILL"),
        ("import os, work\nWORKLOADS = {'nap': lambda: lambda: os.closerange(3, 99)}", "workload nap fails: "),
        ("WORKLOADS = {'nap': lambda: len}", "workload nap fails: TypeError"),
        ("WORKLOADS = {'nap': lambda: int}", "nothing was imported from the tree"),
    ],
)
def test_what_fails_is_named_with_its_tree_and_reason(suite, message, repository):
    repository.suite.write_text(suite)
    with pytest.raises(UserError, match=rf"^base, main \(0000000000\): .*{message}"):
        timed(repository)


def test_a_suite_that_differs_between_trees(repository):
    repository.suite.write_text("import sys\nWORKLOADS = {sys.path[0].split('/')[-1]: lambda: int}")
    head = process.Tree("head", repository.path.parent, None, "working tree")
    with (
        pytest.raises(UserError, match="base: repository; head: "),
        pair(repository.tree(), head, repository.suite_run),
    ):
        pass


def test_an_installed_copy_is_not_taken_for_the_tree(repository, tmp_path):
    elsewhere = tmp_path / "site"
    elsewhere.mkdir()
    (elsewhere / "work.py").write_text((repository.path / "work.py").read_text())
    repository.suite.write_text(
        f"import sys\nsys.path.insert(0, {str(elsewhere)!r})\nimport work\nWORKLOADS = {{'nap': lambda: work.work}}"
    )
    with pytest.raises(UserError, match=r"work was imported from .*site/work.py, not from the tree"):
        timed(repository)


def test_a_workload_that_hangs(repository, monkeypatch):
    monkeypatch.setattr(process, "_PATIENCE_SECONDS", 0.5)
    repository.suite.write_text("import time, work\nWORKLOADS = {'nap': lambda: lambda: time.sleep(60)}")
    start = time.monotonic()
    with pytest.raises(UserError, match=r"workload nap has not answered for 0\.5 s"):
        timed(repository)
    assert time.monotonic() - start < 30


def test_no_process_outlives_us_even_if_we_are_killed(repository, tmp_path):
    held = tmp_path / "held"
    repository.suite.write_text(
        f"import fcntl, work\nfile = open({str(held)!r}, 'a')\nfcntl.flock(file, fcntl.LOCK_SH)\n"
        "WORKLOADS = {'nap': lambda: work.work}"
    )
    program = (
        "import time; from pathlib import Path; from awbench.regress.process import *\n"
        f"tree = Tree('base', Path({str(repository.path)!r}), None, '')\n"
        f"with pair(tree, tree, SuiteRun(Path({str(repository.suite)!r}))): print('ready', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    with held.open("a") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    with held.open("a") as file:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.05)
    pytest.fail("a worker still holds its file")


def test_the_default_suite_builds_the_networks_of_the_tree(root, tmp_path):
    tree = process.Tree("base", root, None, "working tree")
    checked = tmp_path / "checked.py"
    checked.write_text(f"exec(open({str(process.DEFAULT_SUITE)!r}).read())\nassert torch.get_num_threads() == 3")
    with pair(tree, tree, SuiteRun(checked, 3, {"AWBENCH_REGRESS_VARIANTS": "resnet20 aw_resnet20"})) as (one, _):
        assert one.workloads == ["resnet20", "aw_resnet20"]
        one.warm_up("resnet20", 0.0)
        assert len(one.turn("resnet20", 0.0)) == 1
    unknown = SuiteRun(environment={"AWBENCH_REGRESS_VARIANTS": "resnet21"})
    with pytest.raises(UserError, match=re.escape("workload resnet21 fails")), pair(tree, tree, unknown):
        pass


def test_a_process_keeps_its_files_where_a_killed_commands_are_removed(repository, temporary_files):
    """Beside the tree, in the folder that the command holds: no folder of its own is left in the temporary files."""
    with side_by_side("main", None) as (base, head), pair(base, head, repository.suite_run):
        assert [path.name[:16] for path in temporary_files.iterdir()] == ["awbench-regress-"]
        assert len(list(base.path.parent.glob("process-*"))) == 2
