"""Records and references to tables. Nothing is measured here: a table can always be made again."""

from __future__ import annotations

import math
from collections.abc import Callable

from awbench.records import RecordStore
from awbench.reference.compare import Comparison, ComplexityIndex, compare_complexity, describe_layers
from awbench.reference.load import ReferenceNumber, References
from awbench.reference.measured import measured
from awbench.reference.source import ComplexityConvention
from awbench.reference.statistics import mean_and_spread
from awbench.report.accuracy import proxy_table
from awbench.report.aw_speed import aw_speed_table
from awbench.report.claims import NEEDS as TRAINING_NEEDS
from awbench.report.claims import claims_table
from awbench.report.detection import detectors_table, needs, shapes_table
from awbench.report.formats import Table
from awbench.report.latency import speed_table
from awbench.variants import STRIDE_PLACEMENTS, list_variants

NEEDS = {**TRAINING_NEEDS, "latency": "not measured: needs the device the source measured on"}


def complexity_table(store: RecordStore, references: References) -> Table:
    """Every published complexity number beside the count under its convention."""
    comparisons = compare_complexity(references.of_kind("complexity"), store.load("complexity"))
    return Table(
        title="Published complexity beside measured complexity",
        columns=(
            "variant", "metric", "source", "standing", "convention",
            "published", "measured", "difference", "verdict", "note",
        ),
        rows=[_comparison_cells(comparison) for comparison in comparisons],
        objects=[_comparison_object(comparison) for comparison in comparisons],
        notes=(
            "params: parameters. macs: operations of one image, counted under the convention beside it.",
            "Stride placement: v1.5 has a bottleneck's stride in the 3x3 convolution, v1 in the first 1x1.",
            "conv + linear: convolutions and linear layers alone. What mmcv counts: these, biases of convolutions, "
            "normalisation (two an element), ReLU and pooling.",
            "standing: primary, read in the source itself; secondary, transcribed by others; recalled, unverified.",
        ),
        right_aligned=frozenset({"published", "measured", "difference"}),
    )  # fmt: skip


def _comparison_cells(comparison: Comparison) -> tuple[str, ...]:
    number, measured, difference = comparison.number, comparison.measured, comparison.difference
    if number is None:
        shown = f"{measured:,}" if measured is not None else ""
        return (comparison.variant, comparison.metric, "", "", "", "unknown", shown, "", comparison.verdict, "")
    decimals = max(0, -int(number.value.as_tuple().exponent))
    if measured is None:
        shown = ""
    elif number.base_units == 1:
        shown = f"{measured:,}"
    else:  # three digits more than printed, to show how near the rounding is
        shown = f"{measured / number.base_units:.{decimals + 3}f}"
    published = f"{number.value:,}" if number.base_units == 1 else str(number.value)
    unit = "" if number.unit in ("parameters", "MAC") else f" {number.unit.split()[0]}"
    return (
        comparison.variant,
        comparison.metric,
        number.source,
        number.standing,
        describe_convention(number.convention) if number.metric == "macs" else "",
        f"{published}{unit}",
        f"{shown}{unit}" if shown else "",
        f"{difference:+.{decimals + 3 if number.base_units > 1 else 0}f}" if difference is not None else "",
        comparison.verdict,
        comparison.note,
    )


def describe_convention(convention: ComplexityConvention) -> str:
    """E.g. "v1.5, 224, MAC, conv + linear"."""
    layers = describe_layers(convention.layers)
    return f"{convention.stride_placement}, {convention.image_size}, {convention.operation.upper()}, {layers}"


def _comparison_object(comparison: Comparison) -> dict[str, object]:
    number = comparison.number
    difference = comparison.difference
    return {
        "variant": comparison.variant,
        "metric": comparison.metric,
        "source": number.source if number else None,
        "url": number.url if number else None,
        "standing": number.standing if number else "unknown",
        "convention": number.convention.model_dump() if number else None,
        "published": float(number.value) if number else None,
        "published_as_printed": str(number.value) if number else None,
        "unit": number.unit if number else None,
        "measured": comparison.measured,
        "difference": float(difference) if difference is not None else None,
        "verdict": comparison.verdict,
        "note": comparison.note,
    }


