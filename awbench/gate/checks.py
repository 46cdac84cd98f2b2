"""The checks of `awbench check`: one status per value. Here those of counts and of published numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from awbench.gate.commands import requirement
from awbench.gate.locked import LockedCounts, LockedIndex
from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.system import said_here
from awbench.verdicts.agreement import judge_published

Status = Literal["pass", "fail", "not measured"]
KINDS = ("complexity", "accuracy", "detection", "proxy", "latency")
PASS: Literal["pass"] = "pass"
FAIL: Literal["fail"] = "fail"
NOT_MEASURED: Literal["not measured"] = "not measured"


@dataclass(frozen=True)
class Check:
    """One value compared with its reference.

    Attributes:
        kind: one of KINDS.
        name: what is checked, e.g. "aw_resnet50, v1.5, 224".
        status: where it is "not measured", `message` says what would measure it.
        required: whether "not measured" fails the gate.
    """

    kind: str
    name: str
    status: Status
    message: str
    required: bool = False


def not_measured(kind: str, name: str, requirement: str, required: bool = False) -> Check:
    """A check of what was not measured. Args: requirement, e.g. "needs 'awbench reproduce'"."""
    return Check(kind, name, NOT_MEASURED, f"{NOT_MEASURED}: {requirement}", required)


def gate_status(checks: Iterable[Check], required: Iterable[str]) -> Status:
    """The status of the gate: "fail" if any check fails, "not measured" if a required value is missing, else "pass".

    Args:
        required: kinds of which everything must be measured, beyond the checks that are required anyway.
    """
    checks, kinds = list(checks), set(required)
    if any(check.status == FAIL for check in checks):
        return FAIL
    if kinds - {check.kind for check in checks}:  # nothing of a required kind was there to be checked
        return NOT_MEASURED
    missing = [check for check in checks if check.status == NOT_MEASURED and (check.required or check.kind in kinds)]
    return NOT_MEASURED if missing else PASS


def check_complexity(
    records: Iterable[Record], locked: Iterable[LockedCounts], engines: Collection[str]
) -> list[Check]:
    """Counts must be equal to the locked ones; each locked row must be counted.

    Args:
        engines: of detectors, that could be counted here.
    """
    index = LockedIndex(locked)
    checks = []
    for record in records:
        differences = index.differences(record)
        message = "; ".join(differences) or "equal to the locked counts"
        status = FAIL if differences else PASS
        checks.append(Check("complexity", index.name(record), status, message, required=True))
    for row in index.unmet():
        countable = not row.engine or row.engine in engines
        requirement = (
            "its variant, which is not in the grid" if countable else said_here(f"{row.engine} (make {row.engine})")
        )
        name = f"{row.variant}, {row.engine + ', ' if row.engine else ''}{row.stride_placement}, {row.image_size}"
        checks.append(not_measured("complexity", name, f"needs {requirement}", required=countable))
    return checks


_STATUS_OF: dict[str, Status] = {"agrees": PASS, "differs": FAIL}


def check_published(records: Records, references: References) -> list[Check]:
    """Accuracy and AP: records of published weights or of the same recipe must agree with the published number.

    Corrected together, so that networks that are truly as published seldom fail, however many they are.
    """
    checks = []
    for judged in judge_published(records, references):
        number, agreement = judged.number, judged.agreement
        if number.network:
            continue
        which = ", ".join(part for part in (number.weights, number.schedule) if part)
        name = f"{number.variant} {number.metric}, {number.source}{f' ({which})' if which else ''}"
        if agreement.status == "not measured":
            checks.append(not_measured(number.kind, name, requirement(number)))
            continue
        if agreement.status == "not comparable":
            checks.append(not_measured(number.kind, name, f"not comparable: {agreement.words}"))
            continue
        message = f"published {number.value} {number.unit}: {agreement.words}"
        checks.append(Check(number.kind, name, _STATUS_OF.get(agreement.status, NOT_MEASURED), message))
    return checks
