"""A detector's training, killed at random moments and started again, ends with the weights of one that was not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time

import pytest

from awbench.data.digits_detection import write

CHANGES = (
    "iterations=12", "evaluate_every=6", "batch_size=2", "images_per_part=1", "lr_scaled_by=1", "norm=batch",
    "schedule={steps: [8], warmup_iterations: 1}", "input={train: [48, 64], train_max: 96, test: 48, test_max: 96}",
    "sampling={anchors: 32, regions: 16, train_proposals: 50, test_proposals: 20}",
)  # fmt: skip


def start(root, data, results):
    words = [sys.executable, "-m", "awbench", "train", "faster_rcnn_resnet18_fpn", "--engine", "torchvision"]
    words += ["--dataset", "digits-detection", "--data", data, "--results", results, "--output", results / "run"]
    words += ["--checkpoint-seconds", "0", "--resume", *(word for change in CHANGES for word in ("--set", change))]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        words, env=environment, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_ten_kills_at_random_moments_end_with_the_same_weights(root, tmp_path):
    write(tmp_path / "set", train_images=8, val_images=3, width=96, height=64)
    began = time.monotonic()
    whole = start(root, tmp_path / "set", tmp_path / "whole")
    said = whole.communicate()[0]
    assert whole.returncode == 0, said
    longest = time.monotonic() - began
    seed = time.time_ns()
    print("seed", seed)
    moments, killed = random.Random(seed), 0
    while killed < 10:
        process = start(root, tmp_path / "set", tmp_path / "killed")
        try:
            said = process.communicate(timeout=moments.uniform(longest / 4, longest))[0]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[0]
            killed += 1
        assert "Traceback" not in said
        if process.returncode == 0 and killed < 10:  # it was faster: again, from the start
            assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
            shutil.rmtree(tmp_path / "killed")
    process = start(root, tmp_path / "set", tmp_path / "killed")
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("*.partial"))


def weights(results):
    return (results / "run" / "weights.safetensors").read_bytes()
