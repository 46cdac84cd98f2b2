"""Our harness beside other people's: the same calls, interleaved, in one process. And what it costs itself.

What is claimed: tools that time the same calls find the same median. Every round gives one median of each tool,
in an order drawn anew; a tool's result is the median over rounds with its 99 % interval. If the claim holds, both
intervals contain the same number, and so overlap, in at least 98 % of runs, whatever the distribution (Bonferroni);
where rounds are independent, twenty of them fail to overlap once in 50,000 runs. So the test is that they overlap.

Wide intervals overlap easily. How large a disagreement remains possible is shown by the ratio of the two tools within
rounds, from which the machine's load divides out: it is printed with its interval beside them.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tabulate import tabulate
from torch import Tensor
from torch.utils.benchmark import Timer

import awbench
from awbench.kernels.timers import timer_for
from awbench.measure.intervals import Interval, median_interval
from awbench.measure.timing import Case, TimingGoal, interleave, measure_overhead
from awbench.variants import parse_variant

ROUNDS, LEVEL = 20, 0.99
TURN_SECONDS = 0.15  # of a tool in a round: short, so that other load hits all tools alike
TIMM_CALLS, TIMM_WARM_UP_CALLS = 6, 2
OURS = "awbench"
# Starting a GPU's first kernel and waiting for its last one is in times by the host's clock and not in CUDA events'.
# Chosen, generously; on a CPU all read the same clock.
HOST_SECONDS = {"cpu": 0.0, "cuda": 50e-6}

Turn = Callable[[], float]  # the median of some calls, in seconds
Network = tuple[Callable[[Tensor], Any], Callable[[], Tensor]]  # a model, and what gives its next input


def inputs(size: int, device: torch.device) -> Callable[[], Tensor]:
    """Single images, four of them, round-robin."""
    return itertools.cycle([torch.randn(1, 3, size, size, device=device) for _ in range(4)]).__next__


def network(name: str, device: torch.device) -> Network:
    return awbench.build(name).eval().to(device), inputs(parse_variant(name).architecture.image_size, device)


def our_turn(model: Callable[[Tensor], Any], next_input: Callable[[], Tensor], device: torch.device) -> Turn:
    case = Case("network", next_input, {"network": model}, "network", "network")
    until_time_is_up = TimingGoal(width=0.0, budget=TURN_SECONDS)
    return lambda: interleave([case], timer_for(device), until_time_is_up).cases[0].stages["network"].value


def torchs_turn(model: Callable[[Tensor], Any], next_input: Callable[[], Tensor]) -> Turn:
    timer = Timer(
        "model(next_input())",
        globals={"model": model, "next_input": next_input},
        num_threads=torch.get_num_threads(),
    )
    return lambda: timer.blocked_autorange(min_run_time=TURN_SECONDS).median


def load_timms_script() -> ModuleType:
    path = os.environ.get("TIMM_BENCHMARK")
    if not path:
        pytest.skip(
            "timm's wheel lacks its script: TIMM_BENCHMARK=PATH names benchmark.py of huggingface/pytorch-image-models"
        )
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    if not Path(path).is_file():
        pytest.fail(f"TIMM_BENCHMARK={path} is not a file; it names timm's benchmark.py")
    spec = importlib.util.spec_from_file_location("timm_benchmark", path)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    # It counts operations after each run, which would be another load beside the next tool's turn.
    script.has_fvcore_profiling = script.has_deepspeed_profiling = False
    return script


def timms_turn(runner: Any) -> Turn:
    """A run of timm's own runner. It prints the mean of its steps, which one disturbed step moves.

    So its clock's readings are kept, and the median of the same steps is taken.
    """
    clock, readings = runner.time_fn, []

    def read(*args: Any) -> float:
        readings.append(clock(*args))
        return readings[-1]

    runner.time_fn = read

    def turn() -> float:
        readings.clear()
        runner.run()
        steps = readings[2 * TIMM_WARM_UP_CALLS + 1 : -1]  # each one's start and end; around them the run's
        assert len(steps) == 2 * TIMM_CALLS
        return statistics.median(end - start for start, end in zip(steps[::2], steps[1::2], strict=True))

    return turn


def interleaved(tools: Mapping[str, Turn]) -> dict[str, list[float]]:
    """Seconds of each tool in each round, after a round that is not counted."""
    order = random.Random(0)
    found: dict[str, list[float]] = {name: [] for name in tools}
    for turn in tools.values():
        turn()
    for _ in range(ROUNDS):
        for name in order.sample(list(tools), len(tools)):
            found[name].append(tools[name]())
    return found


def ratio_to(base: Sequence[float], values: Sequence[float]) -> Interval:
    return median_interval([value / ours for value, ours in zip(values, base, strict=True)], LEVEL)


def as_row(who: str, median: Interval, ratio: Interval) -> dict[str, Any]:
    milliseconds = {"median_ms": median.value * 1e3, "low_ms": median.low * 1e3, "high_ms": median.high * 1e3}
    return {"who": who, **milliseconds, "ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}


def overlap(a: Interval, b: Interval, slack: float) -> bool:
    return a.low <= b.high + slack and b.low <= a.high + slack


@pytest.fixture
def hold_together(benchmark, device, capsys) -> Callable[[str, Mapping[str, Turn]], None]:
    """Interleave the tools, show what they find, and check it against the claim above."""

    def hold(name: str, tools: Mapping[str, Turn]) -> None:
        values = interleaved(tools)
        medians = {tool: median_interval(seconds, LEVEL) for tool, seconds in values.items()}
        rows = [as_row(tool, median, ratio_to(values[OURS], values[tool])) for tool, median in medians.items()]
        benchmark.extra_info["tools"] = rows
        with capsys.disabled():
            print(f"\n{name}, batch 1 on {device}, {ROUNDS} rounds; ratio: to {OURS}, within rounds")
            print(tabulate(rows, headers="keys", floatfmt=("", ".3f", ".3f", ".3f", ".4f", ".4f", ".4f")))
        for tool, median in medians.items():
            assert overlap(medians[OURS], median, HOST_SECONDS[device.type]), f"{tool} and {OURS} disagree on {name}"

    return hold


@pytest.fixture(autouse=True)
def _only_timed(benchmark):
    if benchmark.disabled:
        benchmark.skipped = True  # else it warns that it was not used
        pytest.skip("nothing to see without timing: --benchmark-enable")


@pytest.mark.benchmark(group="agreement with other tools")
@pytest.mark.parametrize("name", ["resnet18", "aw_resnet18"])
def test_torchs_timer_agrees(benchmark, name, device, until_done, hold_together):
    model, next_input = network(name, device)
    with torch.inference_mode():
        tools = {OURS: our_turn(model, next_input, device), "torch.utils.benchmark": torchs_turn(model, next_input)}
        benchmark.pedantic(until_done(lambda: model(next_input())), rounds=10, warmup_rounds=2)
        hold_together(name, tools)


@pytest.mark.benchmark(group="agreement with other tools")
def test_timms_script_agrees(benchmark, device, until_done, hold_together):
    """On timm's own ResNet-18, as its script builds it."""
    runner = load_timms_script().InferenceBenchmarkRunner(
        "resnet18",
        device=device.type,
        batch_size=1,
        num_warm_iter=TIMM_WARM_UP_CALLS,
        num_bench_iter=TIMM_CALLS,
    )
    model, next_input = runner.model, inputs(runner.input_size[-1], device)
    with torch.inference_mode():
        tools = {
            OURS: our_turn(model, next_input, device),
            "torch.utils.benchmark": torchs_turn(model, next_input),
            "timm's benchmark.py": timms_turn(runner),
        }
        benchmark.pedantic(until_done(lambda: model(next_input())), rounds=10, warmup_rounds=2)
        hold_together("timm's resnet18", tools)


@pytest.mark.benchmark(group="the harness itself")
def test_overhead_is_below_one_percent_of_the_shortest_latency(benchmark, device, capsys):
    """What marks and the call around it add to a time, over the latency of the smallest network of the grid."""
    model, next_input = network("resnet20", device)
    timer = timer_for(device)
    with torch.inference_mode():
        latency = our_turn(model, next_input, device)()
    overhead = benchmark.pedantic(measure_overhead, args=(timer,), rounds=5, warmup_rounds=1)
    benchmark.extra_info.update(overhead_us=overhead * 1e6, latency_ms=latency * 1e3, fraction=overhead / latency)
    with capsys.disabled():
        print(
            f"\noverhead {overhead * 1e6:.2f} us, resnet20 {latency * 1e3:.3f} ms on {device}: {overhead / latency:.4%}"
        )
    assert overhead < 0.01 * latency
