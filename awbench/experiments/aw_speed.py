"""From measured speeds of AW-convolutions to their records."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from awbench.experiments.measurements import interval_values, new_record
from awbench.kernels.geometry import tf32
from awbench.measure.aw_speed import (
    Shape,
    ShapeSpeed,
    Speed,
    SpeedSettings,
    check_speed_settings,
    measure_rates,
    measure_shape,
)
from awbench.measure.timing import OnProgress, TimingGoal, ignore_progress
from awbench.records import Quantity, Record, RecordStore
from awbench.records.environment import begin, cpu_name, package_version, source_digest

KIND = "aw_speed"


def record_aw_speed(
    store: RecordStore,
    shapes: Sequence[Shape],
    settings: SpeedSettings,
    goal: TimingGoal,
    on_progress: OnProgress = ignore_progress,
) -> list[Record]:
    """Time an AW-convolution by every method at every shape; a record per method and shape, all of one run.

    Args:
        goal: its budget is shared by the shapes.
        on_progress: see `awbench.measure.timing.interleave`.

    Raises:
        UserError: as `awbench.measure.aw_speed.check_speed_settings`.
    """
    dtype, cuda = check_speed_settings(settings, shapes), settings.device == "cuda"
    where = {"run": secrets.token_hex(6)}
    if cuda:
        where["gpu_clocks"] = _gpu_clocks()
    rates = measure_rates(dtype) if cuda else None
    each = replace(goal, budget=goal.budget / len(shapes))
    described: dict[str, Any] = {
        **{name: setting for name, setting in asdict(settings).items() if setting is not None},  # e = C1 is not said
        "device_name": torch.cuda.get_device_name() if cuda else cpu_name(),
        **({"tf32": tf32()[0]} if cuda else {"threads": torch.get_num_threads()}),
    }
    inputs = {"source_sha256": aw_speed_source_digest(), "torch": package_version("torch")}
    records = []
    for shape in shapes:
        started = begin()
        measured = measure_shape(shape, settings, each, rates, on_progress)
        for speed in measured.speeds:
            identity = {
                "kind": KIND,
                "variant": speed.method.replace(" ", "_"),
                "options": {},
                "settings": {**described, **asdict(shape)},
                "inputs": inputs,
            }
            where_executed = {**where, "executed_as": speed.executed_as}
            records.append(new_record(identity, started, _values(speed, measured), measured.notes, where_executed))
    for record in records:
        store.add(record)
    return records


def aw_speed_source_digest() -> str:
    """Of the source whose change can change a speed."""
    return source_digest("attention", "kernels", "measure/aw_speed.py", "measure/timing.py")


def _values(speed: Speed, measured: ShapeSpeed) -> dict[str, Quantity]:
    timing = speed.timing
    (time,) = timing.stages.values()
    values = {
        **interval_values("time_ms", time, "ms", scale=1e3),
        "spread": Quantity(value=timing.spread, unit="interquartile range / median"),
        "rounds": Quantity(value=timing.rounds, unit="calls"),
        "harness_overhead_ms": Quantity(value=measured.overhead * 1e3, unit="ms"),
    }
    if timing.ratio:
        values |= interval_values("ratio_to_plain", timing.ratio, "of the plain convolution's time")
    if speed.peak_memory_bytes is not None:
        values["peak_memory_bytes"] = Quantity(value=speed.peak_memory_bytes, unit="bytes")
    for name, seconds in measured.floors.items():
        values[f"floor_{name}_ms"] = Quantity(value=seconds * 1e3, unit="ms")
    return values


def _gpu_clocks() -> str:
    """As found, of the multiprocessors and the memory; or "unknown"."""
    argv = ["nvidia-smi", "--query-gpu=clocks.sm,clocks.mem", "--format=csv,noheader"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"
