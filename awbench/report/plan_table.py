"""The table of a plan: when questions are answered and what a study comes to, for each deviation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from awbench.planning.missing import total
from awbench.planning.outcomes import ENOUGH, POWER, TRUTHS
from awbench.planning.plan import StudyPlan
from awbench.report.table import Column, Table
from awbench.text import shown_probability


@dataclass(frozen=True)
class PlanRow:
    """Of a question, or of the whole study, at one deviation.

    Attributes:
        values: by truth.
        fixed: of a design of one look with 80 % power; inf for too many.
        enough: runs of each at the last look that make the power 98 %, where it is less; inf for too many.
        answered: by truth, at each look.
    """

    what: str
    level: str
    deviation: float
    values: Mapping[str, float | None]
    power: float | None
    fixed: float | None
    answered: Mapping[str, list[float]] = field(default_factory=dict)
    enough: float | None = None


def plan_table(plan: StudyPlan) -> Table:
    """Rows for each deviation: open questions, runs of the study, and their hours."""
    return Table("When it is answered, and what it takes", _COLUMNS, list(_rows(plan)))


def _rows(plan: StudyPlan) -> Iterator[PlanRow]:
    levels = plan.deviations.values.items() if plan.deviations else ()
    for question in plan.questions if plan.open else ():
        for level, value in levels if question.outcomes else ():
            found = {truth: question.outcomes[truth, level] for truth in TRUTHS}
            runs_of_each = {truth: outcome.runs for truth, outcome in found.items()}
            answered = {truth: list(outcome.answered) for truth, outcome in found.items()}
            power, fixed = found["true"].as_claimed, question.fixed[level]
            enough = question.enough.get(level)
            yield PlanRow(f"{question.name}: runs of each", level, value, runs_of_each, power, fixed, answered, enough)
    for level, value in levels if all(network.expected for network in plan.networks) and plan.open else ():
        sums = {truth: total(plan.networks, lambda network: network.expect((truth, level))) for truth in TRUTHS}  # noqa: B023
        fixed_runs, fixed_hours = total(plan.networks, lambda network: network.until_fixed(level))  # noqa: B023
        runs = {truth: runs for truth, (runs, _) in sums.items()}
        yield PlanRow("runs to make", level, value, runs, None, fixed_runs)
        hours = {truth: hours.hours for truth, (_, hours) in sums.items()}
        yield PlanRow("their hours", level, value, hours, None, fixed_hours.hours)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 15 else f"{value:.1f}".removesuffix(".0")


def _fixed(row: PlanRow) -> str:
    return "unknown" if row.fixed is None else "too many" if row.fixed == math.inf else _shown(row.fixed)


def _finite(value: float | None) -> float | None:
    return None if value == math.inf else value


def _enough(row: PlanRow) -> str:
    return "" if row.enough is None else "too many" if row.enough == math.inf else _shown(row.enough)


def _if(truth: str, name: str) -> Column[PlanRow]:
    return Column(name, lambda row: row.values[truth], _shown, key=f"if_{truth}", right=True, missing="unknown")


def _answered(truth: str) -> Column[PlanRow]:
    return Column.exact(f"answered_if_{truth}", lambda row: row.answered.get(truth))


_COLUMNS: tuple[Column[PlanRow], ...] = (
    Column("what", lambda row: row.what),
    Column("deviation", lambda row: row.deviation, ".2f"),
    Column.exact("level", lambda row: row.level),
    _if("true", "if claims are true"),
    _if("half", "if half of them is"),
    _if("nothing", "if nothing is"),
    Column("power", lambda row: row.power, shown_probability, right=True),
    Column(f"looks up to, {ENOUGH:.0%}", lambda row: _finite(row.enough), show=_enough, key="enough", right=True),
    Column(f"fixed, {POWER:.0%}", lambda row: _finite(row.fixed), show=_fixed, key="fixed", right=True),
    *map(_answered, TRUTHS),
)
