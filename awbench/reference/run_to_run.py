"""How far runs of one recipe lie apart, as sources state it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from awbench.reference.checks import check_dataset, check_metric, check_url, check_variant
from awbench.reference.claim import Provenance
from awbench.reference.metrics import CLAIM_DATASETS, METRICS
from awbench.validation import Strict


class RunToRun(Strict):
    """How far runs of one recipe lie apart, or what difference a source tolerates.

    Attributes:
        of: what is repeated: the evaluation of the same weights, or the training.
        dataset: a key of CLAIM_DATASETS; runs on another one differ otherwise.
        variant: the network, by its name here; one the suite does not build is named in `network`.
        published: what the repetitions are held to.
        reruns: the value of each run.
        deviation: the standard deviation between runs, where their values are not given.
        runs: how many there are; None where the source does not say.
        mean: of the runs.
        tolerance: the largest difference that counts as none.
        pre_training: of detectors, whether runs share one backbone or have one each; None where that is not stated.
        no_estimate: why the row is no estimate of the deviation between seeds alone; "" where it does.
    """

    what: str
    of: Literal["evaluation", "training"]
    dataset: str
    metric: str
    unit: str
    variant: str = ""
    network: str = ""
    published: Decimal | None = None
    reruns: list[Decimal] = []
    deviation: Annotated[Decimal, Field(gt=0)] | None = None
    runs: Annotated[int, Field(ge=2, strict=True)] | None = None
    mean: Decimal | None = None
    tolerance: Annotated[Decimal, Field(gt=0)] | None = None
    pre_training: Literal["shared", "each"] | None = None
    no_estimate: str = ""
    note: str = ""
    provenance: Provenance
    url: str

    @property
    def in_accuracy(self) -> RunToRun:
        """An error rate as the accuracy that it is 100 minus of: the deviation is the same."""
        if not self.metric.endswith("_error"):
            return self
        changes = {
            "metric": self.metric.removesuffix("_error"),
            "published": None if self.published is None else 100 - self.published,
            "mean": None if self.mean is None else 100 - self.mean,
            "reruns": [100 - value for value in self.reruns],
        }
        return self.model_copy(update=changes)

    @model_validator(mode="after")
    def _check(self) -> RunToRun:
        check_metric(self.metric, self.unit)
        check_dataset(self.dataset)
        check_url(self.url)
        if self.variant and not self.network:
            check_variant(self.variant)
        if not self.reruns and self.deviation is None and self.tolerance is None:
            raise ValueError("give reruns, deviation or tolerance")
        if self.reruns and (self.deviation is not None or self.runs is not None):
            raise ValueError("give reruns, whose number and deviation follow, or deviation and runs; not both")
        if self.runs is not None and self.deviation is None:
            raise ValueError("runs is the number of runs that deviation is of; give deviation too")
        if self.pre_training and METRICS[self.metric].kind == "accuracy":
            raise ValueError(f"pre_training is stated of detectors; {self.metric} is measured of classifiers")
        return self


@dataclass(frozen=True)
class Deviation:
    """A published standard deviation between trainings that differ by their seeds alone.

    Attributes:
        deviation: in the metric's unit.
        runs: how many; None where the source does not say.
        source: whose, in words.
        variant: the network, by its name here or the source's; "" where it is not stated.
        pre_training: of detectors, whether runs share one backbone or have one each; None where that is not stated.
    """

    deviation: float
    runs: int | None
    source: str
    variant: str = ""
    pre_training: Literal["shared", "each"] | None = None


def run_to_run(rows: Iterable[RunToRun], dataset: str, metric: str) -> list[Deviation]:
    """Every published deviation between trainings, in the order of files; rows that are no estimate are left out.

    Args:
        rows: `References.run_to_run`.
        dataset: by its name in records or in references: "imagenet" or "ImageNet-1k val".
        metric: an error rate is the accuracy's.
    """
    found = []
    for row in (row.in_accuracy for row in rows):
        fits = row.metric == metric.removesuffix("_error") and dataset in (row.dataset, CLAIM_DATASETS[row.dataset])
        if not fits or row.of != "training" or row.no_estimate:
            continue
        deviation, runs = row.deviation, row.runs
        if len(row.reruns) > 1:
            deviation, runs = statistics.stdev(row.reruns), len(row.reruns)
        if deviation is not None:
            found.append(Deviation(float(deviation), runs, row.what, row.variant or row.network, row.pre_training))
    return found
