"""Runs of one network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from decimal import Decimal

from awbench.records import Record
from awbench.records.settings import Training


def by_seed(records: Iterable[Record]) -> dict[int, Record]:
    """seed -> the training with it that was recorded last, in the order of seeds; of given weights there is none.

    Args:
        records: in the order in which they were recorded, as `Records` has them; clocks may be set back.
    """
    newest = {record.settings.seed: record for record in records if isinstance(record.settings, Training)}
    return dict(sorted(newest.items()))


def first_to_last(records: Iterable[Record]) -> list[Record]:
    """In the order in which they were finished.

    That of their files' numbers says nothing where folders were put together: in each they begin at 1.

    Args:
        records: as `Records` has them; runs that were finished at the same instant stay in that order.
    """
    return sorted(records, key=lambda record: record.finished_at)


def impossible(record: Record, metric: str) -> Iterator[str]:
    """Why a run cannot have measured what it says."""
    if metric not in record.values:
        yield f"no {metric} was measured"
    elif not 0 <= record.value(metric) <= 100:  # nor is NaN
        yield f"{metric} is {record.value(metric)}, not between 0 and 100"
    for name, part in (("top5", "top1"), ("ap50", "box_ap")):
        if {name, part} <= record.values.keys() and record.value(name) < record.value(part):
            yield f"{name} is {record.value(name):.2f}, below {part}, {record.value(part):.2f}"
    images = record.values.get("images")
    for name in ("top1", "top5"):
        value = record.values.get(name)
        if value and images and not _is_share(value.value, images.value):
            yield f"{name}, {value.value} %, is no whole number of {images.value:,} images"


def _is_share(percent: float, images: float) -> bool:
    """Whether a whole number of images is that part of all, to the decimals that it is given with.

    Zeros at the end are none: a file may have had 90, of which the record is 90.0.
    """
    if not (0 <= percent <= 100 and 0 < images < math.inf):
        return False
    exponent = int(Decimal(str(percent)).normalize().as_tuple().exponent)
    rounding = 0.5 * 10.0 ** min(exponent, 0) + 1e-9  # percent; a float64 of them is exact to 1e-14
    return abs(round(percent / 100 * images) / images * 100 - percent) <= rounding


def values_of(runs: Iterable[Record], metric: str) -> list[float]:
    """One value a run."""
    return [float(record.value(metric)) for record in runs]


def resolution_of(run: Record, metric: str) -> float:
    """The smallest step of a metric that a run has, as `awbench.recipes.datasets.DatasetFacts.resolution`.

    Of an accuracy on an unknown number of images a hundredth of a point (chosen), of other quantities 0.
    """
    images = run.values.get("images")
    of_unit = {"percent": 100 / images.value if images and images.value > 0 else 0.01, "AP points": 0.01}
    return of_unit.get(run.values[metric].unit, 0.0)