def grid_table(store: RecordStore, references: References) -> Table:
    """The counts of every classification variant with default options, under both stride placements."""
    index = ComplexityIndex(store.load("complexity"))
    rows, objects = [], []
    for variant in list_variants("classification"):
        size = variant.architecture.image_size
        v1, v15 = (index.get(variant.name, placement, size) for placement in STRIDE_PLACEMENTS)
        if v1 is None or v15 is None:
            needs = f"not measured: needs 'awbench complexity {variant.name}' under both stride placements"
            rows.append((variant.name, str(size), needs, "", "", "", ""))
            objects.append({"variant": variant.name, "image_size": size, "measured": None, "needs": needs})
            continue
        forming, activations = v15.values["aw_kernel_forming"], v15.values["activations"]
        rows.append(
            (
                variant.name,
                str(size),
                f"{v15.values['params']:,}",
                f"{v15.values['macs'] / 1e9:.4f}",
                f"{v1.values['macs'] / 1e9:.4f}",
                f"{forming / 1e6:.3f}" if forming else "0",
                f"{activations / 1e6:.3f}",
            )
        )
        objects.append(
            {
                "variant": variant.name,
                "image_size": size,
                "params": v15.values["params"],
                "macs": {"v1.5": v15.values["macs"], "v1": v1.values["macs"]},
                "aw_kernel_forming": forming,
                "activations": activations,
            }
        )
    columns = (
        "variant", "image size", "params", "GMACs (v1.5)", "GMACs (v1)", "kernel forming (M)", "activations (M)",
    )  # fmt: skip
    return Table(
        title="Complexity of the classification grid",
        columns=columns,
        rows=rows,
        objects=objects,
        notes=(
            "GMACs: multiply-accumulates of convolutions and linear layers for one image, in 10^9; "
            "the stride of a bottleneck in the 3x3 (v1.5) or the first 1x1 (v1).",
            "Kernel forming: multiplications that form AK = K + A*K for one image, in 10^6, not part of the MACs.",
            "Activations: outputs of convolutions and linear layers for one image, v1.5, in 10^6.",
        ),
        right_aligned=frozenset(columns[1:]),
    )


def _published_table(kind: str, title: str) -> Callable[[RecordStore, References], Table]:
    """A table of published numbers; each that is not measured says what it needs."""

    def table(store: RecordStore, references: References) -> Table:
        numbers = references.of_kind(kind)
        return Table(
            title=title,
            columns=("variant", "weights", "metric", "source", "standing", "convention", "published", "measured"),
            rows=[_published_cells(number, store) for number in numbers],
            objects=[_published_object(number, store) for number in numbers],
            notes=_unknown_notes(references),
            right_aligned=frozenset({"published"}),
        )

    return table


def _published_cells(number: ReferenceNumber, store: RecordStore) -> tuple[str, ...]:
    measured = _published_object(number, store)["measured"]
    weights = ", ".join(part for part in (number.schedule, number.weights) if part)
    return (
        number.variant,
        weights,
        number.metric,
        number.source,
        number.standing,
        ", ".join(f"{name} {value}" for name, value in number.convention.model_dump().items() if value != "unknown"),
        f"{number.value} {number.unit}",
        str(measured),
    )


def _published_object(number: ReferenceNumber, store: RecordStore) -> dict[str, object]:
    return {
        "variant": number.variant,
        "weights": number.weights or number.schedule,
        "metric": number.metric,
        "source": number.source,
        "url": number.url,
        "standing": number.standing,
        "convention": number.convention.model_dump(),
        "published": float(number.value),
        "published_as_printed": str(number.value),
        "unit": number.unit,
        "measured": _measured(number, store),
        "note": number.note,
    }


def _measured(number: ReferenceNumber, store: RecordStore) -> str:
    if number.network:
        return f"not measured: needs {number.network}"
    found = measured(store, number)
    if found is None:
        return needs(number) if number.kind == "detection" else NEEDS[number.kind]
    mean, spread = mean_and_spread(found.values)
    decimals = 3 if number.kind == "accuracy" else 2
    if found.origin == "weights":
        return f"{mean:.{decimals}f} {number.unit}, these weights, {found.data}"
    scatter = "spread unknown" if math.isnan(spread) else f"standard deviation {spread:.{decimals}f}"
    return f"{mean:.{decimals}f} {number.unit}, {len(found.values)} trained here, {scatter}"


def _unknown_notes(references: References) -> tuple[str, ...]:
    return tuple(
        f"{source}: numbers unknown here; reference_results/README.md says how to enter them."
        for source in references.unknown
    )


TABLES: dict[str, Callable[[RecordStore, References], Table]] = {
    "complexity": complexity_table,
    "grid": grid_table,
    "accuracy": _published_table("accuracy", "Published accuracy"),
    "proxy": proxy_table,
    "detectors": detectors_table,
    "shapes": shapes_table,
    "detection": _published_table("detection", "Published detection results"),
    "latency": _published_table("latency", "Published speed and memory"),
    "speed": speed_table,
    "aw-speed": aw_speed_table,
    "claims": claims_table,
}
