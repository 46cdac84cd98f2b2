"""A plan in words and as an object, each number with where it comes from."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from awbench.planning.budget import Bought, Budget
from awbench.planning.hours import RunHours
from awbench.planning.missing import Missing, total
from awbench.planning.plan import Plan, QuestionPlan, StudyPlan
from awbench.planning.timing import data_argv, timing_argv
from awbench.report.formats import render
from awbench.report.plan_table import plan_table
from awbench.studies import Study
from awbench.text import plural, shown_probability

_DEFAULT_RESULTS = Path("results")


def to_text(plan: Plan, budget: Budget | None, results: Path) -> str:
    """What the hours buy, if they are given; each study in a line; then the details."""
    first = [*(_budget_lines(budget) if budget else []), *map(study_line, plan.studies)]
    if not plan.studies:
        first.append("every claim that a study is about is answered, or has no look left: nothing to run")
    parts = ["\n".join(first), *("\n".join(_details(study, results)) for study in plan.studies if study.open)]
    if plan.unstudied:
        names = ", ".join(judged.claim.id for judged in plan.unstudied)
        them = "it" if len(plan.unstudied) == 1 else "them"
        parts.append(f"{names}: no study answers {them}: write one (docs/verdicts.md in the source)")
    if any(study.open for study in plan.studies):
        parts.append("\n".join(f"* {note}" for note in NOTES))
    return "\n\n".join(parts)


NOTES = (
    "Runs: every question ends at the first look that answers it; simulated with the rules that judge. 'True': each "
    "pair gains what is claimed; half of it lies at the edge of what still counts as the claim, so that often no look "
    "answers; power: a true claim is answered 'as claimed' by the last look. Looks up to: with further looks, after "
    "every added seed up to so many runs of each, the power would be 98 %; that is another study, with more looks. "
    "Fixed: a single look, with 80 % power.",
    "Hours are of training steps alone, without evaluations. 'At least': attention is not free, and this network's "
    "was not timed. A timing command is short and its record never counts as evidence.",
)


def study_line(plan: StudyPlan) -> str:
    """The answer, e.g. "imagenet: 6 networks, about 22 runs (at most 60), about 1,100 GPU-hours on RTX 3090; ..."."""
    if not plan.open:
        answered = all(map(plan.judged.is_answered, plan.judged.comparisons))
        done = "answered" if answered else "no look is left: a new study"
        return f"{plan.study.name}: nothing to run ({done})"
    networks = [network for network in plan.networks if network.largest]
    parts = [f"{plan.study.name}: {plural(len(networks), 'network')}, {_runs_and_hours(networks)}"]
    missing = [backbone for backbone in plan.backbones if backbone.largest]
    if missing:
        runs = f"the runs of study {plan.study.backbones} with the same seeds"
        parts.append(f"its backbones are {runs}, {_runs_and_hours(missing)} to be made")
    elif plan.backbones:
        parts.append(f"its backbones are there already, runs of study {plan.study.backbones}")
    question = plan.first_open
    if question and question.outcomes:
        parts.append(_decided(question))
    return "; ".join(parts)


def _decided(question: QuestionPlan) -> str:
    name = "the headline claim" if question.headline and question.comparisons[0].claimed else question.name
    outcome = question.outcomes["true", "middle"]
    if outcome.surprising:
        return f"{name} would, if true, be decided by now"
    probability = f"{shown_probability(outcome.answered[-1])} probability"
    return f"{name}, if true, is decided with {probability} after about {outcome.runs:.1f} runs of each network"


def _runs_and_hours(networks: Sequence[Missing]) -> str:
    """E.g. "about 22 runs (18 to 25; at most 60), about 1,100 GPU-hours on RTX 3090 (3,000 for all)"."""
    largest, most = total(networks, lambda network: network.largest)
    runs, hours = total(networks, Missing.expect)
    if not all(network.expected for network in networks):
        return f"at most {largest:.0f} runs, {shown_hours(most)}"
    if round(runs) == largest:
        return f"{largest:.0f} runs, {shown_hours(most)}"
    between = ""
    if all(("true", "low") in network.expected for network in networks):
        low, high = (sum(network.expected["true", level] for network in networks) for level in ("low", "high"))
        between = f"{low:.0f} to {high:.0f}; "
    at_most = "" if most.hours is None else f" ({most.hours:,.0f} for all)"
    return f"about {runs:.0f} runs ({between}at most {largest:.0f}), {shown_hours(hours, about=True)}{at_most}"


def shown_hours(cost: RunHours, about: bool = False) -> str:
    """E.g. "at least 48 GPU-hours on RTX 3090"."""
    if cost.apart:
        return " and ".join(shown_hours(each, about) for each in cost.apart)
    if cost.hours is None:
        why = f"give {cost.origin}" if cost.origin else "nothing was measured or published"
        return f"hours unknown: {why}"
    known = cost.known or ("about" if about else "")
    unit = "process-hours" if cost.device.startswith("cpu: ") else "GPU-hours"
    digits = ",.0f" if cost.hours >= 100 else ".3g"
    return f"{f'{known} ' if known else ''}{cost.hours:{digits}} {unit} on {cost.device}"


def _details(plan: StudyPlan, results: Path) -> Iterable[str]:
    study, networks = plan.study, [network for network in plan.networks if network.next]
    yield f"{study.name}: {study.title}"
    runs, hours = total(networks, lambda network: network.next)
    each = ", ".join(f"{network.network} {network.next}" for network in networks)
    yield f"  next look: {plural(int(runs), 'run')}, {shown_hours(hours)}: {each}"
    backbones = [backbone for backbone in plan.backbones if backbone.next]
    if backbones:
        runs, hours = total(backbones, lambda network: network.next)
        yield f"    first {plural(int(runs), 'run')} of its backbones, {shown_hours(hours)}:"
        assert plan.study.backbone_study is not None  # which they are of
        yield f"    {shlex.join(run_argv(plan.study.backbone_study, results))}"
    yield f"    {run_command(plan, results)}"
    if plan.deviations:
        shown = " / ".join(f"{value:.2f}" for value in plan.deviations.values.values())
        yield f"  deviation between runs of a network ({study.metric}): {shown}, from {plan.deviations.origin}"
    elif study.purpose != "smoke test":
        assume = f"assume it with --deviation {study.metric}=VALUE"
        yield f"  nothing says how far runs lie apart in {study.metric}; {assume}"
    if (table := plan_table(plan)).values:
        yield from (f"  {line}" for line in render(table, "text").splitlines())
    yield "  one run:"
    for network in plan.networks:
        found = network.run_hours
        origin = f", {found.origin}" if found.origin and found.hours is not None else ""
        yield f"    {network.network}: {shown_hours(network.run_hours)}{origin}"
        if timing := timing_command(plan, network, results):
            yield f"      to time it: {timing}"
    for backbone in plan.backbones:
        there = plural(backbone.have, "run")
        yield f"    backbone {backbone.network}: {there} there; {shown_hours(backbone.run_hours)} each"


def run_argv(study: Study, results: Path) -> list[str]:
    """The command that makes a study's runs."""
    return ["awbench", "study", "run", study.argument, *data_argv(study), *_results_argv(results)]


