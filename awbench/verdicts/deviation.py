"""How far runs of one recipe lie apart that differ by their seeds alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from awbench.reference.source import RunToRun


@dataclass(frozen=True)
class RunToRunDeviation:
    """The standard deviation between runs.

    Attributes:
        deviation: in the metric's unit.
        freedom: its degrees of freedom; 0 where it is assumed.
        origin: whose runs it is from, in words.
    """

    deviation: float
    freedom: int
    origin: str


def published_deviation(metric: str, dataset: str | None, run_to_run: Iterable[RunToRun]) -> RunToRunDeviation | None:
    """Of the first source that repeated trainings of a metric on a dataset (None: on any); None where there is none."""
    for entry in run_to_run:
        fits = entry.metric == metric and dataset in (None, entry.dataset) and entry.of == "training"
        if fits and len(entry.reruns) > 1:
            return rerun_deviation(entry)
    return None


def rerun_deviation(entry: RunToRun) -> RunToRunDeviation:
    """Of a source's two reruns or more."""
    reruns = [float(value) for value in entry.reruns]
    return RunToRunDeviation(statistics.stdev(reruns), len(reruns) - 1, entry.what)
