"""What to train so that open claims are answered: runs, their cost, and in which order. Nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from awbench.planning.protocols import TrainingProtocol
from awbench.planning.requirements import DECIDED, ClaimPlan, PlannedRun, Planner, planned_pairs
from awbench.planning.throughput import RunCost, choose_device, cost_of_run, throughputs
from awbench.records import Records
from awbench.reference.load import References
from awbench.verdicts.claims import judge_claims
from awbench.verdicts.deviation import RunToRunDeviation, published_deviation
from awbench.verdicts.gain import bonferroni
from awbench.verdicts.statistics import LEVEL

# (network, protocol) -> what a run of it costs
Costs = Mapping[tuple[str, TrainingProtocol], RunCost]


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
    """A claim in the order of execution. Attributes: runs, those that no earlier step makes; cost, theirs."""

    claim: ClaimPlan
    runs: frozenset[PlannedRun]
    cost: Hours


@dataclass(frozen=True)
class Plan:
    """What open claims require.

    Attributes:
        device: on which hours are counted; "" where nothing was timed. others: those that could be asked for.
        costs: of every kind of run, in the order of names.
        steps: open claims in the order of execution. impossible: those that a thousand runs do not answer.
        unused: assumed deviations that were not needed, with the known one.
    """

    power: float
    device: str
    others: tuple[str, ...]
    claims_judged: int
    costs: Costs
    steps: tuple[Step, ...]
    impossible: tuple[ClaimPlan, ...]
    unused: Mapping[str, RunToRunDeviation]


def plan(
    records: Records,
    references: References,
    power: float = 0.8,
    depth: int | None = None,
    device: str = "",
    assumed: Mapping[str, float] | None = None,
    backbones: Iterable[str] = (),
) -> Plan:
    """Plan the runs that open claims require.

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
    open_claims = [claim for claim in judged if claim.outcome not in DECIDED]
    count = sum(claim.outcome not in DECIDED or any(pair.measured for pair in claim.pairs) for claim in judged)
    planner = Planner(records, references, power, bonferroni(LEVEL, count), assumed, frozenset(backbones))
    plans = [planner.plan(claim, planned_pairs(claim, depth)) for claim in open_claims]
    kinds = sorted({(run.network, run.protocol) for claim in plans for run in claim.runs})
    costs = {(network, protocol): cost_of_run(network, protocol, known, chosen) for network, protocol in kinds}
    return Plan(
        power=power,
        device=chosen,
        others=tuple(dict.fromkeys(timed.device for timed in known if timed.device != chosen)),
        claims_judged=count,
        costs=costs,
        steps=order([claim for claim in plans if claim.possible], costs),
        impossible=tuple(claim for claim in plans if not claim.possible),
        unused={
            metric: published
            for metric in assumed
            if (published := published_deviation(metric, None, references.run_to_run))
        },
    )


def cost_of(runs: Iterable[PlannedRun], costs: Costs) -> Hours:
    """Of runs together; what is unknown is named, never taken for nothing."""
    each = [(run, costs[run.network, run.protocol]) for run in runs]
    return Hours(
        math.fsum(cost.hours for _, cost in each if cost.hours is not None),
        any(cost.at_least for _, cost in each),
        tuple(sorted({run.network for run, cost in each if cost.hours is None})),
    )


def order(plans: Iterable[ClaimPlan], costs: Costs) -> tuple[Step, ...]:
    """Claims that can be answered before pilots; of each, the cheapest first, runs of earlier steps not counted again.

    Those whose hours are not known come after those whose are, in their own order.
    """
    left, done, steps = list(plans), frozenset[PlannedRun](), []
    while left:
        candidates = [step_after(done, claim, costs) for claim in left]
        step = min(candidates, key=_rank)
        steps.append(step)
        done |= step.runs
        left.remove(step.claim)
    return tuple(steps)


def step_after(done: frozenset[PlannedRun], claim: ClaimPlan, costs: Costs) -> Step:
    """What a claim adds to runs that are made anyway."""
    runs = claim.runs - done
    return Step(claim, runs, cost_of(runs, costs))


def _rank(step: Step) -> tuple[bool, bool, float]:
    known = step.cost.known
    return step.claim.pilot, not known, step.cost.hours if known else 0.0
