"""Answers in words, the same in tables, on the page and in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from awbench.records import Record
from awbench.studies import Study
from awbench.text import plural
from awbench.verdicts.claims import JudgedClaim
from awbench.verdicts.evidence import Evidence
from awbench.verdicts.interval import Interval
from awbench.verdicts.study import JudgedComparison, JudgedStudy

_NAMED = 4  # runs that a line names; the others are in --json


def shown_interval(interval: Interval | None) -> str:
    """E.g. "+1.02 (+0.76 to +1.28)"."""
    if interval is None:
        return "unknown"
    return f"{interval.value:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


def shown_look(judged: JudgedComparison) -> str:
    """E.g. "look 2 of 8, 4 runs each; 1 and 0 further runs wait for look 3"."""
    if not judged.look and not judged.treated and not judged.baseline:
        return f"no run counts yet, the first look is at {judged.looks[0]} of each"
    if not judged.look:
        have = f"{len(judged.treated)} and {len(judged.baseline)} runs"
        return f"too early: {have}, the first look is at {judged.looks[0]} of each"
    waiting = ""
    if any(judged.waiting) and judged.next_look:
        waiting = f"; {judged.waiting[0]} and {judged.waiting[1]} further runs wait for look {judged.look + 1}"
    return f"look {judged.look} of {len(judged.looks)}, {plural(len(judged.treated), 'run')} each{waiting}"


def shown_answer(judged: JudgedComparison | JudgedClaim) -> str:
    """Both answers: "gain; as claimed"."""
    if judged.interval is None and judged.gain == judged.size == "undecided":
        return "not measured" if isinstance(judged, JudgedClaim) and not judged.comparisons else "undecided"
    claimed = not isinstance(judged, JudgedComparison) or judged.claimed is not None
    if judged.gain == "undecided" and (not claimed or judged.size == "undecided"):
        return "undecided"
    gain = {"undecided": "gain undecided"}.get(judged.gain, judged.gain)
    size = {"less": "less than claimed", "more": "more than claimed", "undecided": "size undecided"}
    return f"{gain}; {size.get(judged.size, judged.size)}" if claimed else gain


def shown_compatible(judged: JudgedComparison) -> str:
    """Whether the publication may well be one run each of this."""
    return {None: "", True: "compatible", False: "not compatible"}[judged.compatible]


def shown_length(recipe: Mapping[str, Any]) -> str:
    """How long a recipe trains, e.g. "100 epochs", "270,000 iterations"."""
    if "epochs" in recipe:
        return f"{recipe['epochs']} epochs"
    return f"{recipe['iterations']:,} iterations" if "iterations" in recipe else "a length that is not recorded"


def shown_training(study: Study) -> str:
    """Its recipe with what the study changes of it, and how long it trains: "cbam, precision=bfloat16, 100 epochs"."""
    changes = [change for change in study.changes if not change.startswith(("epochs=", "iterations="))]
    return ", ".join((study.recipe, *changes, shown_length(study.recipe_identity)))


def training_hours(judged: JudgedStudy) -> dict[str, float]:
    """What the runs that count took to train: GPU-hours, or on CPUs process-hours. Of those that state it."""
    hours: dict[str, float] = {}
    for run in (run for runs in judged.evidence.runs.values() for run in runs):
        if run.process_seconds is not None:
            unit = "GPU-hours" if run.environment.get("training_device") == "cuda" else "process-hours"
            hours[unit] = hours.get(unit, 0.0) + run.process_seconds / 3600
    return hours


def shown_cost(judged: JudgedStudy) -> str:
    """E.g. "29 runs, 21.3 process-hours of training, 0.3 to 1.1 a run, wall time"."""
    count = sum(map(len, judged.evidence.runs.values()))
    hours = " and ".join(f"{value:,.1f} {unit}" for unit, value in training_hours(judged).items())
    each = [
        run.process_seconds / 3600
        for runs in judged.evidence.runs.values()
        for run in runs
        if run.process_seconds is not None
    ]
    span = f", {min(each):,.1f} to {max(each):,.1f} a run" if len(each) > 1 else ""
    return f"{plural(count, 'run')}{f', {hours} of training{span}, wall time' if hours else ''}"


def gains_over_other_runs(judged: JudgedStudy) -> list[str]:
    """Of each gain that is not the difference of the two means of `judged.runs_of`, what it is over, in a sentence."""
    return [
        f"The gain of {pair.comparison.variant} is over the first {len(pair.baseline)} runs of {pair.comparison.over}, "
        f"whose mean is shown over {len(shown)}."
        for pair in judged.comparisons
        if pair.interval and (shown := judged.runs_of(pair.comparison.over)) != pair.baseline
    ]


def caveat_notes(comparisons: Iterable[JudgedComparison]) -> list[str]:
    """What answers rest on beyond the runs, each caveat once, with the networks whose gain it is about."""
    about: dict[str, list[str]] = {}
    for pair in comparisons:
        for caveat in pair.caveats if pair.interval else ():
            about.setdefault(caveat, []).append(pair.comparison.variant)
    return [
        f"The gain of {', '.join(dict.fromkeys(networks))}: {caveat[0].lower()}{caveat[1:]}"
        for caveat, networks in about.items()
    ]


def reasons(evidence: Evidence) -> list[tuple[str, int]]:
    """Why runs were left aside, with how many, most first."""
    return Counter(left.reason for left in evidence.left_aside).most_common()


def _shown_run(record: Record) -> str:
    return f"{record.variant} seed {record.settings.json_object.get('seed')}"


def study_text(judged: JudgedStudy) -> str:
    """A study's state for a terminal."""
    study = judged.study
    unit = "points" if study.task == "classification" else "AP"
    lines = [
        f"{study.name}: {study.title} ({study.purpose}; design {study.digest[:12]})",
        f"  {study.question}",
        f"  {shown_cost(judged)}",
    ]
    for pair in judged.comparisons:
        claim = f" [claim {pair.comparison.claim}]" if pair.comparison.claim else ""
        lines.append(f"  {pair.comparison.variant} over {pair.comparison.over}{claim}: {shown_look(pair)}")
        if pair.interval:
            answers = [shown_answer(pair), *([f"publication {shown_compatible(pair)}"] if pair.claimed else [])]
            lines.append(f"    {shown_interval(pair.interval)} {unit}: {'; '.join(answers)}")
            deviation = f"{pair.interval.deviation:.3f} ({pair.interval.freedom:g} degrees of freedom)"
            lines.append(f"    standard deviation between runs {deviation}, level {pair.interval.level:.4f}")
        lines += [f"    {caveat}" for caveat in pair.caveats]
    for reason, count in reasons(judged.evidence):
        runs = [_shown_run(left.record) for left in judged.evidence.left_aside if left.reason == reason]
        named = ", ".join([*runs[:_NAMED], *(["..."] if count > _NAMED else [])])
        lines.append(f"  left aside, {count}: {reason} ({named})")
    return "\n".join(lines)


