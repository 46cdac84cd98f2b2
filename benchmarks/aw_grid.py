"""How near the size rule is to the best strategy on a CPU, at every 3x3 shape of ResNets on ImageNet and on 28 and 32
pixels (from 4 x 4 down those of ImageNet's networks with 32), and what training steps of whole networks take.

    python benchmarks/aw_grid.py [--threads 1 2] [--batches 1 8 128] [--layouts ...] [--seconds 2] [--networks-only]

One row a case, times of forward and backward together, interleaved in one run. With one thread it is the thread's
processor time that counts, which other load on the machine does not add to; with more, the clock on the wall.
"before" is the rule until commit d873ceb, with the strategies there were. Set OMP_WAIT_POLICY=passive where anything
else runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

import awbench
from awbench.attention.aw_convolution import set_strategy
from awbench.kernels import aw_conv2d, request
from awbench.kernels.geometry import Geometry
from awbench.kernels.strategies import RULE, size_rule
from awbench.kernels.timers import CPUTimer
from awbench.measure.latency import LAYOUTS
from awbench.measure.timing import Case, TimingGoal, interleave

# C1, C2, pixels a side, stride
SHAPES = [
    (16, 16, 28, 1), (16, 32, 28, 2), (32, 32, 14, 1), (32, 64, 14, 2), (64, 64, 7, 1),
    (16, 16, 32, 1), (16, 32, 32, 2), (32, 32, 16, 1), (32, 64, 16, 2), (64, 64, 8, 1),
    (64, 64, 56, 1), (128, 128, 28, 1), (256, 256, 14, 1), (512, 512, 7, 1),
    (128, 128, 56, 2), (256, 256, 28, 2), (512, 512, 14, 2),
    (128, 128, 4, 1), (128, 256, 4, 2), (256, 256, 2, 1), (256, 512, 2, 2), (512, 512, 1, 1),
]  # fmt: skip
STRATEGIES = ("grouped", "per_sample", "tapwise", "direct", "blocked")
HOPELESS_NUMBERS = 2**28  # of all samples' kernels: the strategies that write them take seconds a call
# (network, batch, pixels, classes' images)
NETWORKS = [("resnet20", 128, 28), ("resnet50", 4, 128)]


class ThreadTimer(CPUTimer):
    def mark(self) -> int:
        return time.thread_time_ns()


def rule_before(I: torch.Tensor, K: torch.Tensor, A: torch.Tensor, geometry: Geometry) -> str:
    large = K.numel() >= 2**18
    if large and K.shape[1] // A.shape[2] >= 16:
        return "direct"
    height, width = geometry.output_size(I, K)
    if A.shape[2] * height * width < K.shape[1]:
        return "tapwise"
    return "per_sample" if large else "grouped"


def ratios(calls: dict[str, Callable[[], Any]], baseline: str, threads: int, seconds: float) -> dict[str, float]:
    """Of each call's time to the baseline's."""
    cases = [
        Case(name, lambda: None, {"call": lambda _, call=call: call()}, "call", baseline)
        for name, call in calls.items()
    ]
    timer = ThreadTimer() if threads == 1 else CPUTimer()
    timings = interleave(cases, timer, TimingGoal(budget=seconds))
    return {case.name: case.ratio.value if case.ratio else 1.0 for case in timings.cases}


def convolution(shape: Sequence[int], batch: int, layout: str, threads: int, seconds: float) -> str:
    C1, C2, size, stride = shape
    I = torch.randn(batch, C1, size, size).to(memory_format=LAYOUTS[layout]).requires_grad_()
    K = torch.randn(C2, C1, 3, 3).to(memory_format=LAYOUTS[layout]).requires_grad_()
    A = torch.rand(batch, C2, 1, 3, 3).requires_grad_()
    gradient = torch.randn_like(F.conv2d(I, K, None, stride, 1))
    geometry = Geometry([stride, stride], [1, 1], [1, 1])
    rule, before = size_rule(I, K, A, geometry), rule_before(I, K, A, geometry)
    names = set(STRATEGIES) if batch * K.numel() < HOPELESS_NUMBERS else {"direct", "blocked", rule, before}

    def plain() -> Any:
        return torch.autograd.grad(F.conv2d(I, K, None, stride, 1), (I, K), gradient)

    def aw(strategy: str) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(aw_conv2d(I, K, A, None, stride, 1, strategy=strategy), (I, K, A), gradient)

    found = ratios({"plain": plain, **{name: aw(name) for name in sorted(names)}}, "plain", threads, seconds)
    best = min(names, key=found.__getitem__)
    return (
        f"{threads} | {layout} | {batch} | {C1}-{C2} {size}x{size} /{stride} | {best} {found[best]:.2f} | "
        f"{rule} {found[rule]:.2f} | {found[rule] / found[best]:.2f} | {before} {found[before]:.2f}"
    )


def training_step(network: str, batch: int, size: int, layout: str, threads: int, seconds: float) -> str:
    images = torch.randn(batch, 3, size, size).to(memory_format=LAYOUTS[layout])
    labels = torch.randint(0, 10, (batch,))

    def steps(name: str, rule: Callable[..., str]) -> Callable[[], None]:
        model = awbench.build(name).train().to(memory_format=LAYOUTS[layout])
        set_strategy(model, RULE)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4)

        def step() -> None:
            request.size_rule = rule
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            request.size_rule = size_rule

        return step

    calls = {
        "plain": steps(network, size_rule),
        "se": steps(f"se_{network}", size_rule),
        "aw": steps(f"aw_{network}", size_rule),
        "before": steps(f"aw_{network}", rule_before),
    }
    found = ratios(calls, "plain", threads, seconds)
    return (
        f"{threads} | {layout} | {batch} | {network} {size}x{size} | AW {found['aw']:.2f} | "
        f"before {found['before']:.2f} | SE {found['se']:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 128])
    parser.add_argument("--layouts", nargs="+", default=["channels_last", "contiguous"], choices=list(LAYOUTS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of a row; a network takes five times as long")
    parser.add_argument("--networks-only", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(0)
    for threads in given.threads:
        torch.set_num_threads(threads)
        print("threads | layout | batch | training step | to plain's", flush=True)
        for network, batch, size in NETWORKS:
            for layout in given.layouts:
                print(training_step(network, batch, size, layout, threads, 5 * given.seconds), flush=True)
        if given.networks_only:
            continue
        print(
            "threads | layout | batch | convolution | best, to plain | rule, to plain | rule to best | before, to plain"
        )
        for layout in given.layouts:
            for batch in given.batches:
                for shape in SHAPES:
                    print(convolution(shape, batch, layout, threads, given.seconds), flush=True)


if __name__ == "__main__":
    main()
