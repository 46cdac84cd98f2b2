"""From measured speeds of AW-convolutions to their records."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from awbench.records import Quantity, Record, RecordStore
from awbench.records.clock import now
from awbench.records.environment import cpu_name, environment, package_version, source_digest

if TYPE_CHECKING:
    from awbench.measure.aw_speed import Shape, ShapeSpeed, Speed, SpeedSettings
    from awbench.measure.timing import OnProgress, TimingGoal

KIND = "aw_speed"


def record_aw_speed(
    store: RecordStore,
    shapes: Sequence[Shape],
    settings: SpeedSettings,
    goal: TimingGoal,
    on_progress: OnProgress = lambda rounds, width: None,
) -> list[Record]:
    """Time an AW-convolution every way at every shape; a record a method and shape, all of one run.

    Args:
        goal: its budget is shared by the shapes.
        on_progress: see `awbench.measure.timing.interleave`.

    Raises:
        UserError: as `awbench.measure.aw_speed.check_speed_settings`.
    """
    import torch

    from awbench.measure.aw_speed import check_speed_settings, measure_rates, measure_shape

    dtype, cuda = check_speed_settings(settings), settings.device == "cuda"
    where = {**environment(), "run": secrets.token_hex(6)}
    if cuda:
        where["gpu_clocks"] = _gpu_clocks()
    rates = measure_rates(dtype) if cuda else None
    each = replace(goal, budget=goal.budget / len(shapes))
    described: dict[str, Any] = {
        **asdict(settings),
        "device_name": torch.cuda.get_device_name() if cuda else cpu_name(),
        **({"tf32": bool(torch.backends.cudnn.allow_tf32)} if cuda else {"threads": torch.get_num_threads()}),
    }
    records = []
    for shape in shapes:
        started = now()
        measured = measure_shape(shape, settings, each, rates, on_progress)
        records += [
            Record(
                kind=KIND,
                variant=speed.method.replace(" ", "_"),
                options={},
                settings={**described, **asdict(shape)},  # type: ignore[arg-type]  # read as its kind's model
                inputs={"source_sha256": aw_speed_source_digest(), "torch": package_version("torch")},
                values=_values(speed, measured),
                notes=list(measured.notes),
                environment={**where, "executed_as": speed.executed_as},
                started=started,
                finished=now(),
            )
            for speed in measured.speeds
        ]
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
        "time_ms": Quantity(value=time.value * 1e3, unit="ms"),
        "time_ms_low": Quantity(value=time.low * 1e3, unit="ms"),
        "time_ms_high": Quantity(value=time.high * 1e3, unit="ms"),
        "spread": Quantity(value=timing.spread, unit="interquartile range / median"),
        "rounds": Quantity(value=timing.rounds, unit="calls"),
        "harness_overhead_ms": Quantity(value=measured.overhead * 1e3, unit="ms"),
    }
    if timing.ratio:
        for part in ("value", "low", "high"):
            name = "ratio_to_plain" + ("" if part == "value" else f"_{part}")
            values[name] = Quantity(value=getattr(timing.ratio, part), unit="of the plain convolution's time")
    if speed.peak_memory_bytes is not None:
        values["peak_memory_bytes"] = Quantity(value=speed.peak_memory_bytes, unit="bytes")
    for name, seconds in measured.floors.items():
        values[f"floor_{name}_ms"] = Quantity(value=seconds * 1e3, unit="ms")
    return values


def _gpu_clocks() -> str:
    """As found, of the multiprocessors and the memory; or "unknown"."""
    words = ["nvidia-smi", "--query-gpu=clocks.sm,clocks.mem", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"
