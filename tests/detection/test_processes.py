"""Detectors started as a person would: killed by the system, and on several processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from detection_engines import ENGINES

from awbench.data.digits_detection import write
from awbench.training.checkpoint import Checkpoints

NAME = "faster_rcnn_aw_resnet18_fpn"
QUICK = [
    "--set", "iterations=8", "--set", "evaluate_every=8", "--set", "batch_size=4", "--set", "images_per_part=1",
    "--set", "schedule.steps=[6]", "--set", "schedule.warmup_iterations=2", "--set", "lr_scaled_by=0.1",
    "--set", "input.train=[48]", "--set", "input.test=48", "--set", "norm=batch",
    "--set", "sampling={anchors: 32, regions: 16, train_proposals: 50, test_proposals: 20}",
]  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    directory = tmp_path_factory.mktemp("digits") / "set"
    write(directory, train_images=12, val_images=7, width=96, height=64)
    return directory


def start(command: str, processes: int, results: Path, *words: str) -> subprocess.Popen:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return subprocess.Popen(
        [
            sys.executable,
            *launcher,
            "-m",
            "awbench",
            command,
            NAME,
            "--results",
            str(results),
            "--json",
            *QUICK,
            *words,
        ],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out)


def ap(result: dict) -> dict:
    return {name: value for name, value in result.items() if "ap" in name}


@pytest.mark.parametrize("engine", ENGINES)
def test_kills_at_random_moments_end_with_the_same_bits_and_ap(engine, digits, tmp_path):
    words = ["--engine", engine, "--data", str(digits), "--checkpoint-seconds", "0.5"]
    whole = finish(start("train", 1, tmp_path / "a", *words, "--output", str(tmp_path / "whole")))
    killed_words = [*words, "--output", str(tmp_path / "killed"), "--resume"]
    random.seed(time.time_ns())
    killed = 0
    for _ in range(20):
        process = start("train", 1, tmp_path / "b", *killed_words)
        try:
            process.wait(timeout=random.uniform(5.0, 14.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        process.communicate()
        if killed == 5 or process.returncode == 0:
            break
    resumed = finish(start("train", 1, tmp_path / "b", *killed_words))
    assert killed >= 1
    weights = [(tmp_path / folder / "weights.safetensors").read_bytes() for folder in ("whole", "killed")]
    assert weights[0] == weights[1]
    assert ap(resumed) == ap(whole) and resumed["iterations"] == whole["iterations"] == 8


@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_train_and_evaluate_as_one(engine, digits, tmp_path):
    # Momentum of SGD's first step is its gradient; AdamW would turn rounding errors of small ones into whole steps.
    sgd = "optimizer={name: sgd, lr: 0.01, weight_decay: 0}"
    words = ["--engine", engine, "--data", str(digits), "--set", "iterations=1", "--set", sgd]
    words.append("--keep-checkpoints")
    results, gradients = [], []
    for processes in (1, 2):
        run = tmp_path / str(processes) / "run"
        results.append(finish(start("train", processes, tmp_path / str(processes), *words, "--output", str(run))))
        step, state = Checkpoints(run / "checkpoints").load_newest()
        assert step == 1
        gradients.append([of["momentum_buffer"].double() for of in state["optimizer"]["state"].values()])
    for alone, shared in zip(*gradients, strict=True):  # in another order of summation
        assert (shared - alone).norm() <= 1e-5 * alone.norm()
    evaluated = [
        finish(
            start("eval", processes, tmp_path / f"eval{processes}", "--engine", engine, "--data", str(digits),
                  "--weights", str(tmp_path / "1" / "run" / "weights.safetensors"))
        )
        for processes in (1, 2)
    ]  # fmt: skip
    assert ap(evaluated[0]) == ap(evaluated[1]) == ap(results[0])
    assert evaluated[1]["images"] == 7
