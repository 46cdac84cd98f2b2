"""From given weights to their accuracy record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awbench.data.datasets import find_dataset, open_split
from awbench.data.pixels import IMAGENET_RGB
from awbench.errors import UserError
from awbench.recipes.classification import Recipe
from awbench.records import Record, RecordStore, measurement_key
from awbench.records.clock import now
from awbench.records.environment import environment
from awbench.training.job import accuracy_values
from awbench.variants import ModelOptions, Variant, describe_options


@dataclass(frozen=True)
class EvaluationJob:
    """Weights to evaluate.

    Attributes:
        recipe: its evaluation transform, batch size and precision are used.
        weights: a checkpoint file, or the name of torchvision's weights, which are downloaded.
    """

    variant: Variant
    options: ModelOptions
    dataset: str
    data: Path | None
    recipe: Recipe
    weights: Path | str
    skip_bad_images: bool = False


def evaluate_job(
    job: EvaluationJob, store: RecordStore, device: str = "auto", workers: int = 0, force: bool = False
) -> tuple[Record, bool]:
    """Evaluate and record, or find the record.

    Returns:
        (record, whether it was evaluated now).

    Raises:
        UserError: the weights do not fit or cannot be read, or the data is at fault.
    """
    from awbench.models import build_variant
    from awbench.models.weights import load_torchvision_weights, load_weights
    from awbench.training.distributed import join_world
    from awbench.training.trainer import evaluate

    dataset = find_dataset(job.dataset)
    split = open_split(job.dataset, job.data, "val")
    options = dataclasses.replace(job.options, num_classes=job.options.num_classes or dataset.num_classes)
    model = build_variant(job.variant.name, options)
    if isinstance(job.weights, Path):
        loaded = load_weights(model, job.weights)
    else:
        loaded = load_torchvision_weights(model, job.weights)
    if loaded.pixels != IMAGENET_RGB:
        raise UserError(
            f"{loaded.path} was trained on {loaded.pixels.order} pixels of mean {loaded.pixels.mean}; a classifier is "
            "evaluated on RGB here, which would give it a wrong number; use it as a detector's backbone"
        )
    identity: dict[str, Any] = {
        "kind": "accuracy",
        "variant": job.variant.name,
        "options": describe_options(job.variant, options),
        "settings": {
            "origin": "weights",
            "dataset": job.dataset,
            "weights": loaded.path.name if isinstance(job.weights, Path) else job.weights,
            "layout": loaded.layout,
            "evaluation": job.recipe.evaluation.model_dump(mode="json"),
            "precision": job.recipe.precision,
            "skip_bad_images": job.skip_bad_images,
        },
        "inputs": {"weights_sha256": loaded.sha256, "val_sha256": split.digest},
    }
    found = store.find("accuracy", job.variant.name, measurement_key(**identity))
    if found is not None and not force:
        return found, False
    started = now()
    with join_world(device) as world:
        model.to(world.device)
        accuracy = evaluate(model, split, dataset, job.recipe, world, workers, job.skip_bad_images)
        record = Record(
            **identity,
            values=accuracy_values(accuracy),
            notes=[
                split.description,
                *([dataset.proxy] if dataset.proxy else []),
                *loaded.notes,
                *(f"left out: {message}" for message in accuracy.bad),
            ],
            environment={**environment(), "world_size": world.size},
            started=started,
            finished=now(),
        )
        if world.is_main:
            store.add(record)
    return record, True
