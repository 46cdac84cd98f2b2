"""A plan for open claims, as text and for programs."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from awbench.planning.budget import Budget
from awbench.planning.plan import Hours, Plan, Step
from awbench.planning.protocols import Way, measure_words, sweep_words
from awbench.planning.requirements import PILOT_RUNS, ClaimPlan, Run
from awbench.planning.throughput import RunCost
from awbench.report.formats import render
from awbench.report.plan_table import describe_deviation, pair_objects, plan_table
from awbench.variants import list_variants
from awbench.verdicts.claims import LEVEL, margin_of
from awbench.verdicts.gain import Spread

_DEFAULT_RESULTS = Path("results")


def to_text(plan: Plan, budget: Budget | None, results: Path) -> str:
    """Table, steps with their commands, the cost of a run, what the budget buys, and notes."""
    if not plan.steps and not plan.impossible:
        return "every claim is settled: nothing to run" if plan.claims_judged else "there are no open claims to plan"
    parts = [render(plan_table(plan), "github").rstrip(), *_steps(plan, results), _costs(plan, results)]
    if budget is not None:
        parts.append("\n".join(_budget(plan, budget)))
    parts.append("\n".join(f"- {note}" for note in notes(plan)))
    return "\n\n".join(parts)


def deviation_interval(deviation: Spread) -> tuple[float, float]:
    """Of an estimated standard deviation, from the chi-squared law of normal runs' variance, at 95 %."""
    from scipy.stats import chi2

    low, high = (deviation.freedom / chi2.ppf((1 + side * LEVEL) / 2, deviation.freedom) for side in (1, -1))
    return deviation.deviation * math.sqrt(low), deviation.deviation * math.sqrt(high)


def describe_hours(cost: Hours, plan: Plan) -> str:
    """E.g. "at least 171.6 GPU-hours on V100, and unknown ones of resnet101"."""
    unit = hours_unit(plan)
    if cost.unknown and not cost.hours:
        return f"{unit} unknown (of {', '.join(cost.unknown)})"
    hours = f"{'at least ' if cost.at_least else ''}{cost.hours:,.1f} {unit} on {plan.device}"
    return f"{hours}, and unknown ones of {', '.join(cost.unknown)}" if cost.unknown else hours


def hours_unit(plan: Plan) -> str:
    return "process-hours" if plan.device.startswith("cpu: ") else "GPU-hours"


def _steps(plan: Plan, results: Path) -> list[str]:
    parts = []
    for order, step in enumerate(plan.steps, 1):
        pilot = f", a pilot: then run 'awbench plan' again{_assume(step.claim)}" if step.claim.pilot else ""
        title = f"{order}. {step.claim.id}: {len(step.runs)} runs, {describe_hours(step.cost, plan)}{pilot}"
        lines = [*_backbones_first(step), *commands(step.runs, plan, results)]
        parts.append("\n".join([title, *(f"   {line}" for line in lines)]))
    for claim_plan in plan.impossible:
        parts.append(
            f"-. {claim_plan.id}: no 1000 runs of each answer it with so small a margin against this deviation"
        )
    return parts


def _backbones_first(step: Step) -> list[str]:
    """Where the ImageNet weights come from that detectors of a step start from."""
    backbones = {run for run in step.claim.runs if run.way.dataset == "imagenet"}
    if not backbones or all(run.way.dataset == "imagenet" for run in step.claim.runs):
        return []
    names = ", ".join(sorted((run.network for run in backbones), key=_rank))
    where = "the first command" if backbones & step.runs else "an earlier step"
    return [f"first an ImageNet run of each of {names}, made by {where}, or their weights in AWBENCH_BACKBONES"]


def _assume(claim_plan: ClaimPlan) -> str:
    return f", or assume a standard deviation with --deviation {claim_plan.judged.claim.metric}=VALUE"


