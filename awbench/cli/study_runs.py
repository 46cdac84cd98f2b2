"""A study carried out: its next runs made, judged, and so on until it is answered. For `study run` and `reproduce`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import log
from awbench.errors import UserError, suggestion
from awbench.experiments.leftovers import remove_leftovers_of
from awbench.recipes.datasets import DATA_VARIABLES
from awbench.records import Record, RecordStore
from awbench.studies import GIVEN, Study
from awbench.system import available_cores, loading_processes

if TYPE_CHECKING:
    from awbench.experiments.sweep import PlannedRun, SweepResult
    from awbench.reference.load import References
    from awbench.verdicts.evidence import Evidence
    from awbench.verdicts.study import JudgedStudy

_MOST_AT_ONCE = 8


@dataclass(frozen=True)
class HowToRun:
    """Where and how many at a time; None for what fits the machine.

    Attributes:
        data: folder of the dataset; None for the environment's (AWBENCH_IMAGENET, AWBENCH_COCO).
        backbones: folder of weights, for a study of given backbones.
        init_weights: file, for a study whose classifiers start from given weights.
        parallel: runs at a time. processes: of each run. workers: loading processes of each.
        runs: stop after so many.
        looks: stop at the look of this number.
        device: that trains.
        cluster, parameters: of submitit.
    """

    data: Path | None = None
    backbones: Path | None = None
    init_weights: Path | None = None
    parallel: int | None = None
    processes: int | None = None
    workers: int | None = None
    runs: int | None = None
    looks: int | None = None
    device: str = "auto"
    cluster: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class StudyRun:
    """What became of it. Attributes: made, number of runs; failed, why, by the run's name."""

    judged: JudgedStudy
    made: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def run_study(study: Study, store: RecordStore, references: References, how: HowToRun) -> StudyRun:
    """Make the runs that the next looks need, until every question is answered or the last look is reached.

    Raises:
        UserError: the data, backbones or engine are missing, or runs made here would not count.
    """
    for recorded in filter(None, (study, study.backbone_study)):
        remove_leftovers_of(recorded, store.read(), store.results / "runs")
    done = StudyRun(judge(study, store, references))
    if coming := next_runs(done.judged, how.looks):
        require_platform(done.judged.evidence)
    _make_backbones(study, coming, store, how, done)
    while not done.failed and (wanted := coming[: None if how.runs is None else how.runs - done.made]):
        runs, parallel, processes = plan(study, wanted, store, how)
        result = _carry_out(runs, store, how, parallel, processes)
        done.made += len(result.trained)
        done.failed |= result.failed
        done.judged = judge(study, store, references)
        coming = next_runs(done.judged, how.looks)
        if coming[: len(wanted)] == wanted:  # runs that are there, but do not count, say why
            break
        _make_backbones(study, coming, store, how, done)
    return done


def _make_backbones(
    study: Study, wanted: Sequence[tuple[str, int]], store: RecordStore, how: HowToRun, done: StudyRun
) -> None:
    """Make the runs of the study of backbones that are missing, where their data is at hand.

    That study may be answered with fewer seeds than its detectors need; its design allows them all the same.
    """
    from awbench.verdicts.evidence import gather_evidence

    backbones = study.backbone_study
    if backbones is None:
        return
    have = _backbones(study, wanted, store, how)
    pairs = dict.fromkeys((study.backbone_of(label), seed) for label, seed in wanted)
    missing = [pair for pair in pairs if pair not in have]
    if not missing or not (backbones.facts.proxy or os.environ.get(DATA_VARIABLES.get(backbones.dataset, ""))):
        return  # `study_jobs` names them
    require_platform(gather_evidence(backbones, store.read()))
    runs, parallel, processes = plan(backbones, missing, store, replace(how, data=None, init_weights=None))
    result = _carry_out(runs, store, how, parallel, processes)
    done.made += len(result.trained)
    done.failed |= result.failed


def judge(study: Study, store: RecordStore, references: References) -> JudgedStudy:
    """The study as its records stand.

    Raises:
        UserError: a claim of its comparisons is not in the references, or about something else.
    """
    from awbench.verdicts.study import judge_study

    claims = {claim.id: claim for _, claim in references.claims}
    for comparison in study.comparisons:
        if comparison.claim and comparison.claim not in claims:
            raise UserError(
                f"study {study.name}: claim {comparison.claim!r} is in no reference file"
                f"{suggestion(comparison.claim, claims)} Known: {', '.join(claims) or 'none'}"
            )
    return judge_study(study, store.read(), claims.values())


