"""Tables of latency, from records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.report.formats import Table
from awbench.variants import list_variants

COLUMNS = (
    "variant", "device", "setting", "latency (ms)", "95 % interval", "spread", "images/s", "peak memory (MiB)",
    "ratio to plain", "95 % interval of the ratio",
)  # fmt: skip
_DETECTOR_COLUMNS = ("data (ms)", "post-processing (ms)")
NOTES = (
    "Latency: the median of one call with random weights; spread: interquartile range over median.",
    "Ratio to plain: the median over rounds, each of which calls all networks of a run in turns; it was measured in "
    "one run and compares well between machines of a kind. A time does not.",
    "Intervals are between order statistics, and assume no distribution.",
    "Peak memory: weights, input and what torch's allocators hand out meanwhile, of this network alone.",
)


def latency_table(records: Iterable[Record]) -> Table:
    """One row a record, in their order."""
    records = list(records)
    of_detectors = any("data_ms" in record.values for record in records)
    columns = (*COLUMNS, *(_DETECTOR_COLUMNS if of_detectors else ()))
    disturbed = dict.fromkeys(note for record in records for note in record.notes)
    return Table(
        title="Latency",
        columns=columns,
        rows=[_cells(record)[: len(columns)] for record in records],
        objects=[latency_object(record) for record in records],
        notes=(*NOTES, *disturbed),
        right_aligned=frozenset({*columns[3:]}),
        origins=[(record.key,) for record in records],
    )


def newest_latencies(records: Records) -> list[Record]:
    """The newest record of every network under every setting, settings side by side, networks in the grid's order."""
    known = {variant.name: position for position, variant in enumerate(list_variants())}
    newest: dict[tuple[Any, ...], Record] = {}
    for record in records.of_kind("latency"):
        if record.variant in known:
            newest[record.variant, repr(record.options), repr(record.settings)] = record
    return sorted(newest.values(), key=lambda r: (r.settings["device"], describe_setting(r), known[r.variant]))


def speed_table(records: Records, references: References) -> Table:
    """The newest latency of every network under every setting, from any machine whose records these are."""
    ordered = newest_latencies(records)
    if not ordered:
        needs = "not measured: needs 'awbench latency'"
        rows = [("", "", needs, *[""] * (len(COLUMNS) - 3))]
        return Table("Latency", COLUMNS, rows, [{"variant": None, "verdict": needs}], NOTES)
    return latency_table(ordered)


def describe_setting(record: Record) -> str:
    """E.g. "batch 8, float32, channels_last, 224 pixels, 2 threads"."""
    settings = record.settings
    words = [
        f"batch {settings['batch_size']}",
        settings["dtype"],
        settings["layout"],
        f"{settings['image_size']} pixels",
    ]
    words += [word for word in ("compile", "cuda_graph") if settings[word]]
    if settings["aw_strategy"] != "auto":
        words.append(f"AW {settings['aw_strategy']}")
    if "engine" in settings:
        words.append(settings["engine"])
    if "threads" in settings:
        words.append(f"{settings['threads']} threads")
    return ", ".join(words)


def _cells(record: Record) -> tuple[str, ...]:
    one = latency_object(record)
    memory, ratio = one["peak_memory_bytes"], one["ratio_to_plain"]
    compared = record.variant != one["over"]
    return (
        record.variant,
        one["device_name"],
        describe_setting(record),
        f"{one['latency_ms']:.2f}",
        f"{one['ci_ms'][0]:.2f} to {one['ci_ms'][1]:.2f}",
        f"{one['spread']:.1%}",
        f"{one['images_per_s']:.1f}",
        "unknown" if memory is None else f"{memory / 2**20:.1f}",
        f"{ratio:.3f}",
        f"{one['ratio_ci'][0]:.3f} to {one['ratio_ci'][1]:.3f}" if compared else "",
        f"{one['data_ms']:.2f}" if "data_ms" in one else "",
        f"{one['post_processing_ms']:.2f}" if "post_processing_ms" in one else "",
    )


def latency_object(record: Record) -> dict[str, Any]:
    """The JSON object of one latency record."""
    settings, values = record.settings, {name: quantity.value for name, quantity in record.values.items()}
    described = ("device", "device_name", "batch_size", "dtype", "layout", "compile", "cuda_graph", "image_size")
    of_detectors: dict[str, Any] = {name: values[name] for name in ("data_ms", "post_processing_ms") if name in values}
    return {
        "variant": record.variant,
        **{
            name: settings[name]
            for name in (*described, "aw_strategy", "threads", "tf32", "engine")
            if name in settings
        },
        "latency_ms": values["latency_ms"],
        "ci_ms": [values["latency_ms_low"], values["latency_ms_high"]],
        **of_detectors,
        "spread": values["spread"],
        "images_per_s": values["images_per_s"],
        "peak_memory_bytes": values.get("peak_memory_bytes"),
        "over": settings["over"],
        "ratio_to_plain": values["ratio_to_plain"],
        "ratio_ci": [values["ratio_to_plain_low"], values["ratio_to_plain_high"]],
        "rounds": values["rounds"],
        "harness_overhead_ms": values["harness_overhead_ms"],
        "run": record.environment["run"],
        "notes": record.notes,
    }
