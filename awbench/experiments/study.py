"""The runs of a study: which jobs they are, and which of them come next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from awbench.errors import UserError
from awbench.studies import GIVEN, Study
from awbench.tasks import Job
from awbench.tasks.job import file_sha256


def study_job(study: Study, label: str, seed: int, data: Path | None, initial_weights: Path | None = None) -> Job:
    """The run of one network with one seed.

    Args:
        label: of the network.
        data: folder of the dataset.
        initial_weights: of a detector's backbone, or of the whole classifier.
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
    initial_weights: Path | None = None,
) -> list[Job]:
    """The jobs of runs.

    Args:
        runs: (label, seed).
        backbones: (`Study.backbone_of`, seed) -> file of its weights; needed where the study says so.
        initial_weights: of every classifier; needed where the study says so.

    Raises:
        UserError: naming the backbones that are missing, and what trains them; or the initial weights are not those
            of the study.
    """
    _check_initial(study, initial_weights)
    jobs, missing = [], []
    for label, seed in runs:
        weights = initial_weights
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


def _check_initial(study: Study, given: Path | None) -> None:
    wanted = study.init_weights
    if not wanted and given is None:
        return
    if not wanted:
        start = "backbones (--backbones)" if study.backbones else "random weights"
        raise UserError(f"study {study.name} starts from {start}; leave out --init-weights")
    if given is None:
        raise UserError(
            f"study {study.name} starts from weights of sha256 {wanted[:12]}; give them: --init-weights FILE"
        )
    if not given.is_file() or (found := file_sha256(given)) != wanted:
        what = f"has sha256 {found[:12]}" if given.is_file() else "is not a file"
        raise UserError(
            f"--init-weights {given} {what}; study {study.name} starts from the file of sha256 {wanted[:12]}"
        )
