"""Tables of latency, from records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from awbench.records import Record, Records
from awbench.records.settings import NetworkTiming
from awbench.reference.load import References
from awbench.report.runs import changed_options
from awbench.report.table import ABSENT, Column, Table, Unmeasured, ends, in_units
from awbench.text import plural
from awbench.variants import list_variants
from awbench.verdicts.latency import is_too_noisy

TOO_NOISY = "too noisy"
_DRIFT = re.compile(r"(\S+) (became \d+% (?:slower|faster))")  # a note, see `awbench.measure.timing.disturbance`
_RATIO, _MEMORY = "ratio_to_plain", "peak_memory_bytes"
NOTES = (
    "Latency: the median of one call with random weights; spread: interquartile range over median.",
    "Ratio to plain: the median over rounds, each of which calls all networks of a run once "
    "(interleaved); it was measured in one run and compares well between machines of a kind. A time does not.",
    "Intervals are between order statistics, and assume no distribution. Too noisy: the ratio's interval is wider "
    "than a quarter of the ratio, too wide for the ratio to be used.",
    "Peak memory: weights, input and what torch's allocators hand out meanwhile, of this network alone.",
)


def timing(record: Record) -> NetworkTiming:
    """The settings of a latency record."""
    assert isinstance(record.settings, NetworkTiming), "it is of kind latency"
    return record.settings


def describe_setting(record: Record) -> str:
    """E.g. "batch 8, float32, channels_last, 224 pixels, 2 threads"."""
    settings = timing(record)
    parts = [f"batch {settings.batch_size}", settings.dtype, settings.layout, f"{settings.image_size} pixels"]
    parts += [name for name in ("compile", "cuda_graph") if getattr(settings, name)]
    if settings.aw_strategy != "auto":
        parts.append(f"AW {settings.aw_strategy}")
    if settings.engine is not None:
        parts.append(settings.engine)
    if settings.threads is not None:
        parts.append(plural(settings.threads, "thread"))
    return ", ".join(parts)


def value(name: str, missing: Any = None) -> Callable[[Record], Any]:
    """Of a record, a value by name."""
    return lambda record: record.value(name) if name in record.values else missing


def interval(name: str) -> Callable[[Record], list[int | float] | None]:
    """Of a record, the interval of a value; None where it has none."""
    low, high = f"{name}_low", f"{name}_high"
    return lambda record: [record.value(low), record.value(high)] if low in record.values else None


def shown_interval(digits: int) -> Callable[[list[float]], str]:
    """E.g. "1.02 to 1.05"."""
    return lambda ends: " to ".join(f"{end:.{digits}f}" for end in ends)


def mebibytes(size: int) -> str:
    """E.g. "18.7"."""
    return f"{size / 2**20:.1f}"


def setting(name: str) -> Column[Record]:
    """As the record's file has it; a CPU has no tf32, a classifier no engine."""
    return Column.exact(name, lambda record: record.settings.json_object.get(name, ABSENT))


def _shown_ratio_interval(record: Record) -> str:
    """Empty for the plain network, whose ratio to itself is 1."""
    return "" if record.variant == timing(record).over else shown_interval(3)(interval(_RATIO)(record) or [])


def _verdict(record: Record) -> str:
    """Whether the ratio is too noisy, and how much slower or faster the network became meanwhile, as its notes say."""
    label = record.environment.get("label", record.variant)
    own = [found for note in record.notes if (found := _DRIFT.match(note)) and found[1] == label]
    return "; ".join([*([TOO_NOISY] if is_too_noisy(record) else []), *(found[2] for found in own)])


_COLUMNS: tuple[Column[Record], ...] = (
    Column("variant", lambda record: record.variant),
    Column("options", changed_options, detail=True),
    setting("device"),
    Column("device", lambda record: timing(record).device_name, key="device_name"),
    Column.shown("setting", describe_setting),
    *map(setting, ("batch_size", "dtype", "layout", "compile", "cuda_graph", "image_size")),
    *map(setting, ("aw_strategy", "threads", "tf32", "engine")),
    Column("latency (ms)", value("latency_ms"), ".2f", key="latency_ms"),
    Column(
        "95 % interval", interval("latency_ms"), shown_interval(2), key="ci_ms", right=True, detail=True,
        parts=ends("95 % interval", interval("latency_ms")),
    ),
    Column.exact("data_ms", value("data_ms", ABSENT)),
    Column.exact("post_processing_ms", value("post_processing_ms", ABSENT)),
    Column("spread", value("spread"), ".1%", detail=True),
    Column("images/s", value("images_per_s"), ".1f", key="images_per_s", detail=True),
    Column(
        "peak memory (MiB)", value(_MEMORY), mebibytes, key=_MEMORY, right=True, missing="unknown", detail=True,
        parts=in_units("peak memory (MiB)", value(_MEMORY), 2**20),
    ),
    setting("over"),
    Column("ratio to plain", value(_RATIO), ".3f", key=_RATIO),
    Column(
        "95 % interval of the ratio", interval(_RATIO), show=_shown_ratio_interval, key="ratio_ci", right=True,
        parts=ends("95 % interval of the ratio", interval(_RATIO)),
    ),
    Column.shown("verdict", _verdict),
    Column.exact("rounds", value("rounds")),
    Column.exact("harness_overhead_ms", value("harness_overhead_ms")),
    Column.exact("run", lambda record: record.environment["run"]),
    Column.exact("notes", lambda record: record.notes),
)  # fmt: skip
_DETECTOR_COLUMNS: tuple[Column[Record], ...] = (
    Column("data (ms)", value("data_ms"), ".2f", key=""),
    Column("post-processing (ms)", value("post_processing_ms"), ".2f", key=""),
)


def latency_table(records: Iterable[Record]) -> Table:
    """One row a record, in their order."""
    records = list(records)
    of_detectors = any("data_ms" in record.values for record in records)
    return Table(
        title="Latency",
        fields=(*_COLUMNS, *(_DETECTOR_COLUMNS if of_detectors else ())),
        values=records or [_NOTHING],
        notes=NOTES,
        notes_of=lambda record: record.notes,
        records_of=lambda record: [record.key],
    )


_REQUIREMENT = "not measured: needs 'awbench latency'"
_NOTHING = Unmeasured({"setting": _REQUIREMENT}, {"variant": None, "verdict": _REQUIREMENT})


def newest_latencies(records: Records) -> list[Record]:
    """The newest record of every network under every setting, settings side by side, networks in the grid's order."""
    known = {variant.name: position for position, variant in enumerate(list_variants())}
    newest: dict[tuple[Any, ...], Record] = {}
    for record in records.of_kind("latency"):
        if record.variant in known:
            newest[record.variant, repr(record.options), repr(record.settings)] = record
    return sorted(newest.values(), key=lambda r: (timing(r).device, describe_setting(r), known[r.variant]))


def speed_table(records: Records, references: References) -> Table:
    """The newest latency of every network under every setting, from any machine whose records these are."""
    return latency_table(newest_latencies(records))