def run_command(plan: StudyPlan, results: Path) -> str:
    """What makes the runs that come next; folders are in capitals, for the reader to replace."""
    given = ["--backbones", "BACKBONES_DIR"] if plan.study.backbones == "given" else []
    return shlex.join([*run_argv(plan.study, results), *given])


def timing_command(plan: StudyPlan, network: Missing, results: Path) -> str:
    """What times a network whose own hours are not known; "" where they are."""
    if network.run_hours.hours is not None and not network.run_hours.known:
        return ""
    device = "cpu" if network.run_hours.device.startswith("cpu: ") else ""
    return shlex.join([*timing_argv(plan.study, network.network, device), *_results_argv(results)])


def _results_argv(results: Path) -> list[str]:
    return [] if results == _DEFAULT_RESULTS else ["--results", str(results)]


def _budget_lines(budget: Budget) -> Iterable[str]:
    for bought in budget.bought:
        yield f"{budget.hours:g} hours: {_bought(bought)}"
    yield f"  left: {budget.left:,.0f} hours"
    if len(budget.devices) > 1:
        alike = f"  hours of {' and '.join(budget.devices)} are counted alike, as if of one device"
        yield f"{alike}: --images-per-second NAME=N gives yours"


def _bought(bought: Bought) -> str:
    name = bought.plan.study.name
    if not bought.plan.open:
        return f"{name}: nothing to run"
    if bought.unknown:
        return f"{name} cannot be budgeted: nothing is known of the hours of {', '.join(bought.unknown)}"
    bound = "at least " if bought.at_least else ""
    more = "" if bought.next_hours is None else f"the next look needs {bound}{bought.next_hours:,.0f} hours more"
    if not bought.runs:
        return f"{name}: no look; {more}"
    reached = f"{name} up to {bought.runs} runs of each network, {bound}{bought.hours:,.0f} hours if none ends earlier"
    shown = [
        f"{question}, if true, is decided by then with {shown_probability(p)}"
        for question, p in bought.answered.items()
    ]
    return "; ".join([reached, *shown, *([more] if more else [])])


