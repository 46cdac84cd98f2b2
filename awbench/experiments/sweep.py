"""Many training runs: each recorded once, whoever runs it and however often it is started."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awbench.errors import TRY_AGAIN, UserError
from awbench.experiments.children import Children
from awbench.experiments.ending import INTERRUPTED, VARIABLE, Ending, read_ending
from awbench.experiments.leftovers import private_file, remove_leftovers
from awbench.experiments.lock import holder
from awbench.experiments.planned import Planned
from awbench.experiments.runs import require_network, run_folder
from awbench.records import RecordStore, measurement_key
from awbench.records.environment import training_source_digest
from awbench.system import available_cores
from awbench.tasks import Job, open_task
from awbench.training.checkpoint import Checkpoints

KEEP = "--keep-checkpoints"
_WAIT_SECONDS = 2.0
_MOST_FRUITLESS = 3
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
        planned: what the process that makes it must find; None where nothing can have changed.
    """

    name: str
    kind: str
    variant: str
    key: str
    argv: tuple[str, ...]
    output: Path
    study: str | None = None
    planned: Planned | None = None

    def is_recorded(self, store: RecordStore) -> bool:
        return store.find(self.kind, self.variant, self.key, self.study) is not None

    def result(self, store: RecordStore) -> str:
        """What its record says, e.g. "top-1 98.33 %"."""
        record = store.find(self.kind, self.variant, self.key, self.study)
        name, title, unit = ("top1", "top-1", " %") if self.kind == "accuracy" else ("box_ap", "AP", "")
        return f"{title} {record.value(name):.2f}{unit}" if record and name in record.values else "recorded"

    def newest_checkpoint(self) -> Path | None:
        """How far it is."""
        return next(reversed(Checkpoints(self.output / "checkpoints").paths()), None)

    def write_plan(self) -> list[str]:
        """The words that make `awbench train` heed the plan, which is written for it."""
        if self.planned is None:
            return []
        path = private_file(self.output, "plan")  # another sweep may have planned it with other code
        self.planned.write(path)
        return ["--plan", str(path)]

    def remove_plan(self) -> None:
        private_file(self.output, "plan").unlink(missing_ok=True)


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
        UserError: as `awbench.tasks.open_task`; or a network cannot be built with its options, which no run would find
            out more cheaply.
    """
    jobs = list(jobs)
    for job in {(job.variant, job.options): job for job in jobs}.values():
        require_network(job)
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
        plan = Planned.of(identity, training_source_digest(job.variant.task), job.recipe)
        planned.append(PlannedRun(task.job.name, identity["kind"], job.variant.name, key, words, output, study, plan))
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
        on_progress: called with a line whenever a run ends, or is waited for.

    Raises:
        KeyboardInterrupt, Stopped: as a signal asked; the runs have saved themselves.
    """
    result, began = SweepResult(), time.monotonic()
    threads = max(1, available_cores() // (parallel * processes))
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    if parallel * processes > 1:  # a thread that spins while it waits takes the core from a run beside it
        environment.setdefault("OMP_WAIT_POLICY", "passive")

    def run_one(run: PlannedRun) -> None:
        trained, waits_for, fruitless, started = False, None, 0, time.monotonic()
        while not children.asked_by and not run.is_recorded(store):
            if who := holder(run.output):
                fruitless = 0  # what it was asked to do was to wait
                if who != waits_for:
                    waits_for = who
                    on_progress(f"waiting: {run.name} is being trained by {who}")
                time.sleep(_WAIT_SECONDS)
                continue
            if run.is_recorded(store):  # by the process that was busy until just now
                break
            before = run.newest_checkpoint()
            log, ending = _start(run, launcher(processes), environment, children)
            if children.asked_by:
                return
            if ending.code == INTERRUPTED:  # Ctrl-C reached it before us, or alone
                children.asked_by = signal.SIGINT
                return
            fruitless = fruitless + 1 if run.newest_checkpoint() == before else 0
            if ending.code == TRY_AGAIN and fruitless < _MOST_FRUITLESS:
                on_progress(f"again: {run.name}: {ending.message or 'it was asked to stop'}")
                time.sleep(_WAIT_SECONDS)
                continue
            trained = ending.new
            if not run.is_recorded(store):
                why = ending.message or "it ended without the record that was planned"
                result.failed[run.name] = f"exit code {ending.code}: {why} ({log})"
                on_progress(f"failed: {run.name}: {result.failed[run.name]}")
                return
        if children.asked_by:
            return
        if KEEP not in run.argv:
            remove_leftovers(run.output)  # of a run that was killed after it had been recorded
        (result.trained if trained else result.found).append(run.name)
        if trained:
            now, done = time.monotonic(), len(result.trained) + len(result.found) + len(result.failed)
            minutes = (len(runs) - done) * (now - began) / len(result.trained) / 60
            ahead = f", about {max(1, round(minutes))} min left" if done < len(runs) else ""
            shown = f"{run.result(store)}, {now - started:.0f} s"
            on_progress(f"trained: {run.name}: {shown} ({done} of {len(runs)}{ahead})")

    def make(run: PlannedRun) -> None:
        try:
            run_one(run)
        except UserError as error:  # of this run's folder or records
            result.failed[run.name] = str(error)
            on_progress(f"failed: {run.name}: {error}")

    with Children(on_progress) as children, ThreadPoolExecutor(max(1, parallel)) as pool:
        children.wait_for([pool.submit(make, run) for run in runs])
    return result


def launcher(processes: int) -> list[str]:
    """What starts a run in so many processes on this machine, before `-m awbench`."""
    if processes == 1:
        return [sys.executable]
    # --local-addr: the processes find each other where this machine's own name resolves nowhere
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    return [*torchrun, f"--nproc-per-node={processes}"]


def _start(
    run: PlannedRun, launcher: Sequence[str], environment: dict[str, str], children: Children
) -> tuple[Path, Ending]:
    """Start a run and wait for it: (the file with its output, how it ended)."""
    run.output.mkdir(parents=True, exist_ok=True)
    log = run.output / f"log-{os.getpid()}.txt"  # another sweep may write beside us
    end = private_file(run.output, "end")
    end.unlink(missing_ok=True)
    command = [*launcher, "-m", "awbench", *run.argv, *run.write_plan()]
    code = children.run(command, log, {**environment, VARIABLE: str(end)})
    run.remove_plan()
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

    A task that was asked to stop and saved itself, or was ended after it had, is submitted again. Where this process
    is stopped, tasks on this machine are too; those in a cluster's queue are the cluster's.

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
    submitted: dict[str, tuple[PlannedRun, Any, Path | None]] = {}

    def submit(run: PlannedRun) -> None:
        handle = executor.submit(ClusterTask((*run.argv, *run.write_plan())))
        submitted[run.name] = run, handle, run.newest_checkpoint()

    try:
        for run in runs:
            if run.is_recorded(store):
                result.found.append(run.name)
                continue
            submit(run)
            on_progress(f"submitted: {run.name} as job {submitted[run.name][1].job_id}")
        for name in submitted:
            while True:
                run, handle, before = submitted[name]
                ending = _cluster_ending(handle, run.newest_checkpoint() != before)
                if ending.code != TRY_AGAIN or run.is_recorded(store):
                    break
                time.sleep(_WAIT_SECONDS)
                submit(run)
                on_progress(f"saved and submitted again: {run.name} as job {submitted[name][1].job_id}")
            run.remove_plan()
            if run.is_recorded(store):
                (result.trained if ending.new else result.found).append(run.name)
                on_progress(f"recorded: {run.name}: {run.result(store)}")
            else:
                why = ending.message or "it ended without the record that was planned"
                result.failed[run.name] = f"exit code {ending.code}: {why} ({handle.paths.stderr})"
                on_progress(f"failed: {run.name}: {result.failed[run.name]}")
    except BaseException:
        _leave(cluster, [handle for _, handle, _ in submitted.values() if not handle.done()], on_progress)
        raise
    return result


def _leave(cluster: str, handles: Sequence[Any], on_progress: Callable[[str], None]) -> None:
    """End the jobs on this machine, each of which saves itself; name those that go on in a cluster."""
    if cluster == "local":
        try:
            while left := [handle for handle in handles if not handle.done()]:
                for handle in left:  # its id is the process that watches the tasks and passes SIGTERM on, which
                    with contextlib.suppress(ProcessLookupError):  # submitit ignores until they train
                        os.kill(int(handle.job_id), signal.SIGTERM)
                time.sleep(_WAIT_SECONDS)
        except KeyboardInterrupt:  # a second time
            for handle in handles:
                handle.cancel()
            raise
    elif handles:
        jobs = " ".join(str(handle.job_id) for handle in handles)
        on_progress(f"still on {cluster}: jobs {jobs}; scancel ends them, the same command finds what they record")


def _cluster_ending(handle: Any, went_on: bool) -> Ending:
    """How a submitted run ended: the first of its tasks that failed says why.

    Args:
        went_on: whether it has saved a checkpoint since it was submitted.
    """
    failure = handle.exception()
    if failure is None:
        endings: list[Ending] = handle.results()
        failed = [ending for ending in endings if ending.code]
        return next((ending for ending in failed if ending.code != TRY_AGAIN), [*failed, endings[0]][0])
    # without a result the cluster has ended it; a task that raised is a defect, whose last line names it
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    if "UncompletedJobError" in type(failure).__name__:
        return Ending(TRY_AGAIN if went_on else 70, f"{lines[0]} (state {handle.state})")
    return Ending(70, lines[-1])
