"""What `awbench regress` times unless told otherwise: networks of several kinds, an image at a time on a CPU.

A suite is a file like this one: WORKLOADS has, by name, functions that set something up and return the function
whose calls are timed. It is run against each version of the code in turn, so it uses only what all versions have:
here, `awbench.build(name)`. What the command was told is in the environment, see `NAMES` and `DEVICE`.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable

import torch

import awbench

NAMES = os.environ.get("AWBENCH_REGRESS_VARIANTS", "resnet18 aw_resnet18 se_resnet18 cbam_resnet18 aw_resnet50").split()
DEVICE = os.environ.get("AWBENCH_REGRESS_DEVICE", "cpu")
_CIFAR_DEPTHS = {"20", "32", "56"}
_IMAGES = 4
_BATCH = 32 if DEVICE == "cuda" else 1  # a single image keeps a GPU waiting for its next kernel


def _network(name: str) -> Callable[[], object]:
    """One call of a network in float32; with several inputs in turn."""
    depth = re.findall(r"\d+", name)[-1:]
    pixels = 32 if _CIFAR_DEPTHS.issuperset(depth) and depth else 224
    torch.manual_seed(0)
    model = awbench.build(name).eval().to(DEVICE)
    for module in model.modules():
        if hasattr(module, "strategy"):  # AW-convolutions, executed as training and `awbench latency` do
            module.strategy = "auto"  # type: ignore[assignment]  # a word there
    images = itertools.cycle([torch.randn(_BATCH, 3, pixels, pixels).to(DEVICE) for _ in range(_IMAGES)])

    def call() -> None:
        with torch.inference_mode():
            model(next(images))
            if DEVICE == "cuda":  # calls return before the GPU is done: what is timed is until it is
                torch.cuda.synchronize()

    return call


WORKLOADS = {name: functools.partial(_network, name) for name in NAMES}