def to_object(plan: Plan, budget: Budget | None, results: Path) -> dict[str, Any]:
    """The plan for programs; null is unknown."""
    return {
        "studies": [_study_object(study, results) for study in plan.studies],
        "without_study": [judged.claim.id for judged in plan.unstudied],
        "budget": _budget_object(budget) if budget else None,
        "notes": list(NOTES),
    }


def _study_object(plan: StudyPlan, results: Path) -> dict[str, Any]:
    found = plan.deviations
    return {
        "study": plan.study.name,
        "answer": study_line(plan),
        "deviation": {**found.values, "metric": plan.study.metric, "origin": found.origin} if found else None,
        "next": _sum(plan.networks, lambda network: network.next),
        "expected": _sum(plan.networks, Missing.expect),
        "largest": _sum(plan.networks, lambda network: network.largest),
        "by_deviation": plan_table(plan).objects,
        "networks": [
            {
                **_part_object(network),
                "network": network.network,
                "timing_command": timing_command(plan, network, results) or None,
            }
            for network in plan.networks
        ],
        "backbones": [{**_part_object(network), "network": network.network} for network in plan.backbones],
        "command": run_command(plan, results) if plan.open else None,
    }


def _sum(networks: Sequence[Missing], count: Callable[[Missing], float]) -> dict[str, Any]:
    runs, hours = total(networks, count)
    return {"runs": runs, **_hours_object(hours)}


def _hours_object(cost: RunHours) -> dict[str, Any]:
    apart = {"by_device": {each.device: each.hours for each in cost.apart}} if cost.apart else {}
    return {"hours": cost.hours, "known": cost.known or None, "device": cost.device or None, **apart}


def _part_object(network: Missing) -> dict[str, Any]:
    return {
        "have": network.have, "next": network.next, "expected": network.expect(), "largest": network.largest,
        "hours_of_a_run": {**_hours_object(network.run_hours), "origin": network.run_hours.origin},
    }  # fmt: skip


def _budget_object(budget: Budget) -> dict[str, Any]:
    return {
        "hours": budget.hours,
        "left": budget.left,
        "devices": list(budget.devices),
        "studies": [
            {
                "study": bought.plan.study.name, "runs_of_each": bought.runs, "hours": bought.hours,
                "at_least": bought.at_least, "answered": dict(bought.answered),
                "hours_to_the_next_look": bought.next_hours, "unknown": list(bought.unknown),
            }
            for bought in budget.bought
        ],
    }  # fmt: skip
