"""Many networks counted side by side, in processes that end with this one."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterator, Sequence

from awbench.data.loader import Loader, LoaderError
from awbench.errors import CounterDisagreement, UserError
from awbench.experiments.measurements import record_complexity
from awbench.records import Record, RecordStore
from awbench.system import available_cores
from awbench.variants import ModelOptions, Variant

_MOST_AT_ONCE = 8
_LOG = logging.getLogger(__name__)


def record_complexities(
    store: RecordStore, jobs: Sequence[tuple[Variant, ModelOptions]], cross_check: bool = False
) -> Iterator[tuple[Record, bool]]:
    """What `record_complexity` gives for each job, in their order, counted on as many cores as there are.

    Where processes beside this one cannot be had, or are killed, this one counts what is left.

    Raises:
        UserError, CounterDisagreement: as `record_complexity`.
    """
    counts, done = _Counts(store, jobs, cross_check), 0
    workers = min(_MOST_AT_ONCE, available_cores(), len(jobs))
    if workers > 1:
        order = [[index] for index in range(len(jobs))]
        loader = Loader(counts, order, workers, pin_memory=False, collate=operator.itemgetter(0), prefetch=1)
        try:
            for found in loader:
                yield _returned(found)
                done += 1
        except LoaderError as error:
            _LOG.warning("awbench: counting in one process from here: %s", str(error).partition(";")[0])
    for index in range(done, len(jobs)):
        yield _returned(counts[index])


class _Counts:
    """Jobs' records by index. An error is returned: raised in another process, it would come with its traceback."""

    def __init__(self, store: RecordStore, jobs: Sequence[tuple[Variant, ModelOptions]], cross_check: bool) -> None:
        self.store, self.jobs, self.cross_check = store, jobs, cross_check

    def __getitem__(self, index: int) -> tuple[Record, bool] | Exception:
        try:
            return record_complexity(self.store, *self.jobs[index], cross_check=self.cross_check)
        except (UserError, CounterDisagreement) as error:
            return error


def _returned(found: tuple[Record, bool] | Exception) -> tuple[Record, bool]:
    if isinstance(found, Exception):
        raise found
    return found
