"""The table of AW-convolutions' speed, from records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from awbench.records import Record, Records
from awbench.records.settings import ConvolutionTiming
from awbench.reference.load import References
from awbench.report.latency import interval, mebibytes, shown_interval, value
from awbench.report.table import ABSENT, Column, Table, Unmeasured, ends, in_units
from awbench.text import plural

NOTES = (
    "Time: the median of one call. Ratio to plain: the median over rounds, each of which calls all methods once "
    "(interleaved); measured in one run. Ratio to grouped: the quotient of two of them, of the same run.",
    "Methods: the strategies of an AW-convolution with a given map (e = C1 where no other is named); auto, the one "
    "chosen by measurement; aw_layer, an AWConv2d, attention branch included; se and cbam, the module alone on the "
    "same input.",
    "Sums: of the medians of one run, over the shapes of a stride; their ratios are quotients of the sums.",
    "Peak memory: the tensors given and what torch's allocators hand out meanwhile.",
    "Floors, on a GPU: the plain convolution's tensors moved once at the measured rate of a copy, or its operations at "
    "the measured rate of a matrix product, whichever takes longer. The elementwise work of forming AK is in no floor.",
)
_REQUIREMENT = "not measured: needs 'awbench aw-speed'"
_NOTHING = Unmeasured({"3x3 convolution": _REQUIREMENT}, {"method": None, "verdict": _REQUIREMENT})
_GROUPED = "grouped"
_OF_SHAPE = ("channels", "size", "stride")


@dataclass(frozen=True)
class Time:
    """The time of one method in one run, at one shape or summed over the shapes of a stride.

    Attributes:
        records: what it is made from; the first has the settings.
        shape: as text.
        ratio: to the plain convolution.
        ratio_to_grouped: None where grouped was not measured.
        summed: whether it is a sum.
    """

    method: str
    records: tuple[Record, ...]
    shape: str
    time_ms: float
    ratio: float
    ratio_to_grouped: float | None
    summed: bool = False

    @property
    def settings(self) -> ConvolutionTiming:
        return timing(self.records[0])

    @property
    def executed_as(self) -> dict[str, str]:
        """Pass -> the strategy that was taken; of a sum, nothing."""
        return {} if self.summed else executed_as(self.records[0])


def timing(record: Record) -> ConvolutionTiming:
    """The settings of a record of kind aw_speed."""
    assert isinstance(record.settings, ConvolutionTiming), "it is of kind aw_speed"
    return record.settings


def executed_as(record: Record) -> dict[str, str]:
    """Pass -> the strategy that was taken."""
    return dict(record.environment["executed_as"])


def shown_method(method: str, executed: dict[str, str]) -> str:
    """E.g. "auto (direct)"."""
    strategies = ", ".join(dict.fromkeys(executed.values()))
    return f"{method} ({strategies})" if strategies else method


def shape_name(record: Record) -> str:
    """E.g. "256x28x28, stride 2"."""
    settings = timing(record)
    size = f"{settings.channels}x{settings.size}x{settings.size}"
    return size + (f", stride {settings.stride}" if settings.stride > 1 else "")


def describe_run(record: Record) -> str:
    """E.g. "forward, batch 8, float32, contiguous, 2 threads"."""
    settings = timing(record)
    return f"{settings.direction}, {_describe_setting(settings)}"


def _describe_setting(settings: ConvolutionTiming) -> str:
    parts = [f"batch {settings.batch_size}", settings.dtype, settings.layout]
    if settings.expansion is not None:
        parts.append(f"e = {settings.expansion}")
    if settings.threads is not None:
        parts.append(plural(settings.threads, "thread"))
    return ", ".join(parts)


def _setting(name: str) -> Column[Time]:
    """As the record's file has it; a CPU has no tf32, a sum no shape."""
    in_sums = name not in _OF_SHAPE
    return Column.exact(
        name, lambda time: time.settings.json_object.get(name, ABSENT) if in_sums or not time.summed else ABSENT
    )


def _times_the_larger_floor(record: Record) -> float | None:
    floors = [record.value(name) for name in ("floor_bytes_ms", "floor_operations_ms") if name in record.values]
    return record.value("time_ms") / max(floors) if floors else None


def _measured(of: Callable[[Record], Any]) -> Callable[[Time], Any]:
    """What a record has and a sum has not."""
    return lambda time: ABSENT if time.summed else of(time.records[0])


