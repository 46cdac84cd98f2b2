"""Many networks counted side by side, in processes that end with this one."""

from __future__ import annotations

import functools
import logging
import operator
from collections.abc import Iterator, Sequence

from awbench.data.loader import Loader, LoaderError
from awbench.errors import CounterDisagreement, UserError
from awbench.experiments.measurements import has_complexity, record_complexity
from awbench.measure.complexity import Complexity, measure_complexity
from awbench.records import Record, RecordStore
from awbench.system import available_cores
from awbench.variants import ModelOptions, Variant

Job = tuple[Variant, ModelOptions]
Counted = Iterator[tuple[Job, Complexity | Exception]]

_MOST_AT_ONCE = 8
_LOG = logging.getLogger(__name__)


def record_complexities(
    store: RecordStore, jobs: Sequence[Job], cross_check: bool = False
) -> Iterator[tuple[Record, bool]]:
    """What `record_complexity` gives for each job, in their order, counted on as many cores as there are.

    Where processes beside this one cannot be had, or are killed, this one counts what is left.

    Raises:
        UserError, CounterDisagreement: as `record_complexity`.
    """
    counted = _counted_beside([job for job in jobs if not has_complexity(store, *job, cross_check)], cross_check)
    for job in jobs:
        measure = functools.partial(_counts_of, job, counted, cross_check)
        yield record_complexity(store, *job, cross_check=cross_check, measure=measure)


def _counted_beside(jobs: Sequence[Job], cross_check: bool) -> Counted:
    """Jobs with their counts, in order, as far as other processes give them; those make no record."""
    workers = min(_MOST_AT_ONCE, available_cores(), len(jobs))
    if workers < 2:
        return
    order = [[index] for index in range(len(jobs))]
    loader = Loader(
        _Counts(jobs, cross_check), order, workers, pin_memory=False, collate=operator.itemgetter(0), prefetch=1
    )
    try:
        yield from loader
    except LoaderError as error:
        _LOG.warning("awbench: counting in one process from here: %s", str(error).partition(";")[0])


class _Counts:
    """Jobs with their counts by index. An error is returned: raised in another process, it brings its traceback."""

    def __init__(self, jobs: Sequence[Job], cross_check: bool) -> None:
        self.jobs, self.cross_check = jobs, cross_check

    def __getitem__(self, index: int) -> tuple[Job, Complexity | Exception]:
        variant, options = self.jobs[index]
        try:
            return self.jobs[index], measure_complexity(variant.name, options, cross_check=self.cross_check)
        except (UserError, CounterDisagreement) as error:
            return self.jobs[index], error


def _counts_of(job: Job, counted: Counted, cross_check: bool) -> Complexity:
    """From the processes beside this one, past what somebody else has recorded meanwhile; else made here."""
    for other, found in counted:
        if other == job:
            if isinstance(found, Exception):
                raise found
            return found
    variant, options = job
    return measure_complexity(variant.name, options, cross_check=cross_check)
