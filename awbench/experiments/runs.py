"""A job carried out and recorded once: found if it was made before, held by one process group while it is made."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from awbench.attention.aw_convolution import set_strategy
from awbench.errors import UserError
from awbench.experiments.leftovers import remove_held_leftovers, remove_leftovers
from awbench.experiments.lock import only_one
from awbench.experiments.measurements import module_descriptions
from awbench.experiments.planned import Planned
from awbench.models import build_variant
from awbench.models.weights import save_weights
from awbench.records import Quantity, Record, RecordStore, measurement_key
from awbench.records.clock import now
from awbench.records.environment import begin, environment, package_version, training_source_digest
from awbench.tasks import Job, open_task
from awbench.tasks.job import file_sha256
from awbench.training.distributed import join_world
from awbench.training.execution import Execution
from awbench.training.loop import Loop
from awbench.training.numerics import seed_weights
from awbench.variants import ModelOptions


def train(
    job: Job, store: RecordStore, execution: Execution | None = None, planned: Planned | None = None
) -> tuple[Record, bool]:
    """Train, evaluate, record, and keep the weights beside; or find the record.

    Args:
        planned: what a sweep has planned: anything else is not trained.

    Returns:
        (record, whether it was trained now). On processes other than the first, the record is not stored.

    Raises:
        BusyError: another process trains the same job.
        UserError: the data, the recipe, the weights or the engine is at fault, or changed since the run was planned;
            the folder cannot be locked; or as `Loop.run_to_the_end`.
        Preempted, OSError: as `Loop.run_to_the_end`.
    """
    execution = execution or Execution()
    task = open_task(job)
    identity = task.identity()
    made_with = _what_computes(job)
    if planned:
        planned.check(identity, made_with["source_sha256"])
    require_network(job)
    key = measurement_key(**identity)
    output = execution.output or run_folder(task.job, store.results, key)
    study = job.study.digest if job.study else None
    found = store.find(identity["kind"], job.variant.name, key, study)
    if found is not None:
        if execution.output is None and not execution.keep_checkpoints:  # a given folder may hold another run
            remove_leftovers(output)
        return found, False
    with join_world(execution.device) as world, only_one(output) if world.is_main else contextlib.nullcontext():
        found = store.find(
            identity["kind"], job.variant.name, key, study
        )  # by another process, before we held the folder
        if found is not None and world.size == 1:
            return found, False
        started = begin()
        seed_weights(job.seed)
        if world.is_main:
            execution.on_start(output)
        built = task.build()
        set_strategy(built.model, execution.aw_strategy)
        trainable = task.trainable(built, world, execution.workers_on(world))
        finished = Loop(trainable, identity, job.seed, output, execution, world, made_with).run_to_the_end()
        bad = [*finished.state.bad_images, *finished.result.bad]
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
                "device" if world.device.type == "cuda" else "cpu": ", then ".join(finished.state.machines),
                "recipe": {"file": job.recipe.file, "changes": list(job.recipe.changes)},
                "train_images": len(task.train.images),
                "weights_sha256": world.from_main(lambda: file_sha256(weights)),
                **made_with,
                **module_descriptions(job.variant.name),
                **({"study": {"name": job.study.name, "sha256": job.study.digest}} if job.study else {}),
            },
            started,
        )
        if world.is_main:
            store.add(record)
            if not execution.keep_checkpoints:
                remove_held_leftovers(output)
        world.barrier()
    return record, True


def require_network(job: Job) -> None:
    """Raises: UserError: a network with these options cannot be built; nothing is computed and no folder made."""
    options = job.options
    at_defaults = options == ModelOptions(options.stride_placement, options.num_classes)
    if at_defaults and not module_descriptions(job.variant.name):
        return
    try:
        with torch.device("meta"):
            build_variant(job.variant.backbone, options)
    except UserError as error:
        raise UserError(f"{job.network}: {error}") from None


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
    started = begin()
    with join_world(execution.device) as world:
        built.model.to(world.device)
        result = task.evaluate(built, world, execution.workers_on(world))
        notes = [*task.notes(), *built.notes, *_left_out(result.bad)]
        record = _record(identity, task.values(result), notes, {"world_size": world.size}, started)
        if world.is_main:
            store.add(record)
    return record, True


def _what_computes(job: Job) -> dict[str, str]:
    """Of this process, by the names of the record; asked before it trains, for the files may change until it ends."""
    return {
        "source_sha256": training_source_digest(job.variant.task),
        "torch": torch.__version__,
        "torchvision": package_version("torchvision"),
    }


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
    """Notes on images that could not be decoded, each once, in an order that no number of processes changes."""
    return [f"left out: {message}" for message in sorted(set(messages))]
