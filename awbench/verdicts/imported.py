"""Imported runs, which count only where a study's file names their source."""

from __future__ import annotations

from collections.abc import Iterator

from awbench.records import Record, Records
from awbench.records.settings import IMPORTED, ImportedRun
from awbench.studies import Study
from awbench.verdicts.runs import impossible

_UNKNOWN = "unknown"


def seed_of(record: Record) -> int:
    """Of an imported run."""
    return _stated(record).seed


def imported_runs(study: Study, records: Records) -> Iterator[tuple[str, Record, str]]:
    """(label, run, why it does not count or "") of the runs that a study imports, in the order of their import."""
    wanted = {(named.source, named.recipe) for named in study.imports}
    recipes = dict[tuple[str, str], str]()  # of each source, the digest of its first run's
    labels = {study.variant_of(label).name: label for label in study.labels if label not in study.networks}
    for record in records.of_kind(IMPORTED) if wanted else ():
        stated, label = _stated(record), labels.get(record.variant)
        about = (stated.dataset, stated.metric, stated.is_variant)
        if label and about == (study.dataset, study.metric, True) and (stated.source, stated.recipe) in wanted:
            reason, digest = _reason(study, label, record), str(stated.json_object.get("recipe_sha256") or _UNKNOWN)
            first = digest if reason else recipes.setdefault((stated.source, stated.recipe), digest)
            if digest != first:
                reason = f"sha256 of recipe {stated.recipe} is {digest[:12]}, the first run's {first[:12]}"
            yield label, record, reason


def _stated(record: Record) -> ImportedRun:
    assert isinstance(record.settings, ImportedRun), "it is of that kind"
    return record.settings


def _reason(study: Study, label: str, record: Record) -> str:
    images, seed = record.values.get("images"), seed_of(record)
    if images is None or images.value != study.facts.val_images:
        stated = f"{images.value:,.0f}" if images else "an unknown number"
        return f"evaluated on {stated} of {study.facts.val_images:,} images"
    if reason := next(impossible(record, study.metric), ""):
        return reason
    if not 0 <= seed < study.runs_of(label):
        return f"seed {seed} is not one of the study's {study.runs_of(label)}"
    return ""
