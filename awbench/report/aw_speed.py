"""The table of AW-convolutions' speed, from records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.report.formats import Table

COLUMNS = (
    "3x3 convolution", "device", "setting", "method", "time (ms)", "spread", "ratio to plain",
    "95 % interval of the ratio", "ratio to grouped", "peak memory (MiB)", "times the larger floor",
)  # fmt: skip
NOTES = (
    "Time: the median of one call. Ratio to plain: the median over rounds, each of which calls all methods in turns; "
    "measured in one run. Ratio to grouped: the quotient of two of them, of the same run.",
    "Methods: the strategies of an AW-convolution with a given map (e = C1); auto, the one chosen by measurement; "
    "aw_layer, an AWConv2d, attention branch included; se and cbam, the module alone on the same input.",
    "Sums: of the medians of one run, over the shapes of a stride.",
    "Peak memory: the tensors given and what torch's allocators hand out meanwhile.",
    "Floors, on a GPU: the plain convolution's tensors moved once at the measured rate of a copy, or its operations at "
    "the measured rate of a matrix product, whichever takes longer.",
)
_NEEDS = "not measured: needs 'awbench aw-speed'"
_GROUPED = "grouped"


def aw_speed_table(records: Records, references: References) -> Table:
    """The newest run under every setting, from any machine whose records these are."""
    newest = newest_runs(records)
    if not newest:
        rows = [(_NEEDS, *[""] * (len(COLUMNS) - 1))]
        return Table("Speed of AW-convolutions", COLUMNS, rows, [{"method": None, "verdict": _NEEDS}], NOTES)
    return runs_table([record for run in newest for record in run])


def newest_runs(records: Records) -> list[list[Record]]:
    """The records of the newest run under every setting, the oldest run first."""
    newest: dict[str, list[Record]] = {}
    for run in _runs(records.of_kind("aw_speed")):
        newest[repr((_of_run(run[0]), sorted({shape_name(record) for record in run})))] = run
    return list(newest.values())


def runs_table(records: Iterable[Record]) -> Table:
    """One row a record, in their order, and after each run's shapes their sums."""
    objects: list[dict[str, Any]] = []
    notes: list[str] = []
    for run in _runs(records):
        objects += _objects(run)
        disturbed = ", ".join(dict.fromkeys(shape_name(record) for record in run if record.notes))
        if disturbed:
            settings = describe_run(run[0].settings.json_object)
            notes.append(
                f"Disturbed, by other load or otherwise (the notes in --json say how): {settings}: {disturbed}."
            )
    return Table(
        title="Speed of AW-convolutions",
        columns=COLUMNS,
        rows=[_cells(one) for one in objects],
        objects=objects,
        notes=(*NOTES, *notes),
        right_aligned=frozenset(COLUMNS[4:]),
        origins=[tuple(one.get("records", ())) for one in objects],
    )


def _runs(records: Iterable[Record]) -> list[list[Record]]:
    """By run, in order of their first records; of one run, in the order of measurement."""
    runs: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        runs[record.environment["run"], record.settings["direction"]].append(record)
    return [sorted(run, key=lambda record: record.finished) for run in runs.values()]


def _of_run(record: Record) -> dict[str, Any]:
    """The settings that all records of a run share."""
    return {name: value for name, value in record.settings.items() if name not in ("channels", "size", "stride")}


def shape_name(record: Record) -> str:
    """E.g. "256x28x28, stride 2"."""
    settings = record.settings
    size = f"{settings['channels']}x{settings['size']}x{settings['size']}"
    return size + (f", stride {settings['stride']}" if settings["stride"] > 1 else "")


def _objects(run: list[Record]) -> list[dict[str, Any]]:
    ratios = {shape_name(r): r.value("ratio_to_plain") for r in run if r.variant == _GROUPED}
    objects = [_object(record, ratios.get(shape_name(record))) for record in run]
    for stride in dict.fromkeys(record.settings["stride"] for record in run):
        of_stride = [record for record in run if record.settings["stride"] == stride]
        if len({shape_name(record) for record in of_stride}) > 1:
            objects += _sums(of_stride, stride)
    return objects


def _object(record: Record, ratio_of_grouped: float | None) -> dict[str, Any]:
    """The JSON object of one record."""
    values = {name: quantity.value for name, quantity in record.values.items()}
    floors = [values[name] for name in ("floor_bytes_ms", "floor_operations_ms") if name in values]
    ratio = values.get("ratio_to_plain", 1.0)  # the plain convolution over itself
    return {
        "shape": shape_name(record),
        **record.settings.json_object,
        "method": record.variant,
        "executed_as": record.environment["executed_as"],
        "time_ms": values["time_ms"],
        "ci_ms": [values["time_ms_low"], values["time_ms_high"]],
        "spread": values["spread"],
        "rounds": values["rounds"],
        "ratio_to_plain": ratio,
        "ratio_ci": [values["ratio_to_plain_low"], values["ratio_to_plain_high"]]
        if "ratio_to_plain" in values
        else None,
        "ratio_to_grouped": ratio / ratio_of_grouped if ratio_of_grouped else None,
        "peak_memory_bytes": values.get("peak_memory_bytes"),
        "floor_bytes_ms": values.get("floor_bytes_ms"),
        "floor_operations_ms": values.get("floor_operations_ms"),
        "times_the_larger_floor": values["time_ms"] / max(floors) if floors else None,
        "gpu_clocks": record.environment.get("gpu_clocks"),
        "run": record.environment["run"],
        "notes": record.notes,
        "records": [record.key],
    }


def _sums(records: list[Record], stride: int) -> list[dict[str, Any]]:
    """Of every method that was measured at all shapes of this stride."""
    shapes = list(dict.fromkeys(shape_name(record) for record in records))
    times: dict[str, dict[str, float]] = defaultdict(dict)
    for record in records:
        times[record.variant][shape_name(record)] = record.value("time_ms")
    total = {method: sum(of.values()) for method, of in times.items() if len(of) == len(shapes)}
    return [
        {
            "shape": f"sum of {len(shapes)}, stride {stride}",
            **_of_run(records[0]),
            "method": method,
            "executed_as": {},
            "time_ms": time,
            "ratio_to_plain": time / total["plain"],
            "ratio_to_grouped": time / total[_GROUPED] if _GROUPED in total else None,
            "run": records[0].environment["run"],
            "records": [record.key for record in records if record.variant in (method, "plain", _GROUPED)],
        }
        for method, time in total.items()
    ]


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    memory, interval, floor = one.get("peak_memory_bytes"), one.get("ratio_ci"), one.get("times_the_larger_floor")
    executed = ", ".join(dict.fromkeys(one["executed_as"].values()))
    a_sum = "rounds" not in one
    return (
        one["shape"],
        one["device_name"],
        describe_run(one),
        f"{one['method']} ({executed})" if executed else one["method"],
        f"{one['time_ms']:.3f}",
        "" if a_sum else f"{one['spread']:.1%}",
        f"{one['ratio_to_plain']:.3f}",
        f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "",
        "unknown" if one["ratio_to_grouped"] is None else f"{one['ratio_to_grouped']:.3f}",
        "" if a_sum else "unknown" if memory is None else f"{memory / 2**20:.1f}",
        f"{floor:.2f}" if floor else "",
    )


def describe_run(one: dict[str, Any]) -> str:
    """E.g. "forward, batch 8, float32, contiguous, 2 threads"."""
    words = [one["direction"], f"batch {one['batch_size']}", one["dtype"], one["layout"]]
    if "threads" in one:
        words.append(f"{one['threads']} threads")
    return ", ".join(words)
