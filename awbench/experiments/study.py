"""The runs of a study: which jobs they are, and which of them come next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from awbench.errors import UserError
from awbench.studies import GIVEN, Study
from awbench.tasks import Job


def study_job(study: Study, label: str, seed: int, data: Path | None, initial_weights: Path | None = None) -> Job:
    """The run of one network with one seed.

    Args:
        label: of the network.
        data: folder of the dataset.
        initial_weights: of a detector's backbone.
    """
    return Job(
        study.variant_of(label),
        study.options_of(label),
        study.dataset,
        data,
        study.resolved_recipe,
        seed,
        initial_weights,
        engine=study.engine or None,
        study=study,
    )


def study_jobs(
    study: Study,
    runs: Iterable[tuple[str, int]],
    data: Path | None,
    backbones: Mapping[tuple[str, int], Path] | None = None,
) -> list[Job]:
    """The jobs of runs.

    Args:
        runs: (label, seed).
        backbones: (`Study.backbone_of`, seed) -> file of its weights; needed where the study says so.

    Raises:
        UserError: naming the backbones that are missing, and what trains them.
    """
    jobs, missing = [], []
    for label, seed in runs:
        weights = None
        if study.backbones:
            backbone = study.backbone_of(label)
            weights = (backbones or {}).get((backbone, seed))
            if weights is None:
                missing.append(f"{backbone} seed {seed}")
                continue
        jobs.append(study_job(study, label, seed, data, weights))
    if missing:
        shown = ", ".join(dict.fromkeys(missing))
        remedy = (
            "give them with --backbones DIR" if study.backbones == GIVEN else f"awbench study run {study.backbones}"
        )
        raise UserError(f"study {study.name} needs weights of the backbones {shown}: {remedy}")
    return jobs
