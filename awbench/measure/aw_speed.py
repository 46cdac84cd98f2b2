"""Speed of one AW-convolution beside a plain one: every strategy, SE and CBAM, interleaved, at ResNet-50's shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from awbench.attention import CBAM, AWConv2d, SqueezeExcitation
from awbench.errors import UserError
from awbench.kernels import aw_conv2d, chosen_strategy
from awbench.kernels.strategies import AUTO, strategies_for
from awbench.kernels.timers import CUDATimer, timer_for
from awbench.measure.latency import LAYOUTS, LatencySettings, check_settings, peak_of_call
from awbench.measure.timing import (
    Case,
    OnProgress,
    Timing,
    TimingGoal,
    ignore_progress,
    interleave,
    measure_overhead,
)

PLAIN = "plain"
AW_LAYER = "aw layer"
DIRECTIONS = ("forward", "forward and backward")
_COPIED_BYTES = 2**30
_MATRIX_SIDE = 8192
_REPEATS = 20


@dataclass(frozen=True)
class Shape:
    """A 3x3 convolution, border 1, as many output as input channels, of a square input of `size` pixels a side."""

    channels: int
    size: int
    stride: int = 1

    def __str__(self) -> str:
        return f"{self.channels}x{self.size}x{self.size}" + (f", stride {self.stride}" if self.stride > 1 else "")


# Every distinct 3x3 convolution of ResNet-50 (v1.5) at 224 pixels.
RESNET50_SHAPES = (
    Shape(64, 56), Shape(128, 28), Shape(256, 14), Shape(512, 7),
    Shape(128, 56, 2), Shape(256, 28, 2), Shape(512, 14, 2),
)  # fmt: skip


LAYERS: dict[str, Callable[[Shape, int | None], nn.Module]] = {
    AW_LAYER: lambda shape, e: AWConv2d(
        shape.channels, shape.channels, 3, shape.stride, 1, bias=False, strategy=AUTO, expansion=e
    ),
    "se": lambda shape, e: SqueezeExcitation(shape.channels),
    "cbam": lambda shape, e: CBAM(shape.channels),
}


@dataclass(frozen=True)
class SpeedSettings:
    """How convolutions run.

    Attributes:
        device: "cpu" or "cuda".
        batch_size: images of a call.
        dtype: a name such as "float32".
        layout: key of `awbench.measure.latency.LAYOUTS`.
        direction: one of DIRECTIONS; backward gives the gradients of input, kernel and map.
        expansion: e, input channels that share a value of the map; None for all, C1.
    """

    device: str = "cpu"
    batch_size: int = 8
    dtype: str = "float32"
    layout: str = "contiguous"
    direction: str = "forward"
    expansion: int | None = None


@dataclass(frozen=True)
class Speed:
    """What was measured of one method at one shape.

    Attributes:
        method: "plain", a strategy, "auto", "aw layer" (an AWConv2d with "auto": the attention branch too), or "se" or
            "cbam" (the module alone, on the same input).
        executed_as: the strategies that "auto" chose, by direction; empty for others.
        timing: in seconds; the ratio is to the plain convolution.
        peak_memory_bytes: of tensors given and allocated; None where it could not be found out.
    """

    method: str
    executed_as: dict[str, str]
    timing: Timing
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class ShapeSpeed:
    """Of one interleaved run at one shape.

    Attributes:
        floors: seconds that the plain convolution cannot be faster than: "bytes", its tensors moved once at the
            measured rate of a copy; "operations", at the measured rate of a matrix product. Empty on a CPU.
        notes: what a reader must know.
    """

    shape: Shape
    speeds: tuple[Speed, ...]
    floors: dict[str, float]
    overhead: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Rates:
    """Of a GPU, measured: bytes moved a second by a copy, operations a second by a matrix product in the dtype."""

    bytes_per_s: float
    operations_per_s: float


def check_speed_settings(settings: SpeedSettings, shapes: Sequence[Shape] = ()) -> torch.dtype:
    """The dtype, if convolutions of the shapes can run so.

    Raises:
        UserError: naming the setting, its value and what would be right.
    """
    common, e = math.gcd(*(shape.channels for shape in shapes)), settings.expansion
    if e is not None and (e < 1 or common % e):
        raise UserError(f"expansion {e} does not divide the channels of every shape; use a divisor of {common}")
    return check_settings(LatencySettings(settings.device, settings.batch_size, settings.dtype, settings.layout))


def methods(settings: SpeedSettings) -> tuple[str, ...]:
    """All that is timed, the plain convolution first."""
    strategies = strategies_for(torch.device(settings.device), check_speed_settings(settings))
    # Triton's interpreter is for tests; a minute a call says nothing of speed.
    strategies = tuple(name for name in strategies if name != "fused" or settings.device == "cuda")
    return (PLAIN, *strategies, AUTO, *LAYERS)


def measure_shape(
    shape: Shape,
    settings: SpeedSettings,
    goal: TimingGoal,
    rates: Rates | None = None,
    on_progress: OnProgress = ignore_progress,
) -> ShapeSpeed:
    """Time every method at one shape.

    Args:
        rates: of the GPU, for the floors.
        on_progress: see `awbench.measure.timing.interleave`.

    Raises:
        UserError: as `check_speed_settings`.
    """
    check_speed_settings(settings, [shape])
    device = torch.device(settings.device)
    backward = settings.direction != DIRECTIONS[0]
    cases, memory, executed_as, notes = [], {}, {}, []
    with torch.inference_mode(not backward), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = make_tensors(shape, settings)
        for method in methods(settings):
            call, tensors = make_call(method, shape, made, settings)
            run = with_gradients(call, tensors) if backward else call
            try:
                memory[method] = peak_of_call(tensors, run)
            except torch.OutOfMemoryError:
                notes.append(f"{shape}: {method} does not fit in memory and is left out")
                continue
            executed_as[method] = _executed_as(shape, made, backward) if method in (AUTO, AW_LAYER) else {}
            cases.append(_case(method, run))
        timings = interleave(cases, timer_for(device, queued=True), goal, on_progress)
    return ShapeSpeed(
        shape,
        tuple(Speed(t.name, executed_as[t.name], t, memory[t.name]) for t in timings.cases),
        _floors(made, backward, rates) if rates else {},
        timings.overhead,
        (*notes, *(f"{shape}: {note}" for note in timings.notes)),
    )


def _case(method: str, run: Callable[[], Any]) -> Case:
    return Case(method, lambda: None, {"call": lambda _: run()}, "call", PLAIN)


@dataclass(frozen=True)
class Tensors:
    I: Tensor
    K: Tensor
    A: Tensor
    O: Tensor


def make_tensors(shape: Shape, settings: SpeedSettings) -> Tensors:
    """Input, kernel, the map, laid out as a network makes it, and a tensor like the output."""
    C, N = shape.channels, settings.batch_size
    compact = C // (settings.expansion or C)
    layout = LAYOUTS[settings.layout]
    place = {"device": settings.device, "dtype": getattr(torch, settings.dtype)}
    I = torch.randn(N, C, shape.size, shape.size).to(**place, memory_format=layout)
    K = (torch.randn(C, C, 3, 3) / math.sqrt(9 * C)).to(**place, memory_format=layout)
    A = torch.rand(N, C * compact, 3, 3).to(**place, memory_format=layout).unflatten(1, (C, compact))
    return Tensors(I, K, A, F.conv2d(I, K, None, shape.stride, 1))


def make_call(
    method: str, shape: Shape, made: Tensors, settings: SpeedSettings
) -> tuple[Callable[[], Tensor], tuple[Tensor, ...]]:
    """(what is timed, the tensors it works on)."""
    I, K, A = made.I, made.K, made.A
    if method == PLAIN:
        return lambda: F.conv2d(I, K, None, shape.stride, 1), (I, K)
    if method in LAYERS:
        layer = (
            LAYERS[method](shape, settings.expansion)
            .eval()
            .to(I.device, I.dtype)
            .to(memory_format=LAYOUTS[settings.layout])
        )
        return lambda: layer(I), (I, *layer.parameters())
    return lambda: aw_conv2d(I, K, A, None, shape.stride, 1, strategy=method), (I, K, A)


def with_gradients(call: Callable[[], Tensor], tensors: Sequence[Tensor]) -> Callable[[], Any]:
    wanted = [tensor.requires_grad_() for tensor in tensors]
    gradient = torch.randn_like(call())
    return lambda: torch.autograd.grad(call(), wanted, gradient)


def _executed_as(shape: Shape, made: Tensors, backward: bool) -> dict[str, str]:
    I, K, A = made.I.detach(), made.K.detach(), made.A.detach()
    chosen = {"forward": chosen_strategy(I, K, A, shape.stride, 1)}
    if backward:
        chosen["backward"] = chosen_strategy(I, K, A, shape.stride, 1, grad_output=made.O)
    return chosen


def measure_rates(dtype: torch.dtype) -> Rates:
    """Of the current GPU, at the clocks it has."""
    timer = CUDATimer()
    overhead = measure_overhead(timer)

    def seconds(run: Callable[[], Any]) -> float:
        for _ in range(3):
            run()
        timer.wait()
        start = timer.mark()
        for _ in range(_REPEATS):
            run()
        end = timer.mark()
        timer.wait()
        return (timer.seconds(start, end) - overhead) / _REPEATS

    source = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source))
    a, b = (torch.randn(_MATRIX_SIDE, _MATRIX_SIDE, device="cuda").to(dtype) for _ in range(2))
    return Rates(2 * _COPIED_BYTES / copy, 2 * _MATRIX_SIDE**3 / seconds(lambda: a @ b))


def _floors(made: Tensors, backward: bool, rates: Rates) -> dict[str, float]:
    I, K, O = made.I.numel(), made.K.numel(), made.O.numel()
    return floors_of(I, K, O, made.K[0].numel(), made.I.element_size(), backward, rates)


def floors_of(
    I: int, K: int, O: int, products: int, element_bytes: int, backward: bool, rates: Rates
) -> dict[str, float]:
    """Seconds that a plain convolution cannot be faster than.

    Forward reads I and K and writes O; backward reads dO, I and K and writes dI and dK, with two more products.

    Args:
        I, K, O: numbers of the tensors.
        products: multiply-accumulates for a number of O.
    """
    moved = I + K + O + ((O + 2 * I + 2 * K) if backward else 0)
    operations = 2 * O * products * (3 if backward else 1)
    return {"bytes": moved * element_bytes / rates.bytes_per_s, "operations": operations / rates.operations_per_s}
