from __future__ import annotations

import subprocess
import sys

import pytest


def test_every_benchmark_can_be_collected(root):
    """`make bench` takes minutes; that it starts at all is known in seconds."""
    words = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(words, cwd=root, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    for suite in (root / "benchmarks").glob("test_*.py"):
        assert f"{suite.name}::" in found.stdout


@pytest.mark.end_to_end
def test_benchmarks_of_seconds_pass(root):
    """One round each: a benchmark whose records or calls are of an earlier version is found here."""
    suites = ["benchmarks/test_record_store.py", "benchmarks/test_complexity.py"]
    argv = [sys.executable, "-m", "pytest", *suites, "--benchmark-disable", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(argv, cwd=root, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