def require_platform(evidence: Evidence) -> None:
    """That runs made here would count: the study's so far were made with this torch, torchvision and modelling code.

    Raises:
        UserError: naming what differs.
    """
    import torch

    from awbench.records.environment import package_version, training_source_digest
    from awbench.verdicts.evidence import PLATFORM

    study, first = evidence.study, evidence.platform
    here = {
        "torch": torch.__version__,
        "torchvision": package_version("torchvision"),
        "source_sha256": training_source_digest(study.task),
    }
    for name, own in here.items():
        if first.get(name, own) != own:
            raise UserError(
                f"study {study.name}: its runs so far have {PLATFORM[name]} {first[name][:40]}, here it is {own[:40]}; "
                "further ones would not count: run it where the first ones ran, or anew with another --results"
            )


def next_runs(judged: JudgedStudy, looks: int | None = None) -> list[tuple[str, int]]:
    """(label, seed) of the runs that the next looks need, seeds outermost; none where all is answered.

    Args:
        looks: the number of the last look to come to; None for the study's.
    """
    needed: dict[str, int] = {}
    for judgement in judged.open:
        if looks is None or judgement.look < looks:
            for label in (judgement.comparison.over, judgement.comparison.variant):
                needed[label] = max(needed.get(label, 0), judgement.next_look or 0)
    have = {label: len(runs) for label, runs in judged.evidence.runs.items()}
    return [
        (label, seed)
        for seed in range(max(needed.values(), default=0))
        for label in judged.study.labels
        if have[label] <= seed < needed.get(label, 0)
    ]


def plan(
    study: Study, wanted: Sequence[tuple[str, int]], store: RecordStore, how: HowToRun
) -> tuple[list[PlannedRun], int, int]:
    """(the runs, how many at a time, processes of each)."""
    from awbench.experiments.study import study_jobs
    from awbench.experiments.sweep import plan_runs

    given = os.environ.get(DATA_VARIABLES.get(study.dataset, ""))
    data = how.data or (Path(given) if given else None)
    backbones = _backbones(study, wanted, store, how)
    initial = how.init_weights.resolve() if how.init_weights else None
    jobs = study_jobs(study, wanted, data.resolve() if data else None, backbones, initial)
    cores, parallel, processes, workers = available_cores(), how.parallel or 1, how.processes or 1, how.workers or 0
    if not how.cluster and how.processes is None:
        import torch

        gpus = torch.cuda.device_count()
        if gpus and not study.facts.proxy:
            processes = min(gpus, study.resolved_recipe.micro_batches)
            workers = loading_processes(processes) if how.workers is None else how.workers
        else:
            parallel = how.parallel or min(cores, _MOST_AT_ONCE)
    return (
        plan_runs(jobs, store.results.resolve(), ["--workers", str(workers), "--device", how.device]),
        parallel,
        processes,
    )


def _backbones(
    study: Study, wanted: Sequence[tuple[str, int]], store: RecordStore, how: HowToRun
) -> dict[tuple[str, int], Path]:
    """(backbone, seed) -> weights: of the runs of the study of backbones, or of the given folder."""
    from awbench.cli.sweep import backbones_in
    from awbench.verdicts.evidence import gather_evidence

    if not study.backbones:
        return {}
    names = [study.variant_of(label).backbone for label, _ in wanted]
    if study.backbones == GIVEN:
        if how.backbones is None:
            raise UserError(f"study {study.name} starts from given backbones; give their folder with --backbones DIR")
        files = backbones_in(how.backbones, names)
        return {(name, seed): files[name] for (_, seed), name in zip(wanted, names, strict=True) if name in files}
    assert study.backbone_study is not None
    runs_of, found = gather_evidence(study.backbone_study, store.read()).runs, dict[tuple[str, int], Path]()
    for label, seed in dict.fromkeys((study.backbone_of(label), seed) for label, seed in wanted):
        if seed < len(runs_of[label]):
            found[label, seed] = _weights_file(runs_of[label][seed], study.backbone_study, store)
    return found


def _weights_file(run: Record, study: Study, store: RecordStore) -> Path:
    """The weights that a run of a study left.

    Raises:
        UserError: they are not there any more, or others are.
    """
    from awbench.tasks.job import file_sha256

    pattern = f"{run.variant}-*-{study.digest[:8]}-{run.key[:8]}/weights.safetensors"
    path = next(iter(sorted((store.results / "runs").glob(pattern))), None)
    if path is None:
        raise UserError(
            f"{store.results / 'runs' / pattern} is missing; copy it there from where study {study.name} ran"
        )
    if (found := file_sha256(path)) != run.environment.get("weights_sha256"):
        stated = str(run.environment.get("weights_sha256"))[:12]
        raise UserError(f"{path} has sha256 {found[:12]}, the run's record says {stated}; restore the file")
    return path.resolve()


def _carry_out(
    runs: Sequence[PlannedRun], store: RecordStore, how: HowToRun, parallel: int, processes: int
) -> SweepResult:
    from awbench.experiments.sweep import run_sweep, submit_sweep

    if how.cluster:
        return submit_sweep(runs, store, how.cluster, how.parameters, log)
    return run_sweep(runs, store, parallel, processes, log)
