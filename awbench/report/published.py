"""Tables of published accuracy, AP and speed beside what was measured here."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awbench.gate.commands import requirement
from awbench.records import Records
from awbench.reference.load import ReferenceNumber, References
from awbench.report.table import Column, Table
from awbench.verdicts.agreement import LEVEL, NOT_MEASURED, JudgedNumber, judge_published
from awbench.verdicts.measured import KINDS, Evidence

PROVENANCE_NOTE = (
    "Provenance: primary, read in the source itself; secondary, transcribed by others; recalled, unverified."
)
_PLACEMENT_NOTE = (
    "stride_placement: v1.5 has a bottleneck's stride in the 3x3 convolution, v1 in the first 1x1; what a convention "
    "does not name the source does not state."
)
_AGREEMENT_NOTE = (
    "difference: measured minus published. The published weights, evaluated as their source does, must give the number "
    "within half a unit of its last digit and what evaluations are known to differ by. Trainings must have it in their "
    f"prediction interval, {LEVEL:.1%} for all numbers together; better than that differs too. Not comparable: the "
    "file, the evaluation or the training is another than the published one."
)
_NOTES = {
    "accuracy": (
        "Of all 50,000 validation images; crop and resize: pixels of the evaluated crop, and of the shorter side "
        "before it. An error rate is 100 minus the accuracy.",
        _PLACEMENT_NOTE,
        _AGREEMENT_NOTE,
    ),
    "detection": (
        "AP of boxes on COCO val2017 by pycocotools, over IoU 0.50 to 0.95; ap50 and ap75 at one IoU; small: under "
        "32x32 pixels, large: over 96x96.",
        _AGREEMENT_NOTE,
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


@dataclass(frozen=True)
class Published:
    """A published number, what was measured of it here, and whether they agree or what is missing."""

    number: ReferenceNumber
    measured: Evidence | None
    verdict: str

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.measured.values) if self.measured else None

    @property
    def deviation(self) -> float | None:
        """Between trainings; None for one, and for given weights."""
        values = self.measured.values if self.measured else ()
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def difference(self) -> float | None:
        return None if self.mean is None else self.mean - float(self.number.value)

    @property
    def decimals(self) -> int:
        return 3 if self.number.kind == "accuracy" else 2


def _shown_weights(row: Published) -> str:
    return ", ".join(filter(None, (row.number.schedule, row.number.weights)))


def _shown_number(row: Published) -> str:
    return f"{row.number.value} {row.number.unit}"


def _shown_convention(stated: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in stated.items() if value != "unknown")


def _shown_difference(row: Published) -> str:
    return "" if row.difference is None else f"{row.difference:+.{row.decimals}f}"


def _shown_measurement(row: Published) -> str:
    """E.g. "76.132 percent, these weights, ImageNet-1k val, 50,000 images"."""
    found = row.measured
    if found is None:
        return ""
    value = f"{row.mean:.{row.decimals}f} {row.number.unit}"
    if found.origin == "weights":
        return f"{value}, these weights, {found.data}"
    if len(found.values) == 1:
        return f"{value}, 1 trained here, deviation unknown"
    return f"{value}, {len(found.values)} trained here, standard deviation {row.deviation:.{row.decimals}f}"


_COLUMNS: tuple[Column[Published], ...] = (
    Column("variant", lambda row: row.number.variant),
    Column("weights", lambda row: row.number.weights or row.number.schedule, show=_shown_weights),
    Column("metric", lambda row: row.number.metric),
    Column("source", lambda row: row.number.source),
    Column.exact("url", lambda row: row.number.url),
    Column("provenance", lambda row: row.number.provenance, key="standing", detail=True),
    Column("convention", lambda row: row.number.convention.model_dump(), _shown_convention, detail=True),
    Column(
        "published", lambda row: float(row.number.value), show=_shown_number, right=True,
        parts={"published": lambda row: float(row.number.value), "unit": lambda row: row.number.unit},
    ),
    Column.exact("published_as_printed", lambda row: str(row.number.value)),
    Column.exact("unit", lambda row: row.number.unit),
    Column(
        "measured", lambda row: row.mean, show=_shown_measurement,
        parts={
            "measured": lambda row: row.mean,
            "runs": lambda row: len(row.measured.values) if row.measured else 0,
            "standard deviation": lambda row: row.deviation,
            "measured on": lambda row: row.measured.data if row.measured else None,
        },
    ),
    Column.exact("runs", lambda row: len(row.measured.values) if row.measured else 0),
    Column.exact("origin", lambda row: row.measured.origin if row.measured else None),
    Column(
        "difference", lambda row: row.difference, show=_shown_difference, right=True,
        parts={"difference": lambda row: row.difference},
    ),
    Column("verdict", lambda row: row.verdict),
    Column.exact("note", lambda row: row.number.note),
)  # fmt: skip


def published_table(kind: str) -> Callable[[Records, References], Table]:
    """The table of a kind of published numbers; an unmeasured one says what would measure it, or that nothing can."""

    def table(records: Records, references: References) -> Table:
        judged = judge_published(records, references) if kind in KINDS else []
        if kind not in KINDS:
            judged = [JudgedNumber(number, None, NOT_MEASURED) for number in references.of_kind(kind)]
        return Table(
            title=_TITLES[kind],
            fields=_COLUMNS,
            values=[_row(judged_number) for judged_number in judged if judged_number.number.kind == kind],
            notes=(*_NOTES[kind], PROVENANCE_NOTE, *unknown_notes(references)),
            records_of=lambda row: row.measured.records if row.measured else (),
            source_of=lambda row: row.number.source,
        )

    return table


def _row(judged: JudgedNumber) -> Published:
    status, words = judged.agreement.status, judged.agreement.words or requirement(judged.number)
    return Published(judged.number, judged.evidence, f"{status}: {words}")


def unknown_notes(references: References) -> tuple[str, ...]:
    """A note for each source of which something could not be read."""
    return tuple(
        f"{source}: numbers unknown here; reference_results/README.md says how to enter them."
        for source in references.unknown
    )
