"""Latency of networks on one device: interleaved, in one run, as ratios to the plain network."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from awbench.attention.aw_convolution import set_strategy
from awbench.errors import UserError
from awbench.kernels import check_strategy
from awbench.kernels.timers import timer_for
from awbench.measure.complexity import check_image_size
from awbench.measure.timing import (
    Case,
    OnProgress,
    Timing,
    TimingGoal,
    Timings,
    ignore_progress,
    interleave,
)
from awbench.models import build_variant
from awbench.variants import ModelOptions, Variant, parse_variant

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
NETWORK = "network"
_USUAL_DTYPES = "float32, bfloat16, float16 or float64"
# How libraries say it that have no exception of their own for it.
_MEMORY_ENDED = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "Storage size calculation overflowed")
_POOL_BYTES = 64 * 2**20  # of inputs
_LARGEST_POOL = 64


@dataclass(frozen=True)
class LatencySettings:
    """How networks run.

    Attributes:
        device: "cpu" or "cuda".
        batch_size: images of a call.
        dtype: of weights and images, a name such as "float32" or "bfloat16".
        layout: key of LAYOUTS.
        compile: through torch.compile.
        cuda_graph: captured once and replayed.
        image_size: pixels a side; None for the architecture's own.
        aw_strategy: how AW-convolutions are executed.
    """

    device: str = "cpu"
    batch_size: int = 1
    dtype: str = "float32"
    layout: str = "contiguous"
    compile: bool = False
    cuda_graph: bool = False
    image_size: int | None = None
    aw_strategy: str = "auto"


@dataclass(frozen=True)
class TimedNetwork:
    """A network to be timed.

    Attributes:
        variant: what is built.
        options: how.
        label: what tells it from others of its variant in one run; "" for the variant's name.
    """

    variant: Variant
    options: ModelOptions = field(default_factory=ModelOptions)
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or self.variant.name


@dataclass(frozen=True)
class Latency:
    """What was measured of one network.

    Attributes:
        network: that was timed.
        timing: in seconds.
        peak_memory_bytes: the most that this network alone needs at once: weights, input, all that lies between;
            as torch's allocators see it. None where it could not be found out.
    """

    network: TimedNetwork
    timing: Timing
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class LatencyRun:
    """Networks measured together.

    Attributes:
        settings: in force; the batch may be smaller than asked for.
        overhead: what timing itself adds to a call, in seconds.
        notes: what a reader must know.
    """

    settings: LatencySettings
    latencies: tuple[Latency, ...]
    overhead: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """A network that is ready to be timed, and its peak memory in bytes, if known."""

    case: Case
    peak_memory_bytes: int | None


def with_plain(networks: Iterable[TimedNetwork]) -> list[TimedNetwork]:
    """The networks in their order, each plain one before the first that is compared with it."""
    found: dict[str, TimedNetwork] = {}
    for network in networks:
        found.setdefault(network.variant.plain, TimedNetwork(parse_variant(network.variant.plain), network.options))
        found.setdefault(network.name, network)
    return list(found.values())


def check_settings(settings: LatencySettings) -> torch.dtype:
    """The dtype, if networks can run so.

    Raises:
        UserError: naming the setting, its value and what would be right.
    """
    if settings.batch_size < 1:
        raise UserError(f"batch size {settings.batch_size} is not a number of images; use 1 or more")
    if settings.layout not in LAYOUTS:
        raise UserError(f"layout {settings.layout!r} is not known; use {' or '.join(LAYOUTS)}")
    check_strategy(settings.aw_strategy)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda is not available on this machine; use --device cpu")
    if settings.cuda_graph and settings.device != "cuda":
        raise UserError(f"a CUDA graph needs a CUDA device; the device is {settings.device}")
    dtype = getattr(torch, settings.dtype, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise UserError(f"dtype {settings.dtype!r} is not a floating-point dtype; use {_USUAL_DTYPES}")
    try:
        image = torch.zeros(1, 2, 4, 4, device=settings.device, dtype=dtype)
        nn.functional.conv2d(image, image[:, :, :3, :3]) @ image.new_ones(2, 1)
    except RuntimeError as error:
        raise UserError(
            f"dtype {settings.dtype} does not work on {settings.device} ({str(error).splitlines()[0]}); "
            f"use {_USUAL_DTYPES}"
        ) from None
    return dtype


def measure_latency(
    networks: Sequence[TimedNetwork],
    settings: LatencySettings,
    goal: TimingGoal,
    on_progress: OnProgress = ignore_progress,
) -> LatencyRun:
    """Time classification networks side by side, with random weights, in evaluation mode.

    Args:
        networks: plain ones are added where they are missing.
        on_progress: see `awbench.measure.timing.interleave`.

    Raises:
        UserError: as `check_settings`; a single image does not fit in memory; torch.compile cannot compile.
    """
    check_settings(settings)
    for network in networks:
        check_image_size(network.variant, settings.image_size)
    return side_by_side(networks, settings, goal, _prepare_classifier, on_progress)


def side_by_side(
    networks: Sequence[TimedNetwork],
    settings: LatencySettings,
    goal: TimingGoal,
    prepare: Callable[[TimedNetwork, LatencySettings], Prepared],
    on_progress: OnProgress,
) -> LatencyRun:
    """Time networks in one interleaved run. A batch that does not fit in memory is halved, for all of them.

    Args:
        prepare: makes a network under the settings in force.

    Raises:
        UserError: a single image does not fit.
    """
    together, asked = with_plain(networks), settings.batch_size
    while (measured := _measure_or_none(together, settings, goal, prepare, on_progress)) is None:
        if settings.batch_size == 1:
            names = ", ".join(network.name for network in together)
            raise UserError(f"one image does not fit in the memory of {settings.device} with {names}")
        settings = replace(settings, batch_size=settings.batch_size // 2)
    memory, run = measured
    notes = list(run.notes)
    if settings.batch_size < asked:
        notes.append(f"batch size {asked} did not fit in memory; it was halved to {settings.batch_size}")
    if not run.reached:
        notes.append(f"the time was up before every interval was as narrow as {goal.width:.1%}")
    latencies = [
        Latency(network, timing, peak) for network, timing, peak in zip(together, run.cases, memory, strict=True)
    ]
    return LatencyRun(settings, tuple(latencies), run.overhead, tuple(notes))


def _measure_or_none(
    networks: Sequence[TimedNetwork],
    settings: LatencySettings,
    goal: TimingGoal,
    prepare: Callable[[TimedNetwork, LatencySettings], Prepared],
    on_progress: OnProgress,
) -> tuple[list[int | None], Timings] | None:
    """(peak memory of each, the timings), or None where memory ends; all that it held is free when it returns."""
    device = torch.device(settings.device)
    try:
        with torch.inference_mode(), _fastest_algorithms(device), _every_network_compiled():
            prepared = [prepare(network, settings) for network in networks]
            timings = interleave([network.case for network in prepared], timer_for(device), goal, on_progress)
            return [network.peak_memory_bytes for network in prepared], timings
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        if not any(phrase in str(error) for phrase in _MEMORY_ENDED):
            raise
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _prepare_classifier(network: TimedNetwork, settings: LatencySettings) -> Prepared:
    dtype, layout, device = check_settings(settings), LAYOUTS[settings.layout], torch.device(settings.device)
    size = check_image_size(network.variant, settings.image_size)
    shape = (settings.batch_size, 3, size, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_variant(network.variant.name, network.options).eval().to(device, dtype).to(memory_format=layout)
        set_strategy(model, settings.aw_strategy)
        _require_room(2 * torch.Size(shape).numel() * dtype.itemsize, device)
        pool = _pool_size(torch.Size(shape).numel() * dtype.itemsize)
        images = [torch.randn(shape).to(device, dtype, memory_format=layout) for _ in range(pool)]
    run: Callable[[Tensor], Any] = _compiled(model, network.name, images[0]) if settings.compile else model
    # what a graph allocates is its own pool, which nobody counts
    peak = None if settings.cuda_graph else peak_memory(model, images[0], lambda: run(images[0]))
    inputs = itertools.cycle(images)
    next_input: Callable[[], Tensor] = inputs.__next__
    if settings.cuda_graph:
        next_input, run = _captured(run, inputs)
    return Prepared(Case(network.name, next_input, {NETWORK: run}, NETWORK, network.variant.plain), peak)


def _require_room(needed: int, device: torch.device) -> None:
    """Check that this machine has so much memory: Linux would give it, and kill the process when it is used.

    Args:
        needed: bytes.

    Raises:
        MemoryError: there are fewer.
    """
    if device.type == "cpu" and needed > os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError


def _pool_size(image_bytes: int) -> int:
    """Enough different inputs that a call hardly finds its own in a cache; of small ones, as many as we keep."""
    return min(_LARGEST_POOL, max(2, -(-_POOL_BYTES // image_bytes)))


def _compiled(model: nn.Module, name: str, image: Tensor) -> Callable[[Tensor], Any]:
    compiled: Any = torch.compile(model)
    try:
        compiled(image)
    except torch._dynamo.exc.TorchDynamoException as error:
        raise UserError(f"torch.compile cannot compile {name} here: {str(error).strip().splitlines()[0]}") from None
    run: Callable[[Tensor], Any] = compiled
    return run


def _captured(
    run: Callable[[Tensor], Any], inputs: Iterator[Tensor]
) -> tuple[Callable[[], Tensor], Callable[[Tensor], Any]]:
    """(next input, replay): each input is copied into the graph's own before the timed region.

    A graph knows addresses alone, so `replay` keeps the network: its weights lie there.
    """
    place = next(inputs).clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run(place)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(place)
    return lambda: place.copy_(next(inputs)), _Replay(graph, run)


@dataclass(frozen=True)
class _Replay:
    graph: torch.cuda.CUDAGraph
    network: Callable[[Tensor], Any]

    def __call__(self, image: Tensor) -> None:
        self.graph.replay()


@contextmanager
def _fastest_algorithms(device: torch.device) -> Iterator[None]:
    """cuDNN tries its algorithms, as everybody does who times fixed shapes."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _every_network_compiled() -> Iterator[None]:
    """torch.compile gives up, with a warning, after eight networks that share the code of one class."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=1000, fail_on_recompile_limit_hit=True):
        yield


def peak_memory(model: nn.Module, image: Tensor, run: Callable[[], Any]) -> int | None:
    """Bytes that a call of this network alone holds at most: weights, the input, and what torch allocates meanwhile.

    Args:
        image: the input of `run`.
        run: calls the network once.
    """
    return peak_of_call((*model.parameters(), *model.buffers(), image), run)


def peak_of_call(own: Iterable[Tensor], run: Callable[[], Any]) -> int | None:
    """Bytes of the tensors that a call works on, and what torch's allocators hand out while it runs.

    Args:
        own: on one device.
    """
    own = tuple(own)
    own_bytes = sum(tensor.numel() * tensor.element_size() for tensor in own)
    run()  # libraries allocate more the first time
    if own[0].device.type != "cuda":
        allocated = _peak_of_cpu_allocations(run)
        return None if allocated is None else own_bytes + allocated
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return own_bytes + torch.cuda.max_memory_allocated() - before


def _peak_of_cpu_allocations(run: Callable[[], Any]) -> int | None:
    """The highest sum of bytes that torch's CPU allocator hands out during `run`; None where the profiler is silent."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's library reports to stderr that there is no GPU
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    results = getattr(profiler.profiler, "kineto_results", None)
    if results is None:
        return None
    events = [event for event in results.events() if event.name() == "[memory]"]
    allocated = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(allocated, default=None)