def commands(runs: Iterable[Run], plan: Plan, results: Path) -> list[str]:
    """Commands that make the runs: backbones before detectors, one command for networks with the same seeds."""
    seeds: dict[tuple[Way, str], list[int]] = {}
    for run in sorted(runs, key=lambda run: (run.way.dataset == "coco", run.seed, _place(run.network, run.way))):
        seeds.setdefault((run.way, run.network), []).append(run.seed)
    together: dict[tuple[Way, tuple[int, ...]], list[str]] = {}
    for (way, network), of_network in seeds.items():
        together.setdefault((way, tuple(of_network)), []).append(network)
    lines = []
    for (way, of_each), networks in together.items():
        at_once = max(plan.costs[network, way].devices for network in networks)
        argv = sweep_words(sorted(networks, key=_rank), of_each, way, at_once)
        lines.append(shlex.join([*argv, *_results_option(results)]))
    return lines


def _rank(network: str) -> int:
    """As 'awbench list' has them, networks without AW first."""
    return [variant.name for variant in list_variants()].index(network)


def _place(network: str, way: Way) -> tuple[int, str, tuple[str, ...], str]:
    """To sort by: the same plan has the same order, whatever Python's hashes are."""
    return _rank(network), way.recipe, way.changes, way.engine


def _results_option(results: Path) -> list[str]:
    return [] if results == _DEFAULT_RESULTS else ["--results", str(results)]


def _sorted_costs(plan: Plan) -> list[tuple[tuple[str, Way], RunCost]]:
    return sorted(plan.costs.items(), key=lambda item: _place(*item[0]))


def measure_command(network: str, way: Way, plan: Plan, results: Path) -> str:
    """What measures the cost of a run on the plan's device."""
    device = "cpu" if plan.device.startswith("cpu: ") else "cuda"
    return shlex.join([*measure_words(network, way, device), *_results_option(results)])


def _costs(plan: Plan, results: Path) -> str:
    lines = [f"One run, on {plan.device or 'no device'}:"]
    for (network, way), cost in _sorted_costs(plan):
        lines.append(f"  {network}, {way.dataset}: {describe_cost(cost, plan)}")
        if not cost.known:
            lines.append(f"    measured by: {measure_command(network, way, plan, results)}")
    return "\n".join(lines)


def describe_cost(cost: RunCost, plan: Plan) -> str:
    """E.g. ">= 171.6 GPU-hours (plain network's; attention is not free), from detectron2_model_zoo, ..."."""
    if cost.hours is None:
        return "unknown"
    bound = (">= ", " (plain network's; attention is not free)") if cost.at_least else ("", "")
    return f"{bound[0]}{cost.hours:,.1f} {hours_unit(plan)}{bound[1]}, from {cost.origin}"


def _budget(plan: Plan, budget: Budget) -> list[str]:
    unit = hours_unit(plan)
    lines = [f"{budget.hours:g} {unit} on {plan.device or 'no device'}:"]
    lines += [f"  answers {step.claim.id}: {describe_hours(step.cost, plan)}" for step in budget.bought]
    if not budget.bought:
        lines.append("  answer no claim")
    lines += [
        f"  begins {step.claim.id} with a pilot, which does not answer it: {describe_hours(step.cost, plan)}"
        for step in budget.pilots
    ]
    lines.append(f"  left: {budget.left:,.1f} {unit}")
    for step in budget.refused:
        name = f"{step.claim.id}{' (pilot)' if step.claim.pilot else ''}"
        lines.append(f"  not bought: {name}: {_why(step, plan, budget)}")
    return lines


def _why(step: Step, plan: Plan, budget: Budget) -> str:
    required = describe_hours(step.cost, plan)
    if step.cost.known or step.cost.hours > budget.left:
        return f"does not fit, it needs {required}"
    return f"cannot be budgeted until its cost is measured: {required}"


