"""From a training job to its accuracy record: found if it was trained before, resumed if it was begun."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.data.datasets import Split, find_dataset, open_split
from awbench.errors import UserError
from awbench.measure.accuracy import Accuracy
from awbench.recipes import PROTOCOLS, Recipe
from awbench.records import Quantity, Record, RecordStore, measurement_key
from awbench.variants import ModelOptions, Variant, describe_options

if TYPE_CHECKING:
    from awbench.training.distributed import World


@dataclass(frozen=True)
class TrainingJob:
    """One network, one dataset, one recipe, one seed.

    Attributes:
        options: of the network; its classes are the dataset's.
        data: folder of the dataset, None for embedded ones.
        initial_weights: a checkpoint to start from instead of random weights.
    """

    variant: Variant
    options: ModelOptions
    dataset: str
    data: Path | None
    recipe: Recipe
    seed: int
    initial_weights: Path | None = None
    skip_bad_images: bool = False

    def model_options(self) -> ModelOptions:
        """The options with the dataset's number of classes."""
        classes = find_dataset(self.dataset).num_classes
        if self.options.num_classes not in (None, classes):
            raise UserError(f"num_classes is {self.options.num_classes}; {self.dataset} has {classes} classes")
        return dataclasses.replace(self.options, num_classes=classes)

    def identity(self, train: Split, val: Split) -> dict[str, Any]:
        """What determines the result, in the form of a record's fields."""
        initial = file_sha256(self.initial_weights) if self.initial_weights else "random"
        return {
            "kind": "accuracy",
            "variant": self.variant.name,
            "options": describe_options(self.variant, self.model_options()),
            "settings": {
                "origin": "trained",
                "dataset": self.dataset,
                "recipe": self.recipe.identity(),
                "evaluation": self.recipe.evaluation.model_dump(mode="json"),
                "seed": self.seed,
                "skip_bad_images": self.skip_bad_images,
                "protocol": PROTOCOLS["accuracy"],
            },
            "inputs": {"train_sha256": train.digest, "val_sha256": val.digest, "initial_weights_sha256": initial},
        }

    def default_output(self, results: Path, key: str) -> Path:
        name = f"{self.variant.name}-{self.dataset}-{self.recipe.name}-seed{self.seed}-{key[:8]}"
        return results / "runs" / name


def train_job(
    job: TrainingJob,
    store: RecordStore,
    output: Path | None = None,
    *,
    device: str = "auto",
    resume: bool = False,
    workers: int = 0,
    checkpoint_seconds: float = 600.0,
    deterministic: bool | None = None,
    compile: bool = False,
    aw_strategy: str = "auto",
    watch: Callable[[Any], None] = lambda progress: None,
) -> tuple[Record, bool]:
    """Train, evaluate, record; or find the record.

    Args:
        job: what to train.
        store: where the record goes.
        output: folder of checkpoints and metrics; None for one below the results, named after the job.
        deterministic: None for yes on a CPU and no on a GPU.
        aw_strategy: how AW-convolutions are executed.
        other arguments: as in `awbench.training.trainer`.

    Returns:
        (record, whether it was trained now). On processes other than the first, the record is not stored.

    Raises:
        BusyError: another process trains the same job.
        UserError, Preempted, OSError: as `awbench.training.trainer.train`.
    """
    from awbench.attention.aw_convolution import set_strategy
    from awbench.models import build_variant
    from awbench.models.weights import load_weights
    from awbench.training.loop import seed_weights
    from awbench.training.recorded import Outcome, recorded_run
    from awbench.training.trainer import Run, train

    dataset = find_dataset(job.dataset)
    train_split, val_split = (open_split(job.dataset, job.data, split) for split in ("train", "val"))
    identity = job.identity(train_split, val_split)
    output = output or job.default_output(store.results, measurement_key(**identity))

    def work(world: World) -> Outcome:
        seed_weights(job.seed)
        model = build_variant(job.variant.name, job.model_options())
        if job.initial_weights:
            load_weights(model, job.initial_weights, allow_missing_aw=True)
        set_strategy(model, aw_strategy)
        run = Run(
            settings=identity,
            recipe=job.recipe,
            dataset=dataset,
            train=train_split,
            val=val_split,
            seed=job.seed,
            output=output,
            workers=workers,
            skip_bad_images=job.skip_bad_images,
            checkpoint_seconds=checkpoint_seconds,
            deterministic=world.device.type == "cpu" if deterministic is None else deterministic,
            compile=compile,
        )
        finished = train(run, model, world, resume, watch)
        bad = [*world.gather(finished.state.bad_images), *finished.result.bad]
        steps = Quantity(value=finished.state.step, unit="steps")
        seconds = Quantity(value=finished.state.seconds, unit="s")
        return Outcome(
            values={**accuracy_values(finished.result), "steps": steps, "train_time": seconds},
            notes=[
                val_split.description,
                *([dataset.proxy] if dataset.proxy else []),
                *(f"left out: {message}" for message in dict.fromkeys(bad)),
            ],
            model=model,
        )

    return recorded_run(identity, store, output, device, work)


def accuracy_values(accuracy: Accuracy) -> dict[str, Quantity]:
    """The values of an accuracy record."""
    return {
        "top1": Quantity(value=accuracy.top1_percent, unit="percent"),
        "top5": Quantity(value=accuracy.top5_percent, unit="percent"),
        "top1_standard_error": Quantity(value=accuracy.top1_standard_error_percent, unit="percent"),
        "loss": Quantity(value=accuracy.loss, unit="nats"),
        "images": Quantity(value=accuracy.images, unit="images"),
        "images_left_out": Quantity(value=len(accuracy.bad), unit="images"),
    }


def file_sha256(path: Path) -> str:
    """sha256 of a file's content.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
