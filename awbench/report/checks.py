"""The gate's checks as text, Markdown and JUnit XML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from awbench.gate.checks import FAIL, KINDS, NOT_MEASURED, PASS, Check
from awbench.report.formats import render
from awbench.report.table import Column, Table
from awbench.text import visible

_STATUSES = (PASS, FAIL, NOT_MEASURED)
_IN_JSON = {PASS: "holds", FAIL: "off"}  # programs rely on these
_TITLES = {
    "complexity": "exact counts",
    "accuracy": "published accuracy",
    "detection": "published AP",
    "proxy": "proxy runs",
    "latency": "latency ratios",
}


def fails(check: Check, required: Sequence[str]) -> bool:
    """Whether this check fails the gate."""
    missing = check.status == NOT_MEASURED and (check.required or check.kind in required)
    return check.status == FAIL or missing


@dataclass(frozen=True)
class _Kind:
    """The checks of one kind, by status."""

    name: str
    counts: Counter[str]
    required: bool


def _count(status: str) -> Column[_Kind]:
    return Column(status, lambda kind: kind.counts[status], "d", key=_IN_JSON.get(status, status))


_SUMMARY: tuple[Column[_Kind], ...] = (
    Column("checked", lambda kind: kind.name, _TITLES.__getitem__, key="kind"),
    *map(_count, _STATUSES),
    Column("required", lambda kind: kind.required, lambda required: "yes" if required else "no"),
)
_DETAILS: tuple[Column[Check], ...] = (
    Column("", lambda check: check.status),
    Column("what", lambda check: check.name),
    Column("why", lambda check: check.message),
)


def summary_table(checks: Sequence[Check], required: Sequence[str]) -> Table:
    """How many checks of each kind pass, fail, or were not measured."""

    def row(name: str) -> _Kind:
        of_kind = [check for check in checks if check.kind == name]
        return _Kind(
            name,
            Counter(check.status for check in of_kind),
            name in required or any(check.required for check in of_kind),
        )

    return Table("awbench check", _SUMMARY, [row(name) for name in KINDS])


def to_text(checks: Sequence[Check], required: Sequence[str]) -> str:
    """The summary, what was not counted and why, and a line for each check that fails, or passes and is no count."""
    lines = [render(summary_table(checks, required), "text").rstrip()]
    failing = [check for check in checks if fails(check, required)]
    optional = [check for check in checks if check.status == NOT_MEASURED and check not in failing]
    counts = Counter(check.message for check in optional if check.kind == "complexity")
    lines += [f"{count} {_TITLES['complexity']} {message}" for message, count in counts.items()]
    if optional and not failing:
        lines.append("what was not measured is not required here, and fails nothing; --require KIND makes it required")
    lines += [f"{check.status}: {check.name}: {check.message}" for check in failing]
    judged = [check for check in checks if check.kind != "complexity" and check.status == PASS]
    lines += [f"pass: {check.name}: {check.message}" for check in judged]
    return "\n".join(lines)


def to_markdown(checks: Sequence[Check], required: Sequence[str], code: int) -> str:
    """A comment for a pull request."""
    verdicts = {0: "**pass**", 1: "**fail**", 3: "**not measured**, though it is required"}
    failing = [check for check in checks if fails(check, required)]
    parts = [f"### awbench check: {verdicts[code]}", render(summary_table(checks, required), "github").rstrip()]
    if failing:
        parts.append(_details("What fails the gate", failing, "open"))
    judged = [check for check in checks if check.kind != "complexity" and check.status == PASS]
    if judged:
        parts.append(_details("Ratios, numbers and runs that pass", judged))
    return "\n\n".join(parts) + "\n"


def _details(title: str, checks: Sequence[Check], state: str = "") -> str:
    table = render(Table(title, _DETAILS, checks), "github").rstrip()
    return f"<details {state}><summary>{title}</summary>\n\n{table}\n\n</details>".replace("<details >", "<details>")


def to_junit(checks: Sequence[Check], required: Sequence[str]) -> str:
    """JUnit XML: one suite per kind; what may be missing is skipped, what must not is a failure."""
    root = ElementTree.Element("testsuites", name="awbench check")
    for kind in KINDS:
        cases = [check for check in checks if check.kind == kind]
        failing = [check for check in cases if fails(check, required)]
        skipped = [check for check in cases if check.status == NOT_MEASURED and check not in failing]
        suite = ElementTree.SubElement(
            root, "testsuite", name=kind, tests=str(len(cases)), failures=str(len(failing)), skipped=str(len(skipped))
        )
        for check in cases:
            name, message = visible(check.name), visible(check.message)
            case = ElementTree.SubElement(suite, "testcase", classname=f"awbench.check.{kind}", name=name)
            if check in failing:
                ElementTree.SubElement(case, "failure", message=message, type=check.status)
            elif check.status == NOT_MEASURED:
                ElementTree.SubElement(case, "skipped", message=message)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def to_object(checks: Sequence[Check], required: Sequence[str], code: int) -> dict[str, Any]:
    """For JSON."""
    return {
        "exit_code": code,
        "summary": summary_table(checks, required).objects,
        "checks": [
            vars(check) | {"status": _IN_JSON.get(check.status, check.status), "fails": fails(check, required)}
            for check in checks
        ],
    }