def notes(plan: Plan) -> list[str]:
    """What the table's terms mean, and what the reader must know before trusting them."""
    pairs = [pair for step in plan.steps for pair in step.claim.pairs]
    found = [
        f"Runs of each network, with which a claim that is exactly true is reproduced with probability {plan.power:g}; "
        "for 'up to' the pair that shows the gain, for several pairs that must all show it, all of them.",
        f"Intervals hold together at {LEVEL:.0%} when all {plan.claims_judged} claims that are measured or planned "
        "here, and their pairs, are measured (Bonferroni); with fewer, fewer runs do.",
        "The level is of one look, at the planned number of runs: adding runs until a verdict falls looks more often.",
    ]
    estimated = dict.fromkeys(pair.deviation for pair in pairs if pair.deviation and pair.deviation.freedom)
    for deviation in estimated:
        low, high = deviation_interval(deviation)
        found.append(
            f"The standard deviation {describe_deviation(deviation)} is itself an estimate with {deviation.freedom} "
            f"degrees of freedom, {LEVEL:.0%} interval {low:.2g} to {high:.2g}. The power holds if it is right: plan "
            "again when the first runs are there."
        )
    if any(pair.deviation is None for pair in pairs):
        found.append(f"Pilot: {PILOT_RUNS} runs of each, the fewest that say how far runs scatter. It answers nothing.")
    if any(pair.deviation and not pair.deviation.freedom for pair in pairs):
        found.append("Assumed: the standard deviation was given with --deviation; no runs and no reference support it.")
    for metric, known in plan.unused.items():
        found.append(f"--deviation {metric} is not used: {known.deviation:.3g} is known from {known.origin}.")
    for claim_plan in (*(step.claim for step in plan.steps), *plan.impossible):
        if claim_plan.restarted:
            found.append(
                f"{claim_plan.id}: recorded runs of {' and '.join(claim_plan.restarted)} cannot be gone on with "
                "(trained or evaluated apart, or by a recipe or options that are not the project's); new ones are "
                "planned."
            )
    found.append(
        "Hours are of training steps alone, without evaluations. --processes N shares a run among N GPUs, with the "
        "same result; where it is printed, the run was timed so. Words in capitals are folders of yours."
    )
    if any(run.way.dataset == "coco" for step in plan.steps for run in step.runs):
        found.append(
            "Detectors start from ImageNet weights of their backbones: BACKBONES_DIR holds them by name, e.g. "
            "aw_resnet101.safetensors, a copy of weights.safetensors of that run below results/runs. Those of a "
            "folder that AWBENCH_BACKBONES names are not planned, and 'awbench reproduce' finds both by itself."
        )
    if plan.others:
        found.append(f"Hours of different devices are never added. Others, for --device: {', '.join(plan.others)}.")
    return found


def to_object(plan: Plan, budget: Budget | None, results: Path) -> dict[str, Any]:
    """The plan for programs; null is unknown."""
    return {
        "power": plan.power,
        "device": plan.device or None,
        "other_devices": list(plan.others),
        "claims": [_claim_object(step.claim) | _step_object(step, plan, results) for step in plan.steps],
        "impossible": [_claim_object(claim_plan) for claim_plan in plan.impossible],
        "costs": [
            {
                "network": network, "dataset": way.dataset, "recipe": way.recipe, "changes": list(way.changes),
                "hours": cost.hours if cost.known else None,
                "at_least_hours": cost.hours if cost.at_least else None, "origin": cost.origin or None,
                "measure": None if cost.known else measure_command(network, way, plan, results),
            }
            for (network, way), cost in _sorted_costs(plan)
        ],
        "budget": _budget_object(budget) if budget else None,
        "notes": notes(plan) if plan.steps or plan.impossible else [],
    }  # fmt: skip


def _claim_object(claim_plan: ClaimPlan) -> dict[str, Any]:
    claim = claim_plan.judged.claim
    return {
        "id": claim_plan.id,
        "source": claim_plan.judged.source.id,
        "metric": claim.metric,
        "outcome": claim_plan.judged.outcome,
        "claimed_difference": float(claim.delta),
        "relation": claim.relation,
        "margin": margin_of(claim),
        "pilot": claim_plan.pilot,
        "pairs": pair_objects(claim_plan),
    }


def _step_object(step: Step, plan: Plan, results: Path) -> dict[str, Any]:
    return {**_cost_object(step.cost), "runs": len(step.runs), "commands": commands(step.runs, plan, results)}


def _cost_object(cost: Hours) -> dict[str, Any]:
    bound = None if cost.known or not cost.hours else cost.hours
    return {"hours": cost.hours if cost.known else None, "at_least_hours": bound, "unknown": list(cost.unknown)}


def _budget_object(budget: Budget) -> dict[str, Any]:
    def rows(steps: Iterable[Step]) -> list[dict[str, Any]]:
        return [{"id": step.claim.id, **_cost_object(step.cost)} for step in steps]

    return {
        "hours": budget.hours,
        "left": budget.left,
        "answers": rows(budget.bought),
        "pilots": rows(budget.pilots),
        "not_bought": rows(budget.refused),
    }
