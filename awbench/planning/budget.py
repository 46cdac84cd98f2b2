"""Which claims a number of hours answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from awbench.planning.plan import Plan, Step, cost_of, order, step_after
from awbench.planning.requirements import PlannedRun

# So many claims are tried in every combination; of more, the cheapest is bought again and again.
_EXACT = 12


@dataclass(frozen=True)
class Budget:
    """What hours of the plan's device buy.

    Attributes:
        bought: claims that are answered, in the order of execution, each with what it adds to the earlier ones.
        pilots: those that are begun with what is left.
        left: hours.
        not_bought: all others, each with what it adds to what is bought.
    """

    hours: float
    bought: tuple[Step, ...]
    pilots: tuple[Step, ...]
    left: float
    not_bought: tuple[Step, ...]

    @property
    def refused(self) -> tuple[Step, ...]:  # for report, until it is renamed there
        return self.not_bought


def buy(plan: Plan, hours: float) -> Budget:
    """The most claims that can be answered within the hours, and among those choices the cheapest.

    Runs that several claims share are paid once. Only what is known to fit is bought: not where a cost is unknown
    or a lower bound.
    """
    priced = [step for step in plan.steps if cost_of(step.claim.runs, plan.costs).known]
    answering = [step for step in priced if not step.claim.pilot]
    choices = _all(answering) if len(answering) <= _EXACT else _growing(plan, answering)
    best: tuple[Step, ...] = ()
    for chosen in choices:
        spent = _spent(plan, chosen)
        if spent <= hours and (len(chosen), -spent) > (len(best), -_spent(plan, best)):
            best = chosen
    bought = _in_order(plan, best)
    pilots: list[Step] = []
    done = _runs(bought)
    for step in priced:
        pilot = step_after(done, step.claim, plan.costs)
        if step.claim.pilot and pilot.cost.hours <= hours - cost_of(done, plan.costs).hours:
            pilots.append(pilot)
            done |= pilot.runs
    taken = {id(step.claim) for step in (*bought, *pilots)}
    others = [step.claim for step in plan.steps if id(step.claim) not in taken]
    return Budget(
        hours=hours,
        bought=tuple(bought),
        pilots=tuple(pilots),
        left=hours - cost_of(done, plan.costs).hours,
        not_bought=tuple(step_after(done, claim, plan.costs) for claim in others),
    )


def _all(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    for count in range(1, len(steps) + 1):
        yield from combinations(steps, count)


def _growing(plan: Plan, steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Every beginning of the steps in the order in which each adds the least."""
    for count in range(1, len(steps) + 1):
        yield tuple(_in_order(plan, steps)[:count])


def _spent(plan: Plan, steps: Iterable[Step]) -> float:
    return cost_of(_runs(steps), plan.costs).hours


def _runs(steps: Iterable[Step]) -> frozenset[PlannedRun]:
    return frozenset().union(*(step.claim.runs for step in steps))


def _in_order(plan: Plan, steps: Iterable[Step]) -> list[Step]:
    """In the order of execution, each with what it adds to the earlier ones."""
    return list(order([step.claim for step in steps], plan.costs))
