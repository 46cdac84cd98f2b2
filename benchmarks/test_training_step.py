"""One step of SGD: forward, backward and update. What our loop adds to it is in `test_training_throughput.py`."""

from __future__ import annotations

import pytest

import awbench
from awbench.attention.aw_convolution import set_strategy
from awbench.kernels.strategies import AUTO

ROUNDS, WARM_UP_ROUNDS = 12, 3


@pytest.mark.parametrize("name", ["resnet18", "se_resnet18", "cbam_resnet18", "aw_resnet18"])
def test_step(benchmark, name, device, noise, sgd_steps, until_done):
    count, size = (64, 224) if device.type == "cuda" else (8, 96)
    benchmark.group = f"training step: {device.type}, batch {count} at {size} pixels"
    model = awbench.build(name).to(device).train()
    set_strategy(model, AUTO)  # as `awbench train` does
    step = sgd_steps(model, noise(count, size), 1)
    benchmark.pedantic(until_done(step), rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
