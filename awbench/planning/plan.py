"""What to train so that open claims are answered: runs, their cost, and in which order. Nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from awbench.planning.protocols import Way
from awbench.planning.requirements import DECIDED, ClaimPlan, Planner, Run, planned_pairs
from awbench.planning.throughput import RunCost, choose_device, cost_of_run, throughputs
from awbench.records import Records
from awbench.reference.load import References
from awbench.verdicts.claims import LEVEL, judge_claims, known_spread
from awbench.verdicts.gain import Spread, bonferroni


@dataclass(frozen=True)
class Hours:
    """Of several runs, on one device.

    Attributes:
        hours: of those that are known.
        at_least: whether some are known by the plain network's alone.
        unknown: networks of which nothing is known.
    """

    hours: float
    at_least: bool
    unknown: tuple[str, ...]

    @property
    def known(self) -> bool:
        return not self.at_least and not self.unknown


@dataclass(frozen=True)
class Step:
    """A claim in its turn. Attributes: runs, those that no earlier step makes; cost, theirs."""

    claim: ClaimPlan
    runs: frozenset[Run]
    cost: Hours


@dataclass(frozen=True)
class Plan:
    """What open claims need.

    Attributes:
        device: on which hours are counted; "" where nothing was timed. others: those that could be asked for.
        costs: (network, way) -> what a run of it costs.
        steps: open claims in the order of execution. impossible: those that a thousand runs do not answer.
        unused: assumed deviations that were not needed, with the known one.
    """

    power: float
    device: str
    others: tuple[str, ...]
    claims_judged: int
    costs: Mapping[tuple[str, Way], RunCost]
    steps: tuple[Step, ...]
    impossible: tuple[ClaimPlan, ...]
    unused: Mapping[str, Spread]


def plan(
    records: Records,
    references: References,
    power: float = 0.8,
    depth: int | None = None,
    device: str = "",
    assumed: Mapping[str, float] | None = None,
    backbones: Iterable[str] = (),
) -> Plan:
    """Plan the runs that open claims need.

    Args:
        power: probability that a claim that is exactly true is reproduced.
        depth: for claims on an attention setting; None for 101, or the first that fits the dataset.
        device: a part of a name, see `choose_device`.
        assumed: metric -> standard deviation between runs, in its unit, used where none is known.
        backbones: networks whose ImageNet weights are given.

    Raises:
        UserError: the depth does not fit a claim, or nothing was timed on the device.
    """
    assumed = assumed or {}
    known = throughputs(records, references)
    chosen = choose_device(known, device)
    judged = judge_claims(records, references)
    open_claims = [one for one in judged if one.outcome not in DECIDED]
    count = sum(one.outcome not in DECIDED or any(pair.measured for pair in one.pairs) for one in judged)
    planner = Planner(records, references, power, bonferroni(LEVEL, count), assumed, frozenset(backbones))
    plans = [planner.plan(one, planned_pairs(one, depth)) for one in open_claims]
    kinds = {(run.network, run.way) for one in plans for run in one.runs}
    costs = {(network, way): cost_of_run(network, way, known, chosen) for network, way in kinds}
    return Plan(
        power=power,
        device=chosen,
        others=tuple(dict.fromkeys(one.device for one in known if one.device != chosen)),
        claims_judged=count,
        costs=costs,
        steps=order([one for one in plans if one.possible], costs),
        impossible=tuple(one for one in plans if not one.possible),
        unused={metric: spread for metric in assumed if (spread := known_spread(metric, None, references.scatter))},
    )


def cost_of(runs: Iterable[Run], costs: Mapping[tuple[str, Way], RunCost]) -> Hours:
    """Of runs together; what is unknown is named, never taken for nothing."""
    each = [(run, costs[run.network, run.way]) for run in runs]
    return Hours(
        math.fsum(cost.hours for _, cost in each if cost.hours is not None),
        any(cost.at_least for _, cost in each),
        tuple(sorted({run.network for run, cost in each if cost.hours is None})),
    )


def order(plans: Iterable[ClaimPlan], costs: Mapping[tuple[str, Way], RunCost]) -> tuple[Step, ...]:
    """Claims that can be answered before pilots; of each, the cheapest first, runs of earlier steps not counted again.

    Those whose hours are not known come after those whose are, in their own order.
    """
    left, done, steps = list(plans), frozenset[Run](), []
    while left:
        candidates = [Step(one, one.runs - done, cost_of(one.runs - done, costs)) for one in left]
        step = min(candidates, key=_turn)
        steps.append(step)
        done |= step.runs
        left.remove(step.claim)
    return tuple(steps)


def _turn(step: Step) -> tuple[bool, bool, float]:
    known = step.cost.known
    return step.claim.pilot, not known, step.cost.hours if known else 0.0
