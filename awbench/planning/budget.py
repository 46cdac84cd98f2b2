"""How far a number of hours takes the studies of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from awbench.planning.missing import Missing, missing_backbones
from awbench.planning.outcomes import Outcome
from awbench.planning.plan import Plan, StudyPlan


@dataclass(frozen=True)
class Bought:
    """What hours buy of one study.

    Attributes:
        runs: of each network, at the last look that is reached whatever the results are; 0 for none.
        hours: until there, with the backbones that are missing.
        at_least: whether some networks are known to cost more than is counted.
        answered: question -> probability that a true claim is answered by then, at the middle deviation.
        next_hours: that the look after it needs beyond what is left; None where there is none.
        unknown: networks of which no hours are known.
    """

    plan: StudyPlan
    runs: int
    hours: float
    at_least: bool
    answered: Mapping[str, float]
    next_hours: float | None
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Budget:
    """Attributes: left, hours that no further look fits into; devices, whose hours are counted alike."""

    hours: float
    bought: tuple[Bought, ...]
    left: float
    devices: tuple[str, ...]


def buy(plan: Plan, hours: float) -> Budget:
    """As many looks of each study as fit, one study after the other.

    Counted are the most runs that a look may need: networks whose question is answered earlier stop, and leave some.
    """
    left, bought = hours, list[Bought]()
    trained: dict[tuple[str, str], int] = {}  # (study, variant) -> runs that are there after what was bought
    devices: dict[str, None] = {}
    for study in plan.studies:
        purchase = _buy_study(study, left, trained)
        bought.append(purchase)
        left -= purchase.hours
        for network in study.networks:
            variant = study.study.variant_of(network.network).name
            trained[study.study.name, variant] = network.have + network.until(purchase.runs)
        devices |= {network.run_hours.device: None for network in (*study.networks, *study.backbones) if purchase.runs}
    return Budget(hours, tuple(bought), left, tuple(devices))


def _buy_study(plan: StudyPlan, hours: float, trained: Mapping[tuple[str, str], int]) -> Bought:
    missing: tuple[Missing, ...] = (*plan.networks, *plan.backbones)
    unknown = tuple(network.network for network in missing if network.largest and network.run_hours.hours is None)
    reached, spent, after = 0, 0.0, None
    for runs in () if unknown else sorted({runs for pair in plan.judged.open for runs in pair.looks[pair.look :]}):
        cost = _cost(plan, runs, trained)
        if cost > hours:
            after = cost - hours
            break
        reached, spent = runs, cost
    ends: dict[str, Outcome] = {
        question.name: question.outcomes["true", "middle"] for question in plan.questions if question.outcomes
    }
    answered = {name: end.answered_by(reached) for name, end in ends.items()}
    at_least = any(network.run_hours.known == "at least" for network in missing)
    return Bought(plan, reached, spent, at_least, answered, after, unknown)


def _cost(plan: StudyPlan, runs: int, trained: Mapping[tuple[str, str], int]) -> float:
    """Of so many runs of each network, with the backbones that neither are there nor were bought before."""
    costs = [network.until(runs) * (network.run_hours.hours or 0.0) for network in plan.networks]
    for backbone in plan.backbones:
        variant = backbone.network
        started = [
            detector for detector in plan.networks if plan.study.variant_of(detector.network).backbone == variant
        ]
        study = plan.study.backbone_study
        have = max(backbone.have, trained.get((study.name, variant), 0) if study else 0)
        lacking = missing_backbones(have, [(detector.have, detector.until(runs)) for detector in started])
        costs.append(lacking * (backbone.run_hours.hours or 0.0))
    return math.fsum(costs)
