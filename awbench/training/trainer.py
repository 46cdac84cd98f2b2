"""Training and evaluating a classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from awbench.data.datasets import Dataset, Split
from awbench.data.transforms import evaluation_transform, training_transform
from awbench.data.views import Batch, EvaluationOrder, TrainingOrder, View, make_loader
from awbench.errors import UserError
from awbench.measure.accuracy import Accuracy, measure_accuracy
from awbench.recipes.classification import Recipe
from awbench.training.distributed import World
from awbench.training.loop import Finished, Loop, Progress, RunSettings, autocast, make_optimizer


@dataclass(frozen=True, kw_only=True)
class Run(RunSettings):
    """One training run of a classifier, see also `RunSettings`."""

    recipe: Recipe
    dataset: Dataset
    train: Split
    val: Split
    skip_bad_images: bool = False


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (0-based), by the recipe's schedule alone."""
    schedule, epoch = recipe.schedule, step / steps_per_epoch
    if epoch < schedule.warmup_epochs:
        return recipe.lr * (0.001 + 0.999 * epoch / schedule.warmup_epochs)
    if schedule.name == "step":
        return recipe.lr * schedule.gamma ** int(epoch // schedule.step_epochs)
    span = max(recipe.epochs - schedule.warmup_epochs, 1e-9)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (epoch - schedule.warmup_epochs) / span))


def train(
    run: Run,
    model: nn.Module,
    world: World,
    resume: bool = False,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Finished[Accuracy]:
    """Train to the end of the recipe, from the start or from the newest checkpoint.

    Args:
        run: what to train.
        model: freshly initialised, the same on every process.
        world, resume, watch: as in `awbench.training.loop.Loop`.

    Raises:
        UserError: the batch cannot be shared, or as `Loop.run_to_the_end`.
        Preempted, OSError: as there.
    """
    loop = Loop[Batch, Accuracy](Classification(run, model, world), run, world, watch)
    return loop.run_to_the_end(resume)


class Classification:
    """A classifier as the loop's `Task`.

    Raises:
        UserError: the batch is larger than the data, or has fewer parts than there are processes.
    """

    def __init__(self, run: Run, model: nn.Module, world: World) -> None:
        recipe = run.recipe
        self.run, self.world = run, world
        self.evaluate_every = len(run.train.images) // recipe.batch_size  # an epoch
        if self.evaluate_every == 0:
            raise UserError(
                f"batch_size {recipe.batch_size} is more than the {len(run.train.images)} training images; "
                f"use --set batch_size={len(run.train.images)} or less"
            )
        self.parts = recipe.batch_size // recipe.norm_batch_size
        if self.parts < world.size:
            raise UserError(
                f"batch_size {recipe.batch_size} in parts of norm_batch_size {recipe.norm_batch_size} makes "
                f"{self.parts} parts, which {world.size} processes cannot share; use fewer processes or a smaller "
                "norm_batch_size"
            )
        self.steps = recipe.epochs * self.evaluate_every
        self.images_per_step = recipe.batch_size
        self.precision: str = recipe.precision
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(world.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.model.parameters(), recipe.optimizer, recipe.lr)

    def learning_rate(self, step: int) -> float:
        return learning_rate(self.run.recipe, step, self.evaluate_every)

    def batches(self, first_step: int) -> Iterator[Batch]:
        run = self.run
        order = TrainingOrder(
            length=len(run.train.images),
            batch_size=run.recipe.batch_size,
            norm_batch_size=run.recipe.norm_batch_size,
            seed=run.seed,
            first_step=first_step,
            last_step=self.steps,
            rank=self.world.rank,
            world_size=self.world.size,
        )
        transform = training_transform(run.recipe.augmentation, run.dataset)
        view = View(run.train.images, transform, run.seed, run.skip_bad_images)
        return iter(make_loader(view, order, run.workers, pin_memory=self.world.device.type == "cuda"))

    def losses(self, model: nn.Module, batch: Batch, seed: int) -> dict[str, Tensor]:
        if len(batch.labels) < 2:
            raise UserError("a part of a batch has fewer than two images that can be decoded; repair the files")
        device = self.world.device
        images = batch.images.to(device, non_blocking=True, memory_format=self.layout)
        labels = batch.labels.to(device, non_blocking=True)
        logits = model(images).float()
        return {"cross_entropy": F.cross_entropy(logits, labels, label_smoothing=self.run.recipe.label_smoothing)}

    def bad_images(self, batch: Batch) -> tuple[str, ...]:
        return batch.bad

    def evaluate(self) -> Accuracy:
        run = self.run
        return evaluate(self.model, run.val, run.dataset, run.recipe, self.world, run.workers, run.skip_bad_images)

    def row(self, result: Accuracy) -> dict[str, float]:
        return {"val_loss": result.loss, "top1_percent": result.top1_percent, "top5_percent": result.top5_percent}


def evaluate(
    model: nn.Module,
    split: Split,
    dataset: Dataset,
    recipe: Recipe,
    world: World,
    workers: int = 0,
    skip_bad_images: bool = False,
) -> Accuracy:
    """Accuracy on a split by the recipe's evaluation transform, each image once over all processes."""
    order = EvaluationOrder(len(split.images), recipe.batch_size, world.rank, world.size)
    view = View(split.images, evaluation_transform(recipe.evaluation, dataset), 0, skip_bad_images)
    loader = make_loader(view, order, workers, pin_memory=world.device.type == "cuda")
    return measure_accuracy(model, loader, world, autocast(recipe.precision, world.device), recipe.channels_last)
