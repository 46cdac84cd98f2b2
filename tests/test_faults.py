"""Every call of a command that changes a file fails in turn: what is run again ends with equal results."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run_faults(root, command, *hows):
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")]), "AWBENCH_AW_STRATEGY": "rule",
    }  # fmt: skip
    words = [sys.executable, str(root / "tests/faults.py"), command, *hows]
    return subprocess.run(words, env=environment, cwd=root, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "sweep", "report", "table"])
def test_a_fault_at_every_call(command, root):
    run = run_faults(root, command)
    assert run.returncode == 0, run.stdout
    assert "SIGKILL: exit code -9" in run.stdout and "EIO: exit code 2" in run.stdout
