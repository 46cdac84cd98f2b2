"""Tables of counts: published beside measured, and every classifier and detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from awbench.recipes.defaults import ENGINES
from awbench.records import Records
from awbench.reference.load import References
from awbench.report.published import PROVENANCE_NOTE
from awbench.report.table import ABSENT, Column, Table, Unmeasured, in_units
from awbench.variants import STRIDE_PLACEMENTS, Variant, list_variants
from awbench.verdicts.complexity import ComplexityComparison, compare_complexity
from awbench.verdicts.conventions import describe_layers
from awbench.verdicts.counts import ComplexityIndex, CountedNetwork, Setting

# The size that `awbench complexity` counts detectors at by default, see `awbench.detection.complexity.DetectorInput`.
COUNTED_AT = ((800, 1088), 1000)
ELEMENTWISE_NOTE = (
    "Elementwise: multiplications that attention does for one image beyond the MACs, in 10^6: kernel modulation, "
    "AK = K + A*K, and the scaling of activations by SE, CBAM, ECA and modules from outside. "
    "Not in it: norms, pooling, gates, memory traffic."
)


def complexity_table(records: Records, references: References) -> Table:
    """Every published complexity number beside the count under its convention."""
    return Table(
        title="Published complexity beside measured complexity",
        fields=_COMPARISON,
        values=compare_complexity(references.of_kind("complexity"), records.of_kind("complexity")),
        notes=(
            "params: parameters. macs: operations of one image, counted under the convention beside it. No convention "
            "here counts attention's elementwise work (forming AK, scaling activations): 'awbench table grid' does.",
            "Stride placement: v1.5 has a bottleneck's stride in the 3x3 convolution, v1 in the first 1x1.",
            "conv + linear: convolutions and linear layers alone. What mmcv counts: these, biases of convolutions, "
            "normalisation (two an element), ReLU and pooling.",
            PROVENANCE_NOTE,
        ),
        records_of=lambda comparison: filter(None, [comparison.record]),
        source_of=lambda comparison: comparison.number.source if comparison.number else "",
    )


def _provenance(comparison: ComplexityComparison) -> str:
    return comparison.number.provenance if comparison.number else ""


def _published(comparison: ComplexityComparison) -> str:
    number = comparison.number
    if number is None:
        return "unknown"
    return f"{number.value:,}{_unit(comparison)}" if number.base_units == 1 else f"{number.value}{_unit(comparison)}"


def _measured(comparison: ComplexityComparison) -> str:
    number, measured = comparison.number, comparison.measured
    if measured is None:
        return ""
    if number is None or number.base_units == 1:
        return f"{measured:,}{_unit(comparison)}"
    return f"{measured / number.base_units:.{_decimals(comparison)}f}{_unit(comparison)}"


def _difference(comparison: ComplexityComparison) -> str:
    difference = comparison.difference
    return "" if difference is None else f"{difference:+.{_decimals(comparison)}f}"


def _in_published_units(comparison: ComplexityComparison) -> float | None:
    """What was counted, as `published` has it: in 10^6 where that is."""
    units = comparison.number.base_units if comparison.number else 1
    return None if comparison.measured is None else comparison.measured / units


def _exact_difference(comparison: ComplexityComparison) -> float | None:
    return None if comparison.difference is None else float(comparison.difference)


def _unit(comparison: ComplexityComparison) -> str:
    unit = comparison.number.unit if comparison.number else ""
    return f" {unit.split()[0]}" if unit not in ("", "parameters", "MAC") else ""


def _decimals(comparison: ComplexityComparison) -> int:
    """Three more than were printed, to show how near the rounding is; exact counts have none."""
    number = comparison.number
    if number is None or number.base_units == 1:
        return 0
    return max(0, -int(number.value.as_tuple().exponent)) + 3


def _convention(comparison: ComplexityComparison) -> str:
    """E.g. "v1.5, 224, MAC, conv + linear"; parameters do not depend on it."""
    if comparison.number is None or comparison.metric != "macs":
        return ""
    stated = comparison.number.convention
    layers = describe_layers(stated.layers)
    return f"{stated.stride_placement}, {stated.image_size}, {stated.operation.upper()}, {layers}"


_COMPARISON: tuple[Column[ComplexityComparison], ...] = (
    Column("variant", lambda c: c.variant),
    Column("metric", lambda c: c.metric),
    Column("source", lambda c: c.number.source if c.number else None),
    Column.exact("url", lambda c: c.number.url if c.number else None),
    Column(
        "provenance", lambda c: c.number.provenance if c.number else "unknown", show=_provenance, key="standing",
        detail=True,
    ),
    Column(
        "convention", lambda c: c.number.convention.model_dump() if c.number else None, show=_convention, detail=True
    ),
    Column(
        "published", lambda c: float(c.number.value) if c.number else None, show=_published, right=True,
        parts={
            "published": lambda c: float(c.number.value) if c.number else None,
            "unit": lambda c: c.number.unit if c.number else None,
        },
    ),
    Column.exact("published_as_printed", lambda c: str(c.number.value) if c.number else None),
    Column.exact("unit", lambda c: c.number.unit if c.number else None),
    Column(
        "measured", lambda c: c.measured, show=_measured, right=True,
        parts={"measured": _in_published_units},
    ),
    Column(
        "difference", _exact_difference, show=_difference, right=True, detail=True,
        parts={"difference": _exact_difference},
    ),
    Column("verdict", lambda c: c.verdict),
    Column("note", lambda c: c.note, detail=True),
)  # fmt: skip


_OF_BOTH = ("params", "trainable_params")  # the same wherever the stride is
_NOT_COUNTED = "not counted"


@dataclass(frozen=True)
class Counts:
    """Of a network with default options, under the stride placements under which it was counted."""

    variant: Variant
    v15: CountedNetwork | None
    v1: CountedNetwork | None
    engine: str = ""

    @property
    def counted(self) -> dict[str, CountedNetwork]:
        """By stride placement."""
        return {name: counts for name, counts in (("v1.5", self.v15), ("v1", self.v1)) if counts}

    @property
    def missing(self) -> str:
        """The stride placement under which a classifier was not counted, or ""."""
        found = [name for name in STRIDE_PLACEMENTS if name not in self.counted and not self.engine]
        return found[0] if found else ""


def _count(name: str, heading: str, text: str | Callable[[int], str]) -> Column[Counts]:
    """A count that does not depend on where the stride is, or is shown for v1.5."""

    def count(row: Counts) -> int | None:
        counted = row.v15 or (row.v1 if name in _OF_BOTH else None)
        return counted.values.get(name) if counted else None

    parts = in_units(heading, count, 1e6) if text is shown_millions else {heading: count}
    return Column(heading, count, text, key=name, right=True, parts=parts, missing=_NOT_COUNTED)


def _gmacs(heading: str, of: Callable[[Counts], CountedNetwork | None]) -> Column[Counts]:
    def gmacs(row: Counts) -> float | None:
        return counted.values["macs"] / 1e9 if (counted := of(row)) else None

    def cell(row: Counts) -> str:
        found = gmacs(row)
        return f"{found:.4f}" if found is not None else _NOT_COUNTED if row.missing else ""

    return Column(heading, gmacs, show=cell, key="", right=True, parts={heading: gmacs})


def _elementwise(row: Counts) -> Any:
    """ABSENT where it was not counted under v1.5, None where that was by a version that does not count it."""
    return row.v15.elementwise(row.variant) if row.v15 else ABSENT


def shown_millions(count: int) -> str:
    """In 10^6, e.g. "11.317"."""
    return f"{count / 1e6:.3f}" if count else "0"


_PARAMETERS = _count("params", "params", ",")
_OPERATIONS: tuple[Column[Counts], ...] = (
    Column.exact("macs", lambda c: {placement: counts.values["macs"] for placement, counts in c.counted.items()}),
    _gmacs("GMACs (v1.5)", lambda c: c.v15),
    _gmacs("GMACs (v1)", lambda c: c.v1),
    Column(
        "elementwise (M)", _elementwise, shown_millions, key="elementwise", right=True, missing="unknown",
        parts=in_units("elementwise (M)", _elementwise, 1e6),
    ),
    _count("aw_kernel_forming", "kernel modulation (M)", shown_millions),
)  # fmt: skip
_CLASSIFIERS: tuple[Column[Counts], ...] = (
    Column("variant", lambda c: c.variant.name),
    Column("image size", lambda c: c.variant.architecture.image_size, key="image_size", right=True, detail=True),
    _PARAMETERS,
    *_OPERATIONS,
    _count("activations", "activations (M)", shown_millions),
)
_DETECTORS: tuple[Column[Counts], ...] = (
    Column("variant", lambda c: c.variant.name),
    Column("engine", lambda c: c.engine),
    Column.exact("image_size", lambda c: list(COUNTED_AT[0])),
    Column.exact("proposals", lambda c: COUNTED_AT[1]),
    _PARAMETERS,
    _count("trainable_params", "trainable", ","),
    *_OPERATIONS,
)


def grid_table(records: Records, references: References) -> Table:
    """The counts of every classification variant with default options, under both stride placements."""
    index = ComplexityIndex(records.of_kind("complexity"))

    def row(variant: Variant) -> Counts | Unmeasured:
        size = variant.architecture.image_size
        v1, v15 = (index.get(variant.name, placement, size) for placement in STRIDE_PLACEMENTS)
        if variant.architecture.block != "bottleneck":  # which alone has a choice
            v1, v15 = v1 or v15, v15 or v1
        if v1 or v15:
            return Counts(variant, v15, v1)
        command = f"awbench complexity {variant.name}"
        requirement = f"not measured: needs '{command}' and '{command} --stride-placement v1'"
        return _unmeasured(requirement, {"variant": variant.name, "image_size": size})

    values = [row(variant) for variant in list_variants("classification")]
    return Table(
        title="Complexity of the classification grid",
        fields=_CLASSIFIERS,
        values=values,
        notes=(
            *_needs(values),
            "GMACs: multiply-accumulates of convolutions and linear layers for one image, in 10^9; "
            "the stride of a bottleneck in the 3x3 (v1.5) or the first 1x1 (v1).",
            ELEMENTWISE_NOTE,
            "Activations: outputs of convolutions and linear layers for one image, v1.5, in 10^6.",
        ),
        records_of=lambda counts: [counted.record for counted in counts.counted.values()],
    )


def _needs(values: Iterable[Counts | Unmeasured]) -> list[str]:
    """What counts the rest of rows that are there in part."""
    missing = sorted({row.missing for row in values if isinstance(row, Counts) and row.missing})
    return [f"Not counted: needs 'awbench complexity NAME --stride-placement {name}'." for name in missing]


def detectors_table(records: Records, references: References) -> Table:
    """The counts of every detector with default options, with either engine."""
    index = ComplexityIndex(records.of_kind("complexity"))
    size, proposals = COUNTED_AT

    def row(variant: Variant, engine: str) -> Counts | Unmeasured:
        settings = (Setting(placement, size, engine, proposals) for placement in STRIDE_PLACEMENTS)
        v1, v15 = (index.get_detector(variant.name, setting) for setting in settings)
        if v15:
            return Counts(variant, v15, v1, engine)
        requirement = f"not measured: needs 'awbench complexity {variant.name} --engine {engine}'"
        return _unmeasured(requirement, {"variant": variant.name, "engine": engine})

    return Table(
        title="Complexity of the detectors",
        fields=_DETECTORS,
        values=[row(variant, engine) for engine in ENGINES for variant in list_variants("detection")],
        notes=(
            f"For COCO's 80 categories: 80 and a background output with Detectron2, 91 with torchvision, whose outputs "
            f"are category ids. Multiply-accumulates of one image padded to {size[0]}x{size[1]} pixels, with "
            f"{proposals:,} proposals.",
            ELEMENTWISE_NOTE,
            "Trainable: stem and first stage frozen, normalisations a fixed scale and shift, as both model zoos train.",
        ),
        records_of=lambda counts: [counted.record for counted in counts.counted.values()],
    )


def _unmeasured(requirement: str, known: dict[str, Any]) -> Unmeasured:
    cells = {name.replace("_", " "): str(value) for name, value in known.items()}
    return Unmeasured({**cells, "params": requirement}, {**known, "measured": None, "needs": requirement})
