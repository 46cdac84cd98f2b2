"""What a budget buys, against every choice there is."""

from __future__ import annotations

import random
from itertools import chain, combinations
from types import SimpleNamespace

import pytest

from awbench.planning.budget import buy
from awbench.planning.plan import Plan, order
from awbench.planning.protocols import TrainingProtocol
from awbench.planning.requirements import ClaimPlan, PairPlan, PlannedRun
from awbench.planning.throughput import RunCost
from awbench.verdicts.deviation import RunToRunDeviation

PROTOCOL = TrainingProtocol("imagenet", "cbam")
KNOWN = RunToRunDeviation(0.2, 4, "these runs")


def made_up(claims: dict[str, set[str]], hours: dict[str, float | None], pilots=(), bounds=()) -> Plan:
    """A plan of claims that need one run of each network named; hours of each network, None where unknown."""
    costs = {(name, PROTOCOL): RunCost(value, name in bounds, "made up") for name, value in hours.items()}
    plans = [
        ClaimPlan(
            SimpleNamespace(claim=SimpleNamespace(id=id)),
            (PairPlan("a", "b", 0.95, 0.8, None if id in pilots else KNOWN, 2, (0, 0), (1, 1)),),
            frozenset(PlannedRun(name, PROTOCOL, 0) for name in networks),
        )
        for id, networks in claims.items()
    ]
    return Plan(0.8, "GPU A", (), len(plans), costs, order(plans, costs), (), {})


def best_by_trying_all(claims, hours, budget):
    """(most claims, fewest hours for so many)"""
    subsets = chain.from_iterable(combinations(claims, n) for n in range(len(claims) + 1))
    prices = [(len(subset), sum(hours[run] for run in set().union(*(claims[c] for c in subset)))) for subset in subsets]
    return max(((n, -price) for n, price in prices if price <= budget), default=(0, 0))


@pytest.mark.parametrize("seed", range(60))
def test_it_answers_the_most_claims_for_the_fewest_hours(seed):
    draw = random.Random(seed)
    networks = [f"n{i}" for i in range(6)]
    hours = {name: draw.randint(1, 20) for name in networks}
    claims = {f"c{i}": set(draw.sample(networks, draw.randint(1, 4))) for i in range(draw.randint(1, 6))}
    budget = draw.randint(0, 60)
    bought = buy(made_up(claims, hours), budget)
    spent = budget - bought.left
    assert (len(bought.bought), -spent) == best_by_trying_all(claims, hours, budget)
    assert spent == sum(hours[run] for run in set().union(*(claims[step.claim.id] for step in bought.bought)))
    assert {step.claim.id for step in (*bought.bought, *bought.not_bought)} == set(claims)
    for step in bought.not_bought:
        assert step.cost.hours > bought.left


def test_the_cheapest_first_would_not_always_do():
    """c is cheapest alone, but a and b share their runs."""
    claims, hours = {"a": {"x", "y"}, "b": {"x", "y"}, "c": {"z"}}, {"x": 4, "y": 4, "z": 7}
    assert [step.claim.id for step in buy(made_up(claims, hours), 8).bought] == ["a", "b"]


def test_beyond_a_dozen_claims_it_still_stays_within_the_hours():
    draw = random.Random(0)
    hours = {f"n{i}": draw.randint(1, 9) for i in range(20)}
    claims = {f"c{i}": set(draw.sample(sorted(hours), 2)) for i in range(20)}
    bought = buy(made_up(claims, hours), 30)
    runs = set().union(*(claims[step.claim.id] for step in bought.bought))
    assert 30 - bought.left == sum(hours[run] for run in runs) <= 30 and len(bought.bought) >= 3
    assert all(step.cost.hours > bought.left for step in bought.not_bought)


def test_what_is_unknown_or_a_bound_is_not_bought():
    plan = made_up({"a": {"x"}, "b": {"y"}, "c": {"z"}}, {"x": None, "y": 2, "z": 3}, bounds={"y"})
    bought = buy(plan, 1000)
    assert [step.claim.id for step in bought.bought] == ["c"]
    assert {step.claim.id: step.cost.known for step in bought.not_bought} == {"a": False, "b": False}


def test_a_pilot_is_bought_with_what_is_left_and_answers_nothing():
    plan = made_up({"cheap": {"x"}, "dear": {"y"}}, {"x": 1, "y": 10}, pilots={"cheap"})
    assert [step.claim.id for step in plan.steps] == ["dear", "cheap"]
    for budget, bought, pilots in ((10, ["dear"], []), (11, ["dear"], ["cheap"]), (5, [], ["cheap"])):
        found = buy(plan, budget)
        assert ([s.claim.id for s in found.bought], [s.claim.id for s in found.pilots]) == (bought, pilots)


def test_shared_runs_are_paid_in_the_first_step_alone():
    bought = buy(made_up({"a": {"x", "y"}, "b": {"y", "z"}}, {"x": 1, "y": 5, "z": 2}), 8)
    assert [(step.claim.id, step.cost.hours) for step in bought.bought] == [("a", 6), ("b", 2)]
    assert bought.left == 0
