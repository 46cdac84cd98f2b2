"""What `awbench check` holds records to: each value a check with a status. Counts, and published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from awbench.gate.locked import LockedCounts, LockedIndex
from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.verdicts.agreement import judge
from awbench.verdicts.evidence import measured

Status = Literal["holds", "off", "not measured"]
KINDS = ("complexity", "accuracy", "detection", "proxy", "latency")
HOLDS: Literal["holds"] = "holds"
OFF: Literal["off"] = "off"
NOT_MEASURED: Literal["not measured"] = "not measured"


@dataclass(frozen=True)
class Check:
    """One value that is held to another.

    Attributes:
        kind: one of KINDS.
        name: what is checked, e.g. "aw_resnet50, v1.5, 224".
        status: "not measured" says in `message` what it needs.
        required: whether "not measured" fails the gate.
    """

    kind: str
    name: str
    status: Status
    message: str
    required: bool = False


def outcome(checks: Iterable[Check], required: Iterable[str]) -> int:
    """0: all that was measured holds. 1: something is off. 3: something that is required was not measured.

    Args:
        required: kinds of which everything must be measured, beyond the checks that are required anyway.
    """
    checks, kinds = list(checks), set(required)
    if any(check.status == OFF for check in checks):
        return 1
    if kinds - {check.kind for check in checks}:  # nothing of a required kind was there to be checked
        return 3
    missing = [check for check in checks if check.status == NOT_MEASURED and (check.required or check.kind in kinds)]
    return 3 if missing else 0


def check_complexity(records: Iterable[Record], locked: list[LockedCounts], engines: Sequence[str]) -> list[Check]:
    """Counts must be equal to the locked ones; each locked row must be counted.

    Args:
        engines: of detectors, that could be counted here.
    """
    index = LockedIndex(locked)
    checks = []
    for record in records:
        problems = index.off(record)
        message = "; ".join(problems) or "equal to the locked counts"
        checks.append(Check("complexity", index.name(record), OFF if problems else HOLDS, message, required=True))
    for row in index.unmet():
        possible = not row.engine or row.engine in engines
        needs = "needs its variant, which is not in the grid" if possible else f"needs {row.engine} (make {row.engine})"
        name = f"{row.variant}, {row.engine + ', ' if row.engine else ''}{row.stride_placement}, {row.image_size}"
        checks.append(Check("complexity", name, NOT_MEASURED, f"{NOT_MEASURED}: {needs}", required=possible))
    return checks


def check_published(records: Records, references: References) -> list[Check]:
    """Accuracy and AP: records of published weights or of the same recipe must agree with the published number."""
    checks = []
    for number in [*references.of_kind("accuracy"), *references.of_kind("detection")]:
        if number.network:
            continue
        found = measured(records, number)
        which = ", ".join(part for part in (number.weights, number.schedule) if part)
        name = f"{number.variant} {number.metric}, {number.source}{f' ({which})' if which else ''}"
        if found is None:
            checks.append(Check(number.kind, name, NOT_MEASURED, f"{NOT_MEASURED}: needs {_data(number.kind)}"))
            continue
        verdict = judge(number, found, references.scatter)
        status = {"agrees": HOLDS, "differs": OFF, "undecided": NOT_MEASURED}[verdict.status]
        message = f"published {number.value} {number.unit}: {verdict.words}"
        checks.append(Check(number.kind, name, status, message))  # type: ignore[arg-type]  # one of the three
    return checks


def _data(kind: str) -> str:
    needs = {"accuracy": ("ImageNet", "AWBENCH_IMAGENET"), "detection": ("COCO", "AWBENCH_COCO")}
    data, variable = needs[kind]
    return f"{data} and a CUDA GPU ({variable}=DIR awbench reproduce), or published weights (awbench eval)"
