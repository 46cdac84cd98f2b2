"""The table of a plan: a row for each pair of networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awbench.planning.plan import Plan
from awbench.planning.requirements import ClaimPlan, PairPlan
from awbench.report.claims import claimed
from awbench.report.table import Column, Table
from awbench.verdicts.claims import margin_of
from awbench.verdicts.gain import Spread


@dataclass(frozen=True)
class PlanRow:
    """One pair of a claim; `order` is empty below the claim's first."""

    order: str
    claim_plan: ClaimPlan
    pair: PairPlan


def plan_table(plan: Plan) -> Table:
    """A row for each pair of networks that is planned, claims in the order of their steps."""
    ordered = [(str(order), step.claim) for order, step in enumerate(plan.steps, 1)]
    ordered += [("-", claim_plan) for claim_plan in plan.impossible]
    rows = [row for order, claim_plan in ordered for row in _rows(order, claim_plan)]
    return Table("Runs that answer the open claims", _COLUMNS, rows)


def pair_objects(claim_plan: ClaimPlan) -> list[dict[str, Any]]:
    """The pairs of one claim, for programs."""
    return Table("", _COLUMNS, _rows("", claim_plan)).objects


def describe_deviation(deviation: Spread | None) -> str:
    """E.g. "0.261 (torchvision ResNet-50 V1 recipe, retrained)"."""
    return "unknown" if deviation is None else f"{deviation.deviation:.3g} ({deviation.origin})"


def _rows(order: str, claim_plan: ClaimPlan) -> list[PlanRow]:
    return [PlanRow("" if number else order, claim_plan, pair) for number, pair in enumerate(claim_plan.pairs)]


def _of_claim(heading: str, text: Callable[[ClaimPlan], str], right: bool = False) -> Column[PlanRow]:
    """A column about the claim, filled in its first row alone."""
    return Column.shown(heading, lambda row: text(row.claim_plan) if row.order else "", right)


def _both(runs: list[int]) -> str:
    return f"{runs[0]} and {runs[1]}"


def _wanted(row: PlanRow) -> str:
    if row.pair.runs is None:
        return "more than 1000"
    return f"{row.pair.runs} (pilot)" if row.pair.deviation is None else str(row.pair.runs)


_COLUMNS: tuple[Column[PlanRow], ...] = (
    Column.shown("order", lambda row: row.order),
    _of_claim("claim", lambda claim_plan: claim_plan.id),
    _of_claim("claimed", lambda claim_plan: claimed(claim_plan.judged.claim)),
    _of_claim("margin", lambda claim_plan: f"{margin_of(claim_plan.judged.claim):g}", right=True),
    _of_claim("now", lambda claim_plan: claim_plan.judged.outcome),
    Column("variant", lambda row: row.pair.variant),
    Column("over", lambda row: row.pair.over),
    Column("level", lambda row: row.pair.level, ".3%"),
    Column.exact("power", lambda row: row.pair.power),
    Column.exact("deviation", lambda row: row.pair.deviation.deviation if row.pair.deviation else None),
    Column.shown("standard deviation", lambda row: describe_deviation(row.pair.deviation)),
    Column.exact("deviation_of", lambda row: row.pair.deviation.origin if row.pair.deviation else None),
    Column("runs of each", lambda row: row.pair.runs, show=_wanted, key="runs", right=True),
    Column("recorded", lambda row: list(row.pair.have), _both),
    Column("to add", lambda row: list(row.pair.add) if row.pair.runs else None, _both, key="add"),
)
