"""Single layers at ResNet-50's shapes: 3x3 convolutions, each strategy of an AW-convolution, attention modules.

Ratios are measured interleaved, in the same test; they are printed and in the benchmark's extra info.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import awbench
from awbench.attention import AWConv2d
from awbench.kernels import STRATEGIES
from awbench.kernels.strategies import AUTO
from awbench.measure.timing import Case, Goal, interleave, timer_for

ROUNDS, WARM_UP_ROUNDS = 10, 2
RATIO_SECONDS = 1.0
SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))  # channels, pixels a side: of the 3x3 convolution of each stage
PLAIN = "plain"

of_every_shape = pytest.mark.parametrize(("channels", "size"), SHAPES, ids=[f"{C}x{s}x{s}" for C, s in SHAPES])


def convolution(name: str, channels: int) -> nn.Conv2d:
    """`PLAIN`, or an AW-convolution with this strategy."""
    if name == PLAIN:
        return nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return AWConv2d(channels, channels, 3, padding=1, bias=False, strategy=name)


@pytest.fixture
def images(device, place) -> Callable[[int, int], Tensor]:
    """(channels, pixels a side) -> the input of a layer."""
    count = 64 if device.type == "cuda" else 8
    return lambda channels, size: place(torch.randn(count, channels, size, size))


@pytest.fixture
def take_ratio(benchmark, device, capsys) -> Callable[[Callable[[], object], Callable[[], object], str], None]:
    """(call, baseline, what the baseline is): puts call / baseline with its 95 % interval where readers find it."""

    def take(call: Callable[[], object], baseline: Callable[[], object], name: str) -> None:
        if benchmark.disabled:
            return
        cases = [
            Case("baseline", lambda: None, {"call": lambda _: baseline()}, "call", "baseline"),
            Case("layer", lambda: None, {"call": lambda _: call()}, "call", "baseline"),
        ]
        ratio = interleave(cases, timer_for(device), Goal(budget=RATIO_SECONDS)).cases[1].ratio
        benchmark.extra_info.update(baseline=name, ratio=ratio.value, ratio_low=ratio.low, ratio_high=ratio.high)
        with capsys.disabled():
            print(f"\n{benchmark.name}: {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) of {name}")

    return take


@of_every_shape
@pytest.mark.parametrize("name", [PLAIN, *STRATEGIES, AUTO])
def test_forward(benchmark, name, channels, size, images, place, until_done, take_ratio):
    I = images(channels, size)
    benchmark.group = f"3x3 convolution of {channels}x{size}x{size}, forward: {I.device.type}, batch {len(I)}"
    layer, plain = (place(convolution(which, channels).eval()) for which in (name, PLAIN))
    with torch.inference_mode():
        benchmark.pedantic(until_done(layer), args=(I,), rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
        if name != PLAIN:
            take_ratio(lambda: layer(I), lambda: plain(I), "a plain convolution")


def forward_backward(layer: nn.Module, I: Tensor) -> Callable[[], object]:
    """Gradients for the input and all parameters."""
    wanted = [I.requires_grad_(), *layer.parameters()]
    gradient = torch.randn_like(layer(I))

    def run() -> object:
        with torch.enable_grad():
            return torch.autograd.grad(layer(I), wanted, gradient)

    return run


@of_every_shape
@pytest.mark.parametrize("name", [PLAIN, AUTO])
def test_forward_backward(benchmark, name, channels, size, images, place, until_done, take_ratio):
    I = images(channels, size)
    benchmark.group = f"3x3 convolution of {channels}x{size}x{size}, and backward: {I.device.type}, batch {len(I)}"
    layer, plain = (forward_backward(place(convolution(which, channels)), I) for which in (name, PLAIN))
    benchmark.pedantic(until_done(layer), rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
    if name != PLAIN:
        take_ratio(layer, plain, "a plain convolution")


@pytest.mark.parametrize("name", ["se", "cbam", "eca"])
def test_attention_module(benchmark, name, images, place, until_done, take_ratio):
    """As it stands in ResNet-50's first stage, beside the plain block that it is added to."""
    I = images(256, 56)
    benchmark.group = f"attention module of 256x56x56, forward: {I.device.type}, batch {len(I)}"
    module = place(awbench.build(f"{name}_resnet50").layer1[1].attention.eval())
    block = place(awbench.build("resnet50").layer1[1].eval())
    with torch.inference_mode():
        benchmark.pedantic(until_done(module), args=(I,), rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
        take_ratio(lambda: module(I), lambda: block(I), "the plain block around it")
