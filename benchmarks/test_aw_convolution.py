"""An AW-convolution at ResNet-50's 3x3 shapes by every strategy, beside a plain one, SE and CBAM; whole networks.

Ratios are measured interleaved, in the same test; they and the peak memory are printed and in the benchmark's extra
info. The same measurement with a table and records: `awbench aw-speed`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import awbench
from awbench.attention.aw_convolution import set_strategy
from awbench.kernels.strategies import AUTO
from awbench.kernels.timers import timer_for
from awbench.measure.aw_speed import (
    DIRECTIONS,
    PLAIN,
    RESNET50_SHAPES,
    SpeedSettings,
    make_call,
    make_tensors,
    methods,
    with_gradients,
)
from awbench.measure.latency import peak_of_call
from awbench.measure.timing import Case, TimingGoal, interleave

ROUNDS, WARM_UP_ROUNDS = 5, 1
RATIO_SECONDS = 0.5
NETWORK_SECONDS = 20.0
CUDA = torch.cuda.is_available()
SETTINGS = SpeedSettings("cuda", 64, "bfloat16", "channels_last") if CUDA else SpeedSettings()


@pytest.fixture
def report(benchmark, capsys):
    """Puts numbers where readers find them."""

    def report(line: str, **numbers: object) -> None:
        benchmark.extra_info.update(numbers)
        with capsys.disabled():
            print(f"\n{benchmark.name}: {line}")

    return report


@pytest.fixture
def take_ratios(benchmark, device, report) -> Callable[[dict[str, Callable[[], object]], str, float], None]:
    """(calls by name, the baseline's name, seconds): their ratios to the baseline, with 95 % intervals."""

    def take(calls: dict[str, Callable[[], object]], baseline: str, seconds: float) -> None:
        if benchmark.disabled:
            return
        cases = [
            Case(name, lambda: None, {"call": lambda _, call=call: call()}, "call", baseline)
            for name, call in calls.items()
        ]
        for case in interleave(cases, timer_for(device), TimingGoal(budget=seconds)).cases:
            if case.ratio:
                r = case.ratio
                numbers = {f"{case.name}_ratio": r.value, f"{case.name}_low": r.low, f"{case.name}_high": r.high}
                report(f"{case.name} {r.value:.3f} ({r.low:.3f} to {r.high:.3f}) of {baseline}", **numbers)

    return take


@pytest.mark.parametrize("shape", RESNET50_SHAPES, ids=str)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("method", methods(SETTINGS))
def test_convolution(benchmark, method, direction, shape, until_done, take_ratios, report):
    benchmark.group = f"3x3 convolution of {shape}, {direction}: {SETTINGS.device}, batch {SETTINGS.batch_size}"
    backward = direction != DIRECTIONS[0]
    with torch.inference_mode(not backward), torch.set_grad_enabled(backward):
        made = make_tensors(shape, SETTINGS)
        calls, tensors = {}, {}
        for name in dict.fromkeys((PLAIN, method)):
            call, tensors[name] = make_call(name, shape, made, SETTINGS)
            calls[name] = with_gradients(call, tensors[name]) if backward else call
        benchmark.pedantic(until_done(calls[method]), rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
        if benchmark.disabled:
            return
        take_ratios(calls, PLAIN, RATIO_SECONDS)
        memory = peak_of_call(tensors[method], calls[method])
        report("peak memory unknown" if memory is None else f"{memory / 2**20:.1f} MiB", peak_memory_bytes=memory)


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize("work", ["inference", "training step"])
def test_network(benchmark, work, depth, noise, place, sgd_steps, until_done, take_ratios):
    """AW, SE and the plain network of a depth in one run: the AW network's time, and the ratios to the plain one's."""
    names = [f"{prefix}resnet{depth}" for prefix in ("", "se_", "aw_")]
    count, size = (64, 224) if CUDA else (2, 96)
    batch = noise(count, size)
    benchmark.group = f"{work} of resnet{depth}: {SETTINGS.device}, batch {count} at {size} pixels"
    calls = {}
    for name in names:
        model = awbench.build(name)
        set_strategy(model, AUTO)
        if work == "inference":
            calls[name] = _inference(place(model.eval()), place(batch.images))
        else:  # in float32, as `test_training_step.py`
            calls[name] = sgd_steps(model.to(batch.images.device).train(), batch, 1)
    benchmark.pedantic(until_done(calls[names[-1]]), rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
    take_ratios(calls, names[0], NETWORK_SECONDS)


def _inference(model: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            return model(images)

    return call


@pytest.mark.parametrize("name", ["se", "cbam", "eca"])
def test_attention_module(benchmark, name, place, until_done, take_ratios):
    """As it stands in ResNet-50's first stage, beside the plain block that it is added to."""
    I = place(torch.randn(SETTINGS.batch_size, 256, 56, 56))
    benchmark.group = f"attention module of 256x56x56, forward: {I.device.type}, batch {len(I)}"
    module = place(awbench.build(f"{name}_resnet50").layer1[1].attention.eval())
    block = place(awbench.build("resnet50").layer1[1].eval())
    with torch.inference_mode():
        benchmark.pedantic(until_done(module), args=(I,), rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
        take_ratios({"module": lambda: module(I), "block": lambda: block(I)}, "block", RATIO_SECONDS)
