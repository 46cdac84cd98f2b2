"""Command lines at random end with a documented exit code, and errors with one line; never with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("count", [100, pytest.param(20_000, marks=pytest.mark.slow)])
def test_command_lines_at_random(count, root):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    words = [sys.executable, str(root / "tests/command_lines.py"), str(count)]
    run = subprocess.run(words, env=environment, cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    counts = {line.strip().partition(" ")[2]: int(line.split()[0]) for line in run.stdout.splitlines()}
    assert sum(counts.values()) == count
    assert set(counts) <= {f"exit code {code}" for code in range(4)} and counts["exit code 2"] > count // 2
