"""Many training runs: each recorded once, whoever runs it and however often it is started."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awbench.errors import TRY_AGAIN, UserError
from awbench.experiments.ending import VARIABLE, Ending, read_ending
from awbench.experiments.runs import is_busy, run_folder
from awbench.records import RecordStore, measurement_key
from awbench.tasks import Job, open_task

_WAIT_SECONDS = 2.0
_MAIN = "awbench.cli.main:main"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        name: for people.
        kind, variant, key: of the record it makes.
        argv: that starts it, after `awbench`.
        output: folder of the run.
        study: sha256 of the design of the study that it is part of.
    """

    name: str
    kind: str
    variant: str
    key: str
    argv: tuple[str, ...]
    output: Path
    study: str | None = None

    def is_recorded(self, store: RecordStore) -> bool:
        return store.find(self.kind, self.variant, self.key, self.study) is not None


@dataclass
class SweepResult:
    """What became of the runs, by name; `failed` says why, with the file that holds the output."""

    found: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def plan_runs(jobs: Iterable[Job], results: Path, argv: Sequence[str] = ()) -> list[PlannedRun]:
    """The runs of jobs, in their order; data that several share is opened once.

    Args:
        results: the results folder of every run.
        argv: further words for `awbench train`, that do not change a result.

    Raises:
        UserError: as `awbench.tasks.open_task`.
    """
    opened: dict[tuple[str, str, Path | None], Any] = {}
    planned = []
    for job in jobs:
        data = (job.variant.task, job.dataset, job.data)
        task = open_task(job, opened.get(data))
        opened[data] = task.splits
        identity = task.identity()
        key = measurement_key(**identity)
        words = (*task.job.train_argv(), "--results", str(results), "--resume", *argv)
        output = run_folder(task.job, results, key)
        study = job.study.digest if job.study else None
        planned.append(PlannedRun(task.job.name, identity["kind"], job.variant.name, key, words, output, study))
    return planned


def run_sweep(
    runs: Sequence[PlannedRun],
    store: RecordStore,
    parallel: int = 1,
    processes: int = 1,
    on_progress: Callable[[str], None] = lambda line: None,
) -> SweepResult:
    """Make what is not recorded, `parallel` runs at a time, each in a process of its own.

    A run that another sweep is training is waited for, not repeated. A run that fails is listed;
    the others go on.

    Args:
        processes: that share a run, started by torchrun.
        on_progress: called with a line whenever a run ends.
    """
    result = SweepResult()
    threads = max(1, (os.cpu_count() or 1) // (parallel * processes))
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}

    def run_one(run: PlannedRun) -> None:
        trained = False
        while not run.is_recorded(store):
            if is_busy(run.output):
                time.sleep(_WAIT_SECONDS)
                continue
            if run.is_recorded(store):  # by the process that was busy until just now
                break
            log, ending = _start(run, launcher(processes), environment)
            if ending.code == TRY_AGAIN:
                time.sleep(_WAIT_SECONDS)
                continue
            trained = ending.new
            if not run.is_recorded(store):
                why = ending.message or "it ended without the record that was planned"
                result.failed[run.name] = f"exit code {ending.code}: {why} ({log})"
                on_progress(f"failed: {run.name}: {result.failed[run.name]}")
                return
        (result.trained if trained else result.found).append(run.name)
        if trained:
            on_progress(f"trained: {run.name} ({len(result.trained) + len(result.found)} of {len(runs)})")

    with ThreadPoolExecutor(max(1, parallel)) as pool:
        for outcome in [pool.submit(run_one, run) for run in runs]:
            outcome.result()
    return result


def launcher(processes: int) -> list[str]:
    """What starts a run in so many processes on this machine, before `-m awbench`."""
    if processes == 1:
        return [sys.executable]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]


def _start(run: PlannedRun, launcher: Sequence[str], environment: dict[str, str]) -> tuple[Path, Ending]:
    """Start a run and wait for it: (the file with its output, how it ended)."""
    run.output.mkdir(parents=True, exist_ok=True)
    log = run.output / f"log-{os.getpid()}.txt"  # another sweep may write beside us
    end = run.output / f"end-{os.getpid()}.json"
    end.unlink(missing_ok=True)
    with log.open("ab") as file:
        command = [*launcher, "-m", "awbench", *run.argv]
        code = subprocess.run(command, stdout=file, stderr=file, env={**environment, VARIABLE: str(end)}).returncode
    return log, read_ending(end, code)


@dataclass(frozen=True)
class ClusterTask:
    """A run as submitit starts it: in each task of a job, and again after a preemption or a time-out.

    Attributes:
        argv: of the command, after `awbench`.
        main: "module:function" that runs it and returns the exit code.
    """

    argv: tuple[str, ...]
    main: str = _MAIN

    def __call__(self) -> Ending:
        """How it ended."""
        import submitit

        if submitit.JobEnvironment().num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        module, _, function = self.main.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            os.environ[VARIABLE] = str(Path(folder) / "end.json")
            code = int(getattr(importlib.import_module(module), function)(self.argv))
            return read_ending(Path(os.environ.pop(VARIABLE)), code)

    def checkpoint(self) -> Any:
        """submitit's hook: the same task again; the run itself resumes from its newest checkpoint."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def submit_sweep(
    runs: Sequence[PlannedRun],
    store: RecordStore,
    cluster: str,
    parameters: dict[str, Any],
    on_progress: Callable[[str], None] = lambda line: None,
) -> SweepResult:
    """Submit what is not recorded through submitit, wait, and list what failed.

    A task that was asked to stop and saved itself is submitted again.

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
    for run in runs:
        if run.is_recorded(store):
            result.found.append(run.name)
            continue
        submitted.append((run, executor.submit(ClusterTask(run.argv))))
        on_progress(f"submitted: {run.name} as job {submitted[-1][1].job_id}")
    for run, handle in submitted:
        while (ending := _cluster_ending(handle)).code == TRY_AGAIN and not run.is_recorded(store):
            handle = executor.submit(ClusterTask(run.argv))
            on_progress(f"saved and submitted again: {run.name} as job {handle.job_id}")
        if run.is_recorded(store):
            (result.trained if ending.new else result.found).append(run.name)
            on_progress(f"recorded: {run.name}")
        else:
            why = ending.message or "it ended without the record that was planned"
            result.failed[run.name] = f"exit code {ending.code}: {why} ({handle.paths.stderr})"
            on_progress(f"failed: {run.name}: {result.failed[run.name]}")
    return result


def _cluster_ending(handle: Any) -> Ending:
    """How a submitted run ended: the first of its tasks that failed says why."""
    failure = handle.exception()
    if failure is not None:  # of submitit, or a defect: the last line names it
        return Ending(70, str(failure).strip().splitlines()[-1])
    endings: list[Ending] = handle.results()
    return next((ending for ending in endings if ending.code), endings[0])
