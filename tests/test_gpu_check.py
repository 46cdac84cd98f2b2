"""`make gpu`, as far as a machine without a GPU can go through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch


def check(root, *words, **environment):
    argv = [sys.executable, "tools/gpu_check.py", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(argv, cwd=root, capture_output=True, text=True, env=env)


def test_without_a_gpu_it_is_one_line(root, tmp_path):
    done = check(root, "--output", str(tmp_path), CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "make gpu: torch sees no CUDA GPU; this is for a machine that has one\n"
    done = check(root, "--device", "cpu", "--output", "/dev/null/x", "machine")
    assert (done.returncode, done.stderr) == (2, "gpu_check: --output /dev/null/x cannot be made: Not a directory\n")
    done = check(root, "--device", "cpu", "numeric")
    assert done.returncode == 2 and done.stderr.startswith("gpu_check: numeric is no step; use machine, fused_tests, ")


@pytest.mark.end_to_end
def test_steps_of_a_cpu_have_verdicts_and_figures(root, tmp_path):
    pytest.importorskip("triton")
    done = check(root, "--device", "cpu", "--output", str(tmp_path), "steps", "decoding", "machine", "host", "graph")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [
        json.loads((tmp_path / f"verdict-{name}.json").read_text())
        for name in ("machine", "host", "graph", "decoding", "steps")
    ]
    assert [verdict["verdict"] for verdict in verdicts] == ["pass", "pass", "skipped", "pass", "pass"]
    assert set(json.loads((tmp_path / "steps.json").read_text())) == {"resnet20", "aw_resnet20"}
    assert "aten::convolution" in (tmp_path / "profile-aw_resnet20.txt").read_text()
    assert (tmp_path / "summary.md").read_text().count("| pass") == 4


FAULTY = """
import os, sys, time
sys.path[:0] = ["tools"]
import gpu_check, gpu_steps
from pathlib import Path

def crash(setting): os.abort()
def hang(setting): time.sleep(100)
def wrong(setting): raise gpu_steps.Failed("values are off")
def fine(setting): return "fine"

gpu_steps.STEPS.clear()
for run in (crash, hang, wrong, fine):
    gpu_steps.STEPS[run.__name__] = gpu_steps.Step("", run, 100 if run is not hang else 1)
gpu_check.__file__ = __file__
sys.exit(gpu_check.main())
"""


def test_a_step_that_crashes_hangs_or_finds_something_stops_none_after_it(root, tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    argv = [sys.executable, str(tmp_path / "faulty.py"), "--device", "cpu", "--output", str(tmp_path)]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    names = ("crash", "hang", "wrong", "fine")
    found = [json.loads((tmp_path / f"verdict-{name}.json").read_text()) for name in names]
    assert [step["verdict"] for step in found] == ["FAIL", "FAIL", "FAIL", "pass"]
    lines = [step["line"] for step in found]
    assert lines[0].startswith("ended with exit code -6; see ")
    assert lines[1].startswith("not done within 4 s; see ")
    assert lines[2:] == ["values are off", "fine"]


@pytest.mark.slow
def test_all_steps_on_a_cpu(root, tmp_path):
    """The kernels in Triton's interpreter, trainings, detectors: what is specific to CUDA is skipped."""
    done = check(root, "--device", "cpu", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert torch.cuda.is_available() or "numerics" in done.stdout


def test_the_floors_of_the_document_are_computed(root):
    assert subprocess.run([sys.executable, "tools/gpu_floors.py", "--check"], cwd=root).returncode == 0
