"""Runs that were trained elsewhere, to records of a kind of their own, see `awbench.verdicts.imported`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awbench.errors import UserError
from awbench.records import Quantity, Record, RecordStore, measurement_key
from awbench.records.clock import now
from awbench.records.environment import package_version
from awbench.records.settings import IMPORTED
from awbench.reference.metrics import METRICS
from awbench.reference.runs_file import ImportedRun


def import_runs(runs: Sequence[ImportedRun], store: RecordStore) -> int:
    """Keep a record of each run that is not there yet: all of them or, on an error, none.

    Returns:
        How many were added.

    Raises:
        UserError: one was imported before with another value.
    """
    added = []
    for run in runs:
        identity = _identity(run)
        found = store.find(IMPORTED, run.variant, measurement_key(**identity))
        if found is None:
            added.append(_record(run, identity))
        elif found.value(run.metric) != run.value:
            raise UserError(
                f"{run.variant} seed {run.seed} ({run.metric}, {run.source}) was imported before with "
                f"{found.value(run.metric):g}, here it is {run.value:g}; delete its record in "
                f"{store.directory / IMPORTED}, or name another source"
            )
    for record in added:
        store.add(record)
    return len(added)


def _identity(run: ImportedRun) -> dict[str, Any]:
    settings = {name: value for name, value in run.identity.items() if name != "variant"}
    return {"kind": IMPORTED, "variant": run.variant, "options": {}, "settings": settings, "inputs": {}}


def _record(run: ImportedRun, identity: dict[str, Any]) -> Record:
    (unit,) = METRICS[run.metric].units
    values = {run.metric: Quantity(value=run.value, unit=unit)}
    if run.images is not None:
        values["images"] = Quantity(value=run.images, unit="images")
    when = now()
    return Record(
        **identity,
        values=values,
        notes=[f"imported: trained elsewhere ({run.source}), as stated there"],
        environment={"awbench": package_version("awbench")},
        started=when,
        finished=when,
    )
