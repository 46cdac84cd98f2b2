"""Imported runs, which count only where a study's file names their source."""

from __future__ import annotations

from collections.abc import Iterator

from awbench.records import Record, Records
from awbench.records.settings import IMPORTED
from awbench.studies import Study


def seed_of(record: Record) -> int:
    """Of an imported run."""
    return int(record.settings.json_object["seed"])


def imported_runs(study: Study, records: Records) -> Iterator[tuple[str, Record, str]]:
    """(label, run, why it does not count or "") of the runs that a study imports, in the order of their import."""
    wanted = {(one.source, one.recipe) for one in study.imports}
    labels = {study.variant_of(label).name: label for label in study.labels if label not in study.networks}
    for record in records.of_kind(IMPORTED) if wanted else ():
        stated = record.settings.json_object
        about = (stated.get("dataset"), stated.get("metric"), stated.get("is_variant"))
        if about != (study.dataset, study.metric, True) or record.variant not in labels:
            continue
        if (stated.get("source"), stated.get("recipe")) in wanted:
            yield labels[record.variant], record, _reason(study, record)


def _reason(study: Study, record: Record) -> str:
    label, images = record.variant, record.values.get("images")
    if images is None or images.value != study.facts.val_images:
        stated = f"{images.value:,.0f}" if images else "an unknown number"
        return f"evaluated on {stated} of {study.facts.val_images:,} images"
    if not 0 <= record.value(study.metric) <= 100:
        return f"{study.metric} is {record.value(study.metric)}, not between 0 and 100"
    if not 0 <= seed_of(record) < study.runs_of(label):
        return f"seed {seed_of(record)} is not one of the study's {study.runs_of(label)}"
    return ""
