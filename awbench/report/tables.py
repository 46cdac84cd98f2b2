"""Records and references to tables. Nothing is measured here: a table can always be made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from awbench.records import Records
from awbench.reference.load import References
from awbench.reference.source import ComplexityConvention
from awbench.report.accuracy import proxy_table
from awbench.report.aw_speed import aw_speed_table
from awbench.report.claims import claims_table
from awbench.report.detection import detectors_table, shapes_table
from awbench.report.formats import Table
from awbench.report.latency import speed_table
from awbench.report.published import STANDING_NOTE, published_table
from awbench.variants import STRIDE_PLACEMENTS, list_variants
from awbench.verdicts.complexity import Comparison, ComplexityIndex, compare_complexity, describe_layers


def complexity_table(records: Records, references: References) -> Table:
    """Every published complexity number beside the count under its convention."""
    comparisons = compare_complexity(references.of_kind("complexity"), records.of_kind("complexity"))
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
            STANDING_NOTE,
        ),
        right_aligned=frozenset({"published", "measured", "difference"}),
        origins=[(comparison.record,) if comparison.record else () for comparison in comparisons],
        sources=[comparison.number.source if comparison.number else "" for comparison in comparisons],
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


def grid_table(records: Records, references: References) -> Table:
    """The counts of every classification variant with default options, under both stride placements."""
    index = ComplexityIndex(records.of_kind("complexity"))
    rows: list[tuple[str, ...]] = []
    objects: list[dict[str, Any]] = []
    origins: list[tuple[str, ...]] = []
    for variant in list_variants("classification"):
        size = variant.architecture.image_size
        v1, v15 = (index.get(variant.name, placement, size) for placement in STRIDE_PLACEMENTS)
        if v1 is None or v15 is None:
            needs = f"not measured: needs 'awbench complexity {variant.name}' under both stride placements"
            rows.append((variant.name, str(size), needs, "", "", "", ""))
            objects.append({"variant": variant.name, "image_size": size, "measured": None, "needs": needs})
            origins.append(())
            continue
        origins.append((v15.record, v1.record))
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
        origins=origins,
    )


TABLES: dict[str, Callable[[Records, References], Table]] = {
    "complexity": complexity_table,
    "grid": grid_table,
    "accuracy": published_table("accuracy"),
    "proxy": proxy_table,
    "detectors": detectors_table,
    "shapes": shapes_table,
    "detection": published_table("detection"),
    "latency": published_table("latency"),
    "speed": speed_table,
    "aw-speed": aw_speed_table,
    "claims": claims_table,
}
