"""Training runs of one network."""

from __future__ import annotations

from collections.abc import Iterable

from awbench.records import Record
from awbench.records.settings import Training


def by_seed(records: Iterable[Record]) -> dict[int, Record]:
    """seed -> the newest training with it, in the order of seeds. Records of given weights have none."""
    newest = {
        record.settings.seed: record
        for record in sorted(records, key=lambda record: record.finished)
        if isinstance(record.settings, Training)
    }
    return dict(sorted(newest.items()))


def values_of(runs: Iterable[Record], metric: str) -> list[float]:
    """One value a run."""
    return [float(record.value(metric)) for record in runs]