_RATIO, _GROUPED_RATIO, _MEMORY = "ratio_to_plain", "ratio_to_grouped", "peak_memory_bytes"
_COLUMNS: tuple[Column[Time], ...] = (
    Column("3x3 convolution", lambda time: time.shape, key="shape"),
    *map(_setting, ("device", "batch_size", "dtype", "layout", "direction", "expansion")),
    Column("device", lambda time: time.settings.device_name, key="device_name"),
    *map(_setting, ("threads", "tf32", *_OF_SHAPE)),
    Column.shown("pass", lambda time: time.settings.direction),
    Column.shown("setting", lambda time: _describe_setting(time.settings)),
    Column("method", lambda time: time.method, show=lambda time: shown_method(time.method, time.executed_as)),
    Column.exact("executed_as", lambda time: time.executed_as),
    Column("time (ms)", lambda time: time.time_ms, ".3f", key="time_ms"),
    Column.exact("ci_ms", _measured(interval("time_ms"))),
    Column("spread", _measured(value("spread")), ".1%", detail=True),
    Column.exact("rounds", _measured(value("rounds"))),
    Column("ratio to plain", lambda time: time.ratio, ".3f", key=_RATIO),
    Column(
        "95 % interval of the ratio", _measured(interval(_RATIO)), shown_interval(3), key="ratio_ci", right=True,
        parts=ends("95 % interval of the ratio", _measured(interval(_RATIO))),
    ),
    Column("ratio to grouped", lambda time: time.ratio_to_grouped, ".3f", key=_GROUPED_RATIO, missing="unknown"),
    Column(
        "peak memory (MiB)", _measured(value(_MEMORY)), mebibytes, key=_MEMORY, right=True, missing="unknown",
        detail=True, parts=in_units("peak memory (MiB)", _measured(value(_MEMORY)), 2**20),
    ),
    Column.exact("floor_bytes_ms", _measured(value("floor_bytes_ms"))),
    Column.exact("floor_operations_ms", _measured(value("floor_operations_ms"))),
    Column("times the larger floor", _measured(_times_the_larger_floor), ".2f", key="times_the_larger_floor"),
    Column.exact("gpu_clocks", _measured(lambda record: record.environment.get("gpu_clocks"))),
    Column.exact("run", lambda time: time.records[0].environment["run"]),
    Column.exact("notes", _measured(lambda record: record.notes)),
    Column.exact("records", lambda time: [record.key for record in time.records]),
)  # fmt: skip


def aw_speed_table(records: Records, references: References) -> Table:
    """The newest run under every setting, from any machine whose records these are."""
    return runs_table([record for run in newest_runs(records) for record in run])


def newest_runs(records: Records) -> list[list[Record]]:
    """The records of the newest run under every setting, in the order in which settings were first measured."""
    newest: dict[str, list[Record]] = {}
    for run in _runs(records.of_kind("aw_speed")):
        shared = {name: setting for name, setting in run[0].settings.json_object.items() if name not in _OF_SHAPE}
        newest[repr((shared, sorted({shape_name(record) for record in run})))] = run
    return list(newest.values())


def runs_table(records: Iterable[Record]) -> Table:
    """One row a record, in their order, and after each run's shapes their sums."""
    runs = _runs(records)
    notes = []
    for run in runs:
        disturbed = ", ".join(dict.fromkeys(shape_name(record) for record in run if record.notes))
        if disturbed:
            where = describe_run(run[0])
            notes.append(f"Disturbed, by other load or otherwise (the notes in --json say how): {where}: {disturbed}.")
    return Table(
        title="Speed of AW-convolutions",
        fields=_COLUMNS,
        values=[time for run in runs for time in _times(run)] or [_NOTHING],
        notes=(*NOTES, *notes),
        records_of=lambda time: [record.key for record in time.records],
    )


def _runs(records: Iterable[Record]) -> list[list[Record]]:
    """Records by run; runs in the order of their first records, records in the order of measurement."""
    runs: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        runs[record.environment["run"], timing(record).direction].append(record)
    return [sorted(run, key=lambda record: record.finished) for run in runs.values()]


def _times(run: list[Record]) -> list[Time]:
    """The times of a run's records, then their sums over the shapes of each stride."""
    shapes = [shape_name(record) for record in run]
    # The plain convolution over itself has no ratio on record: it is 1.
    ratios = [value("ratio_to_plain", 1.0)(record) for record in run]
    grouped = {
        shape: ratio for record, shape, ratio in zip(run, shapes, ratios, strict=True) if record.variant == _GROUPED
    }
    times = [
        Time(
            record.variant,
            (record,),
            shape,
            record.value("time_ms"),
            ratio,
            ratio / grouped[shape] if shape in grouped else None,
        )
        for record, shape, ratio in zip(run, shapes, ratios, strict=True)
    ]
    for stride in dict.fromkeys(time.settings.stride for time in times):
        times += _sums([time for time in times if not time.summed and time.settings.stride == stride], stride)
    return times


def _sums(times: list[Time], stride: int) -> list[Time]:
    """The total of each method that was measured at all shapes of a stride; none where there is one shape."""
    shapes = {time.shape for time in times}
    by_method: dict[str, dict[str, float]] = defaultdict(dict)
    for time in times:
        by_method[time.method][time.shape] = time.time_ms
    total = {method: sum(found.values()) for method, found in by_method.items() if len(found) == len(shapes)}
    if len(shapes) == 1 or "plain" not in total:
        return []
    return [
        Time(
            method,
            tuple(time.records[0] for time in times if time.method in (method, "plain", _GROUPED)),
            f"sum of {len(shapes)}, stride {stride}",
            total_ms,
            total_ms / total["plain"],
            total_ms / total[_GROUPED] if _GROUPED in total else None,
            summed=True,
        )
        for method, total_ms in total.items()
    ]
