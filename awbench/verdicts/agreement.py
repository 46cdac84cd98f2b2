"""Whether a measured accuracy or AP agrees with the published one.

Published weights evaluated here must give the published number: within half a unit of its last printed digit, and what
evaluations of the same weights are known to differ by.

Of trainings the published value is taken for one more draw from their distribution. It agrees if it lies in their
prediction interval mean +- t * s * sqrt(1 + 1/n), widened by half a unit of the last digit. s is the deviation between
published trainings of the same metric and data, with that of the runs themselves from three runs on; where these
deviate more, theirs alone. All numbers that trainings are held to are corrected together (Bonferroni): with every
network truly as published, the probability that any differs is at most 1 - LEVEL.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from awbench.recipes.datasets import DATASET_FACTS
from awbench.records import Records
from awbench.reference.load import ReferenceNumber, References
from awbench.reference.run_to_run import RunToRun
from awbench.reference.run_to_run import run_to_run as run_to_run_deviations
from awbench.verdicts.interval import FEWEST_TO_POOL, POOL_ABOVE, simultaneous
from awbench.verdicts.measured import KINDS, Evidence, Measured, dataset_of, measured

# Of all published numbers together; what `awbench check` holds to locked runs has as much, so that both have 95 %.
LEVEL = 0.975
# By how much evaluations of the same weights may differ where no source evaluated some again: decoders, resizing and
# rounding move AP by hundredths, and top-5 by less than top-1. Chosen.
_EVALUATIONS = {"accuracy": 0.06, "detection": 0.05}


@dataclass(frozen=True)
class Agreement:
    """Attributes: status, and why, in words."""

    status: Literal["agrees", "differs", "undecided", "not comparable", "not measured"]
    words: str = ""


NOT_MEASURED = Agreement("not measured")


@dataclass(frozen=True)
class JudgedNumber:
    """A published number, and what was measured of it."""

    number: ReferenceNumber
    evidence: Evidence | None
    agreement: Agreement


@dataclass(frozen=True)
class _Deviation:
    """Between runs of one network. Attributes: freedom, its degrees of freedom; origin, whose runs, in words."""

    deviation: float
    freedom: int
    origin: str


def judge_published(records: Records, references: References) -> list[JudgedNumber]:
    """Every published accuracy and AP, corrected together."""
    numbers = [number for kind in KINDS for number in references.of_kind(kind)]
    return judge_all([(number, measured(records, number)) for number in numbers], references.run_to_run)


def judge_all(found: Sequence[tuple[ReferenceNumber, Measured]], run_to_run: Sequence[RunToRun]) -> list[JudgedNumber]:
    """Numbers with what was measured of each; of those that trainings are held to, the level is of all together."""
    trained = sum(result.evidence is not None and result.evidence.origin == "trained" for _, result in found)
    level = simultaneous(LEVEL, trained)
    return [
        JudgedNumber(number, result.evidence, _judge(number, result, run_to_run, level)) for number, result in found
    ]


def _judge(number: ReferenceNumber, found: Measured, run_to_run: Sequence[RunToRun], level: float) -> Agreement:
    if found.evidence:
        return judge(number, found.evidence, run_to_run, level)
    if found.not_comparable:
        return Agreement("not comparable", "; ".join(found.not_comparable))
    return NOT_MEASURED


def judge(
    number: ReferenceNumber, evidence: Evidence, run_to_run: Sequence[RunToRun], level: float = 0.95
) -> Agreement:
    """Hold what was measured to what was published.

    Args:
        level: of the prediction interval of trainings.
    """
    difference = statistics.fmean(evidence.values) - float(number.value)
    last_digit = half_unit(number)
    if evidence.origin == "weights":
        between, provenance = _evaluations(number, run_to_run)
        basis = f"the same weights: {last_digit:g} for the last printed digit, {between:g} between evaluations"
        return _agreement(number, difference, last_digit + between, f"{basis} ({provenance})")
    runs, deviation = len(evidence.values), _deviation(number, evidence.values, run_to_run)
    if deviation is None:
        missing = f"the run-to-run deviation is unknown: needs {FEWEST_TO_POOL - runs} more run(s)"
        return Agreement("undecided", f"{difference:+.3f} {number.unit}; {missing}")
    from scipy.special import stdtrit

    critical = float(stdtrit(deviation.freedom, (1 + level) / 2))
    margin = critical * deviation.deviation * math.sqrt(1 + 1 / runs) + last_digit
    basis = f"{runs} run(s), deviation {deviation.deviation:.3f} of {deviation.origin}, level {level:.4f}"
    return _agreement(number, difference, margin, basis)


def _evaluations(number: ReferenceNumber, rows: Iterable[RunToRun]) -> tuple[float, str]:
    """(by how much evaluations of the same weights differ, how that is known). A tolerance is somebody's choice too."""
    metric = number.metric.removesuffix("_error")
    again = [
        abs(float(value - row.published))
        for row in (row.in_accuracy for row in rows)
        if row.of == "evaluation"
        and (row.metric, row.dataset) == (metric, number.dataset)
        and row.published is not None
        for value in row.reruns
    ]
    return (max(again), "published") if again else (_EVALUATIONS[number.kind], "chosen")


def half_unit(number: ReferenceNumber) -> float:
    """Of the last printed digit: what rounding may have moved the number by."""
    return 0.5 * 10.0 ** int(number.value.as_tuple().exponent)


def _agreement(number: ReferenceNumber, difference: float, margin: float, basis: str) -> Agreement:
    inside = abs(difference) <= margin + 1e-9
    better = difference < 0 if number.metric.endswith("_error") else difference > 0
    suspect = " (better than published: suspect)" if better and not inside else ""
    words = f"{difference:+.3f} {number.unit}, {'within' if inside else 'allowed'} +-{margin:.3f}; {basis}{suspect}"
    return Agreement("agrees" if inside else "differs", words)


def _deviation(number: ReferenceNumber, values: Sequence[float], run_to_run: Sequence[RunToRun]) -> _Deviation | None:
    """Of published runs and these, by the rule of `awbench.verdicts.interval`; None where neither says."""
    published, own = _published_deviation(number, run_to_run), None
    if len(values) >= FEWEST_TO_POOL:
        resolution = DATASET_FACTS[dataset_of(number)].resolution
        own = _Deviation(max(statistics.stdev(values), resolution), len(values) - 1, "these runs")
    if own is None or published is None:
        return own or published
    from scipy.special import fdtrc

    ratio = (own.deviation / published.deviation) ** 2
    if fdtrc(own.freedom, published.freedom, ratio) < POOL_ABOVE:
        return own
    return _pooled([published, own], f"{published.origin} and these runs")


def _published_deviation(number: ReferenceNumber, rows: Sequence[RunToRun]) -> _Deviation | None:
    """Pooled over published trainings on the same data that were repeated three times or more."""
    resolution = DATASET_FACTS[dataset_of(number)].resolution
    repeated = [
        _Deviation(max(row.deviation, resolution), row.runs - 1, row.source)
        for row in run_to_run_deviations(rows, number.dataset, number.metric)
        if row.runs is not None and row.runs >= FEWEST_TO_POOL
    ]
    if not repeated:
        return None
    return _pooled(repeated, repeated[0].origin if len(repeated) == 1 else f"{len(repeated)} published recipes")


def _pooled(deviations: Sequence[_Deviation], origin: str) -> _Deviation:
    freedom = sum(each.freedom for each in deviations)
    variance = sum(each.freedom * each.deviation**2 for each in deviations) / freedom
    return _Deviation(math.sqrt(variance), freedom, origin)
