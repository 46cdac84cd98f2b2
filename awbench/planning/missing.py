"""The runs of a network that a study still needs: the next ones, the expected ones, all that it may come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from awbench.planning.hours import RunHours
from awbench.planning.outcomes import Scenario, mean_of_largest, outcome, question_of_comparison
from awbench.verdicts.study import JudgedStudy

MAIN: Scenario = ("true", "middle")


@dataclass(frozen=True)
class Missing:
    """Of one network of a study, or of one backbone of its detectors.

    Attributes:
        have: runs that are there and count.
        next, largest: that are missing until the next look, and until the last one.
        expected: mean number until every question that it is in ends; empty where nothing is known of deviations.
        run_hours: what a run costs.
        fixed: runs of a fixed design, have and missing, by the level of the deviation; inf for too many.
    """

    network: str
    have: int
    next: int
    largest: int
    expected: Mapping[Scenario, float]
    run_hours: RunHours
    fixed: Mapping[str, float] = field(default_factory=dict)

    def expect(self, scenario: Scenario = MAIN) -> float:
        """The mean; the largest number where it is not known."""
        return self.expected.get(scenario, self.largest)

    def until(self, runs: int) -> int:
        """To be made until there are so many, or all that it may need."""
        return max(0, min(runs - self.have, self.largest))

    def until_fixed(self, level: str) -> float:
        """To be made by a fixed design."""
        return max(0, self.fixed.get(level, 0) - self.have)


def total(networks: Sequence[Missing], count: Callable[[Missing], float]) -> tuple[float, RunHours]:
    """(runs, their hours) of parts; the hours are known as well as the worst of them."""
    used = [(runs, network.run_hours) for network in networks if (runs := count(network))]
    runs = math.fsum(runs for runs, _ in used)
    unknown = [cost.origin for _, cost in used if cost.hours is None]
    if unknown:
        return runs, RunHours(origin=" ".join(filter(None, unknown)))
    sums = tuple(
        _sum_on(device, [(runs, cost) for runs, cost in used if cost.device == device])
        for device in dict.fromkeys(cost.device for _, cost in used)
    )
    return runs, RunHours(apart=sums) if len(sums) > 1 else sums[0] if sums else RunHours(0.0)


def _sum_on(device: str, used: Sequence[tuple[float, RunHours]]) -> RunHours:
    known = next((word for word in ("at least", "about") if any(cost.known == word for _, cost in used)), "")
    return RunHours(math.fsum(runs * (cost.hours or 0) for runs, cost in used), known, device)


def missing_of_network(
    judged: JudgedStudy,
    label: str,
    run_hours: RunHours,
    deviations: Mapping[Scenario, float],
    fixed: Mapping[str, float],
) -> Missing:
    """Of the network of that label.

    Args:
        deviations: of every scenario.
    """
    going = [pair for pair in judged.open if label in (pair.comparison.variant, pair.comparison.over)]
    asked = [(question_of_comparison(comparison), comparison.look) for comparison in going]
    have, expected = len(judged.evidence.runs[label]), {}
    for (truth, level), value in deviations.items() if all(question for question, _ in asked) else ():
        ends = [outcome(question, truth, value, look) for question, look in asked if question]
        expected[truth, level] = max(0.0, mean_of_largest(ends) - have)
    following = max((comparison.next_look or 0 for comparison in going), default=0)
    last = max((comparison.looks[-1] for comparison in going), default=0)
    return Missing(label, have, max(0, following - have), max(0, last - have), expected, run_hours, fixed)


def missing_of_backbone(variant: str, have: int, detectors: Sequence[Missing], run_hours: RunHours) -> Missing:
    """Of a backbone: a run for each detector that is missing, with its seed."""

    def lacking(count: Callable[[Missing], float]) -> float:
        return missing_backbones(have, [(detector.have, count(detector)) for detector in detectors])

    scenarios = [key for key in detectors[0].expected if all(key in detector.expected for detector in detectors)]
    return Missing(
        variant,
        have,
        int(lacking(lambda detector: detector.next)),
        int(lacking(lambda detector: detector.largest)),
        {key: lacking(lambda detector, key=key: detector.expected[key]) for key in scenarios},  # type: ignore[misc]
        run_hours,
    )


def missing_backbones(have: int, detectors: Iterable[tuple[int, float]]) -> float:
    """Of detectors with (runs that are there, runs to come) of one backbone; none where none is to come."""
    return max(0.0, max((there + more for there, more in detectors if more), default=0.0) - have)