def study_object(judged: JudgedStudy) -> dict[str, Any]:
    """The same for programs."""
    study = judged.study
    return {
        "name": study.name,
        "title": study.title,
        "question": study.question,
        "purpose": study.purpose,
        "design_sha256": study.digest,
        "platform": judged.evidence.platform,
        "runs": {label: len(runs) for label, runs in judged.evidence.runs.items()},
        "training_hours": training_hours(judged),
        "comparisons": [comparison_object(pair) for pair in judged.comparisons],
        "left_aside": [{"record": left.record.key, "reason": left.reason} for left in judged.evidence.left_aside],
    }


def comparison_object(judged: JudgedComparison) -> dict[str, Any]:
    """A comparison for programs; numbers in the metric's unit."""
    interval, metric = judged.interval, judged.study.metric
    return {
        "variant": judged.comparison.variant,
        "over": judged.comparison.over,
        "claim": judged.comparison.claim or None,
        "role": judged.comparison.role,
        "look": judged.look,
        "looks": list(judged.looks),
        "runs": [len(judged.treated), len(judged.baseline)],
        "waiting": list(judged.waiting),
        "values": [[run.value(metric) for run in side] for side in (judged.treated, judged.baseline)],
        "difference": interval.value if interval else None,
        "interval": [interval.low, interval.high] if interval else None,
        "level": interval.level if interval else None,
        "deviation": interval.deviation if interval else None,
        "degrees_of_freedom": interval.freedom if interval else None,
        "pooled": interval.pooled if interval else None,
        "gain": judged.gain,
        "size": judged.size if judged.claimed else None,
        "publication_compatible": judged.compatible,
        "caveats": judged.caveats,
        "records": [run.key for run in (*judged.treated, *judged.baseline)],
    }
