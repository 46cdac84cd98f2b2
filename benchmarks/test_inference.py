"""One call of a network. For ratios to the plain network with intervals, see `awbench latency`."""

from __future__ import annotations

import pytest
import torch

import awbench
from awbench.variants import parse_variant

ROUNDS, WARM_UP_ROUNDS = 20, 3
NAMES = (
    "resnet18",
    "se_resnet18",
    "cbam_resnet18",
    "aw_resnet18",
    "aw_se_resnet18",
    "aw_cbam_resnet18",
    "resnet50",
    "aw_resnet50",
)


@pytest.mark.parametrize("name", NAMES)
def test_inference(benchmark, name, device, place, until_done):
    model = place(awbench.build(name).eval())
    images = place(torch.randn(64 if device.type == "cuda" else 1, 3, 224, 224))
    setting = f"{device.type}, batch {len(images)}, {str(images.dtype).removeprefix('torch.')}"
    benchmark.group = f"inference of {parse_variant(name).plain}: {setting}"
    with torch.inference_mode():
        benchmark.pedantic(until_done(model), args=(images,), rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
