"""A grid of training runs: each recorded once, whoever runs it and however often it is started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awbench.data.datasets import Split, open_split
from awbench.errors import TRY_AGAIN, UserError
from awbench.recipes.classification import load_recipe
from awbench.records import RecordStore, measurement_key
from awbench.training.job import TrainingJob
from awbench.training.recorded import is_busy
from awbench.variants import ModelOptions, Variant

_WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class SweepJob:
    """One run of a sweep.

    Attributes:
        name: for people.
        kind, variant, key: of the record it makes.
        words: that start it on a command line, after `awbench`.
        output: folder of the run.
    """

    name: str
    kind: str
    variant: str
    key: str
    words: tuple[str, ...]
    output: Path

    def is_recorded(self, store: RecordStore) -> bool:
        return store.find(self.kind, self.variant, self.key) is not None


@dataclass
class SweepResult:
    """What became of the runs, by name; `failed` says why, with the file that holds the output."""

    found: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def plan_sweep(
    variants: Sequence[Variant],
    seeds: Sequence[int],
    recipes: Sequence[str],
    dataset: str,
    data: Path | None,
    results: Path,
    changes: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> list[SweepJob]:
    """The runs of a grid, seeds outermost: after each round every variant has one run more.

    Args:
        changes: values of the recipes, changed as with `--set`.
        extra: further words for `awbench train`, that do not change a result.

    Raises:
        UserError: a recipe does not exist, or the dataset is at fault.
    """
    splits: tuple[Split, Split] = (open_split(dataset, data, "train"), open_split(dataset, data, "val"))
    jobs = []
    for seed in seeds:
        for recipe in recipes:
            for variant in variants:
                job = TrainingJob(variant, ModelOptions(), dataset, data, load_recipe(recipe, list(changes)), seed)
                key = measurement_key(**job.identity(*splits))
                words = ["train", variant.name, "--dataset", dataset, "--recipe", recipe, "--seed", str(seed)]
                words += ["--data", str(data)] if data else []
                words += [word for change in changes for word in ("--set", change)]
                words += ["--results", str(results), "--resume", *extra]
                name = f"{variant.name} {recipe} seed {seed}"
                output = job.default_output(results, key)
                jobs.append(SweepJob(name, "accuracy", variant.name, key, tuple(words), output))
    return jobs


def run_sweep(
    jobs: Sequence[SweepJob],
    store: RecordStore,
    parallel: int = 1,
    launcher: Sequence[str] = (),
    processes: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> SweepResult:
    """Run what is not recorded, `parallel` at a time, each in a process of its own.

    A run that another sweep is training is waited for, not repeated. A run that fails is listed;
    the others go on.

    Args:
        launcher: what stands before `-m awbench` instead of this Python, e.g. torchrun's words.
        processes: that the launcher starts for a run.
        tell: called with a line whenever a run ends.
    """
    result = SweepResult()
    threads = max(1, (os.cpu_count() or 1) // (parallel * processes))
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    command = list(launcher) or [sys.executable]

    def run_one(job: SweepJob) -> None:
        started_by_us = False
        while not job.is_recorded(store):
            if is_busy(job.output):
                time.sleep(_WAIT_SECONDS)
                continue
            job.output.mkdir(parents=True, exist_ok=True)
            log = job.output / f"log-{os.getpid()}.txt"  # another sweep may write beside us
            with log.open("ab") as file:
                before = file.tell()
                code = subprocess.run(
                    [*command, "-m", "awbench", *job.words], stdout=file, stderr=file, env=environment
                ).returncode
            # torchrun's own exit code is 1 whatever its processes' is; its report has it.
            if code == TRY_AGAIN or re.search(rf"exitcode +: {TRY_AGAIN}\b", _output(log, before)):
                time.sleep(_WAIT_SECONDS)
                continue
            if code != 0:
                result.failed[job.name] = f"exit code {code}: {_reason(_output(log, before))} ({log})"
                tell(f"failed: {job.name}: {result.failed[job.name]}")
                return
            started_by_us = code == 0 and "trained and recorded" in _output(log, before)
        (result.trained if started_by_us else result.found).append(job.name)
        if started_by_us:
            tell(f"trained: {job.name} ({len(result.trained) + len(result.found)} of {len(jobs)})")

    with ThreadPoolExecutor(max(1, parallel)) as pool:
        for outcome in [pool.submit(run_one, job) for job in jobs]:
            outcome.result()
    return result


def _output(log: Path, start: int) -> str:
    return log.read_bytes()[start:].decode(errors="replace")


def _reason(output: str) -> str:
    """The line that says why: ours, where there is one, or the last."""
    lines = output.strip().splitlines() or ["no output"]
    return next((line for line in reversed(lines) if line.startswith("awbench: ")), lines[-1])


@dataclass(frozen=True)
class ClusterTask:
    """A run as submitit starts it: in each task of a job, and again after a preemption or a time-out."""

    words: tuple[str, ...]

    def __call__(self) -> str:
        import submitit

        from awbench.cli.main import main

        environment = submitit.JobEnvironment()
        if environment.num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        code = main(self.words)
        if code != 0:
            raise RuntimeError(f"awbench {' '.join(self.words)} ended with exit code {code}; its error is above")
        return "recorded"

    def checkpoint(self) -> Any:
        """submitit's hook: the same task again; the run itself resumes from its newest checkpoint."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def submit_sweep(
    jobs: Sequence[SweepJob],
    store: RecordStore,
    cluster: str,
    parameters: dict[str, Any],
    tell: Callable[[str], None] = lambda line: None,
) -> SweepResult:
    """Submit what is not recorded through submitit, wait, and list what failed.

    Args:
        cluster: "slurm", or "local" to try the same path without a cluster.
        parameters: of submitit's `update_parameters`, e.g. nodes, gpus_per_node, slurm_partition.

    Raises:
        UserError: there is no such cluster here, or a parameter does not exist.
    """
    import submitit

    result = SweepResult()
    try:
        executor = submitit.AutoExecutor(folder=str(store.results / "submitit"), cluster=cluster)
        executor.update_parameters(**parameters)
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise UserError(f"cluster {cluster}: {error}") from None
    submitted = []
    for job in jobs:
        if job.is_recorded(store):
            result.found.append(job.name)
            continue
        submitted.append((job, executor.submit(ClusterTask(job.words))))
        tell(f"submitted: {job.name} as job {submitted[-1][1].job_id}")
    for job, handle in submitted:
        failure = handle.exception()
        if failure is None:
            result.trained.append(job.name)
            tell(f"trained: {job.name}")
        else:
            result.failed[job.name] = f"{str(failure).strip().splitlines()[-1]} ({handle.paths.stderr})"
            tell(f"failed: {job.name}: {result.failed[job.name]}")
    return result
