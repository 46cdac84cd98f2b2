"""A job carried out and recorded once: found if it was made before, held by one process group while it is made."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from awbench.attention.aw_convolution import set_strategy
from awbench.errors import Preempted
from awbench.models.weights import save_weights
from awbench.records import Quantity, Record, RecordStore, measurement_key
from awbench.records.clock import now
from awbench.records.environment import environment, training_source_digest
from awbench.tasks import Job, open_task
from awbench.tasks.job import file_sha256
from awbench.training.distributed import join_world
from awbench.training.execution import Execution
from awbench.training.loop import Loop, seed_weights

_LOCK_ATTEMPTS = 10


class BusyError(Preempted):
    """Another process is training this very run: try again later."""


def train(job: Job, store: RecordStore, execution: Execution | None = None) -> tuple[Record, bool]:
    """Train, evaluate, record, and keep the weights beside; or find the record.

    Returns:
        (record, whether it was trained now). On processes other than the first, the record is not stored.

    Raises:
        BusyError: another process trains the same job.
        UserError: the data, the recipe, the weights or the engine is at fault, or as `Loop.run_to_the_end`.
        Preempted, OSError: as `Loop.run_to_the_end`.
    """
    execution = execution or Execution()
    task = open_task(job)
    identity = task.identity()
    key = measurement_key(**identity)
    output = execution.output or run_folder(task.job, store.results, key)
    study = job.study.digest if job.study else None
    found = store.find(identity["kind"], job.variant.name, key, study)
    if found is not None:
        return found, False
    with join_world(execution.device) as world, _only_one(output, world.is_main):
        found = store.find(
            identity["kind"], job.variant.name, key, study
        )  # by another process, before we held the folder
        if found is not None and world.size == 1:
            return found, False
        started = now()
        seed_weights(job.seed)
        built = task.build()
        set_strategy(built.model, execution.aw_strategy)
        trainable = task.trainable(built, world, execution.workers)
        finished = Loop(trainable, identity, job.seed, output, execution, world).run_to_the_end()
        bad = [*world.gather(finished.state.bad_images), *finished.result.bad]
        weights = output / "weights.safetensors"
        if world.is_main:
            save_weights(built.model, weights, {"record_key": key, **built.metadata})
        record = _record(
            identity,
            {**task.values(finished.result), **task.training_values(finished.state, world)},
            [*task.notes(), *built.notes, *_left_out(bad)],
            {
                "world_size": world.size,
                "training_device": str(world.device.type),
                "recipe": {"file": job.recipe.file, "changes": list(job.recipe.changes)},
                "train_images": len(task.train.images),
                "weights_sha256": world.from_main(lambda: file_sha256(weights)),
                "source_sha256": training_source_digest(job.variant.task),
                **({"study": {"name": job.study.name, "sha256": job.study.digest}} if job.study else {}),
            },
            started,
        )
        if world.is_main:
            store.add(record)
        world.barrier()
    return record, True


def evaluate(
    job: Job, store: RecordStore, execution: Execution | None = None, force: bool = False
) -> tuple[Record, bool]:
    """Evaluate the job's weights and record the result, or find the record.

    Args:
        force: evaluate even if there is one.

    Returns:
        (record, whether it was evaluated now).

    Raises:
        UserError: the weights do not fit or cannot be read, or the data or the engine is at fault.
    """
    execution = execution or Execution()
    task = open_task(job)
    built = task.build()
    identity = task.identity(built)
    found = store.find(identity["kind"], job.variant.name, measurement_key(**identity))
    if found is not None and not force:
        return found, False
    started = now()
    with join_world(execution.device) as world:
        built.model.to(world.device)
        result = task.evaluate(built, world, execution.workers)
        notes = [*task.notes(), *built.notes, *_left_out(result.bad)]
        record = _record(identity, task.values(result), notes, {"world_size": world.size}, started)
        if world.is_main:
            store.add(record)
    return record, True


def run_folder(job: Job, results: Path, key: str) -> Path:
    """Where the checkpoints and metrics of a training lie.

    Args:
        job: as its task has it, with its engine named.
        key: of its record.
    """
    return results / "runs" / job.folder_name(key)


def _record(
    identity: dict[str, Any], values: dict[str, Quantity], notes: Sequence[str], where: dict[str, Any], started: str
) -> Record:
    return Record(
        **identity,
        values=values,
        notes=list(notes),
        environment={**environment(), **where},
        started=started,
        finished=now(),
    )


def _left_out(messages: Sequence[str]) -> list[str]:
    """Notes on images that could not be decoded, each once."""
    return [f"left out: {message}" for message in dict.fromkeys(messages)]


@contextlib.contextmanager
def _only_one(output: Path, is_main: bool) -> Iterator[None]:
    """Hold a run's folder. The lock is the system's: it ends with the process, however that ends."""
    if not is_main:
        yield
        return
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("a") as lock:
        for attempt in range(_LOCK_ATTEMPTS):  # `is_busy` holds it for an instant
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == _LOCK_ATTEMPTS - 1:
                    raise BusyError(f"{output} is being trained by another process") from None
                time.sleep(0.05)
        yield


def is_busy(output: Path) -> bool:
    """Whether a process is training in that folder."""
    try:
        with (output / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
