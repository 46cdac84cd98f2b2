"""Tables of published accuracy, AP and speed beside what was measured here."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from awbench.records import Records
from awbench.reference.load import ReferenceNumber, References
from awbench.report.claims import NEEDS as TRAINING_NEEDS
from awbench.report.detection import needs as detection_needs
from awbench.report.formats import Table
from awbench.verdicts.agreement import judge
from awbench.verdicts.evidence import Measured, measured

NEEDS = {**TRAINING_NEEDS, "latency": "not measured: needs the device the source measured on"}
COLUMNS = (
    "variant", "weights", "metric", "source", "standing", "convention", "published", "measured", "difference",
    "verdict",
)  # fmt: skip
STANDING_NOTE = "standing: primary, read in the source itself; secondary, transcribed by others; recalled, unverified."
_PLACEMENT_NOTE = (
    "stride_placement: v1.5 has a bottleneck's stride in the 3x3 convolution, v1 in the first 1x1; what a convention "
    "does not name the source does not state."
)
_NOTES = {
    "accuracy": (
        "Of all 50,000 validation images; crop and resize: pixels of the evaluated crop, and of the shorter side "
        "before it. An error rate is 100 minus the accuracy.",
        _PLACEMENT_NOTE,
        "difference: measured minus published. Published weights evaluated here must give the published number within "
        "a tolerance; trainings must have it in their 95 % prediction interval, and better than that differs too.",
    ),
    "detection": (
        "AP of boxes on COCO val2017 by pycocotools, over IoU 0.50 to 0.95; ap50 and ap75 at one IoU; small: under "
        "32x32 pixels, large: over 96x96.",
        "difference: measured minus published. Published weights evaluated here must give the published number within "
        "a tolerance; trainings must have it in their 95 % prediction interval, and better than that differs too.",
    ),
    "latency": (
        "Times of other machines are shown and never compared; what this project measures is in the table of speed.",
    ),
}  # fmt: skip
_TITLES = {
    "accuracy": "Published accuracy",
    "detection": "Published detection results",
    "latency": "Published speed and memory",
}


def published_table(kind: str) -> Callable[[Records, References], Table]:
    """The table of a kind of published numbers; each that is not measured says what it needs."""

    def table(records: Records, references: References) -> Table:
        compared = [(number, measured(records, number)) for number in references.of_kind(kind)]
        objects = [_object(number, found, references) for number, found in compared]
        return Table(
            title=_TITLES[kind],
            columns=COLUMNS,
            rows=[_cells(number, found, one) for (number, found), one in zip(compared, objects, strict=True)],
            objects=objects,
            notes=(*_NOTES[kind], STANDING_NOTE, *unknown_notes(references)),
            right_aligned=frozenset({"published", "difference"}),
            origins=[found.records if found else () for _, found in compared],
            sources=[number.source for number, _ in compared],
        )

    return table


def _cells(number: ReferenceNumber, found: Measured | None, one: dict[str, object]) -> tuple[str, ...]:
    convention = number.convention.model_dump()
    return (
        number.variant,
        ", ".join(part for part in (number.schedule, number.weights) if part),
        number.metric,
        number.source,
        number.standing,
        ", ".join(f"{name} {value}" for name, value in convention.items() if value != "unknown"),
        f"{number.value} {number.unit}",
        _shown(number, found) if found else "",
        f"{one['difference']:+.{_decimals(number)}f}" if found else "",
        str(one["verdict"]),
    )


def _decimals(number: ReferenceNumber) -> int:
    return 3 if number.kind == "accuracy" else 2


def _shown(number: ReferenceNumber, found: Measured) -> str:
    """E.g. "76.132 percent, these weights, ImageNet-1k val, 50,000 images"."""
    decimals = _decimals(number)
    value = f"{statistics.fmean(found.values):.{decimals}f} {number.unit}"
    if found.origin == "weights":
        return f"{value}, these weights, {found.data}"
    if len(found.values) == 1:
        return f"{value}, 1 trained here, spread unknown"
    deviation = statistics.stdev(found.values)
    return f"{value}, {len(found.values)} trained here, standard deviation {deviation:.{decimals}f}"


def _object(number: ReferenceNumber, found: Measured | None, references: References) -> dict[str, object]:
    if found:
        agreement = judge(number, found, references.scatter)
        verdict = f"{agreement.status}: {agreement.words}"
        mean = statistics.fmean(found.values)
    else:
        verdict, mean = _needs(number), None
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
        "measured": mean,
        "runs": len(found.values) if found else 0,
        "origin": found.origin if found else None,
        "difference": mean - float(number.value) if mean is not None else None,
        "verdict": verdict,
        "note": number.note,
    }


def _needs(number: ReferenceNumber) -> str:
    if number.network:
        return f"not measured: needs {number.network}"
    return detection_needs(number) if number.kind == "detection" else NEEDS[number.kind]


def unknown_notes(references: References) -> tuple[str, ...]:
    """A note for each source of which something could not be read."""
    return tuple(
        f"{source}: numbers unknown here; reference_results/README.md says how to enter them."
        for source in references.unknown
    )
