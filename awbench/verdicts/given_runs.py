"""The gain that two groups of runs show which somebody picked, checked to be comparable."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain

from awbench.errors import UserError
from awbench.records import Record
from awbench.records.settings import Training
from awbench.verdicts.evidence import (
    images_left_out,
    other_platform,
    platform_of,
    trained_on_validation_images,
    trained_weights,
    unknown_platform,
)
from awbench.verdicts.interval import Interval, gain_interval
from awbench.verdicts.protocol import differing, training_protocol
from awbench.verdicts.runs import by_seed, impossible, resolution_of, values_of


def measure_gain(
    treated: Iterable[Record], baseline: Iterable[Record], metric: str, level: float = 0.95
) -> Interval | None:
    """Mean difference of a metric between runs of two networks, with its interval; None below two runs each.

    Args:
        treated, baseline: runs of one network each, trained and evaluated alike, with different seeds.
        level: of the interval, whose degrees of freedom no ratio of the two deviations undercuts.

    Raises:
        UserError: one side is empty, holds several networks or a seed twice, lacks the metric, or the sides were not
            trained and evaluated alike, e.g. on different datasets.
    """
    treated, baseline = list(treated), list(baseline)
    for side in (treated, baseline):
        names = sorted({record.variant for record in side})
        if len(names) != 1:
            raise UserError(
                f"runs of {', '.join(names) or 'nothing'} were given as one side; give those of one network"
            )
        if not all(isinstance(record.settings, Training) for record in side):
            raise UserError(f"a record of {names[0]} has no seed; give records of trainings")
        if len(by_seed(side)) != len(side):
            raise UserError(f"a seed of {names[0]} stands twice; the runs of a side must be independent")
        if any(metric not in record.values for record in side):
            raise UserError(f"a record of {names[0]} has no {metric}")
        for record in side:
            which = f"the run of {names[0]} with seed {record.settings.json_object['seed']}"
            checks = chain(impossible(record, metric), unknown_platform(record), trained_on_validation_images(record))
            if reason := next(checks, ""):
                raise UserError(f"{which} is no evidence: {reason}")
            if left_out := images_left_out(record):
                raise UserError(f"{which} left out {left_out} images that could not be decoded")
        if len({trained_weights(record) for record in side}) != len(side):
            raise UserError(f"two runs of {names[0]} have the same weights; the runs of a side must be independent")
        if len({json.dumps(record.options, sort_keys=True) for record in side}) > 1:
            raise UserError(f"runs of {names[0]} with different options were given as one side; give those of one")
    if not 0 < level < 1:
        raise UserError(f"level {level} is not a probability between 0 and 1, e.g. 0.95")
    options = [side[0].options for side in (treated, baseline)]
    if other := sorted(name for name in options[0].keys() & options[1].keys() if options[0][name] != options[1][name]):
        raise UserError(f"these runs are of networks with different options: {', '.join(other)}")
    runs = [*treated, *baseline]
    names = differing(training_protocol(record) for record in runs)
    if "dataset" in names:
        datasets = sorted({record.settings.dataset for record in runs if isinstance(record.settings, Training)})
        raise UserError(f"runs on {' and '.join(datasets)} cannot be compared; give runs on one dataset")
    if names:
        raise UserError(f"these runs were not trained and evaluated alike: they differ in {', '.join(names)}")
    for run in runs:
        if platform := other_platform(run, platform_of(runs[0]), "the first run"):
            raise UserError(f"these runs were not trained alike: {platform}")
    resolution = resolution_of(treated[0], metric)
    return gain_interval(values_of(treated, metric), values_of(baseline, metric), level=level, resolution=resolution)
