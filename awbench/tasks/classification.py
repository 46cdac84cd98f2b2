"""Classification: training and evaluating a classifier."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from awbench.data.datasets import ImageFiles, Images, Split
from awbench.data.encoded import DeviceDecoder, EncodedFiles, collate_encoded, keep_seed, require_gpu
from awbench.data.loader import Loader
from awbench.data.opening import find_dataset, open_split
from awbench.data.pixels import IMAGENET_RGB
from awbench.data.views import Batch, EvaluationOrder, TrainingOrder, View
from awbench.errors import UserError
from awbench.measure.accuracy import Accuracy, measure_accuracy
from awbench.models import build_variant
from awbench.models.weights import load_torchvision_weights, load_weights
from awbench.recipes import PROTOCOLS, Recipe
from awbench.records import Quantity
from awbench.tasks.job import Job, file_sha256
from awbench.tasks.task import Built
from awbench.tasks.transforms import Transform, evaluation_transform, normalise, training_transform
from awbench.training.distributed import World
from awbench.training.norms import interleave
from awbench.training.numerics import autocast
from awbench.training.optimizers import make_optimizer
from awbench.training.trainable import State
from awbench.variants import describe_options


def _decoded_by(decoder: str, split: Split) -> Split:
    """The split, decoded by the library of that name.

    Raises:
        UserError: its images are not in files.
    """
    if decoder == "pillow":
        return split
    if not isinstance(split.images, ImageFiles):
        raise UserError(f"decoder={decoder} is for images in files, and {split.description} are not; leave it out")
    files = split.images.files
    images = EncodedFiles(files) if decoder == "nvjpeg" else ImageFiles(files, decoder)
    return dataclasses.replace(split, images=images)


# On a GPU of much memory so many images make a forward pass: micro-batches of 32 leave it waiting for launches. Chosen.
_IMAGES_OF_A_PASS, _LARGE_BYTES = 128, 32 * 2**30


def _is_large(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_properties(device).total_memory >= _LARGE_BYTES


def open_task(job: Job, splits: tuple[Split, Split] | None = None) -> Classification:
    """The task of a classifier's job; see `awbench.tasks.open_task`."""
    return Classification(job, splits)


class Classification:
    """A classifier's job as a `Task`.

    Args:
        splits: (train, val), opened before.

    Raises:
        UserError: the job is not for a classifier, or the dataset is at fault.
    """

    def __init__(self, job: Job, splits: tuple[Split, Split] | None = None) -> None:
        if job.engine:
            raise UserError(f"--engine {job.engine} is for detectors; {job.variant.name} is a classifier")
        assert isinstance(job.recipe, Recipe), "a classifier's recipe"
        self.job, self.recipe, self.dataset = job, job.recipe, find_dataset(job.dataset, job.data)
        self.splits = splits or self._open()
        self.train, self.val = (_decoded_by(job.recipe.decoder, split) for split in self.splits)
        self.options = job.model_options(self.dataset.num_classes)

    @property
    def _encoded(self) -> bool:
        return isinstance(self.val.images, EncodedFiles)

    def _open(self) -> tuple[Split, Split]:
        """(train, val); evaluating given weights needs the second alone."""
        val = open_split(self.job.dataset, self.job.data, "val")
        return (val if self.job.weights else open_split(self.job.dataset, self.job.data, "train")), val

    def identity(self, built: Built | None = None) -> dict[str, Any]:
        job, recipe = self.job, self.recipe
        described = {"evaluation": recipe.evaluation.model_dump(mode="json")}
        if job.weights is None:
            initial = file_sha256(job.initial_weights) if job.initial_weights else "random"
            settings = {
                "origin": "trained",
                "dataset": job.dataset,
                "recipe": recipe.identity(),
                **described,
                "seed": job.seed,
                "skip_bad_images": job.skip_bad_images,
                **job.averaged_setting,
                "protocol": PROTOCOLS["accuracy"],
            }
            inputs = {
                "train_sha256": self.train.digest,
                "val_sha256": self.val.digest,
                "initial_weights_sha256": initial,
            }
        else:
            assert built is not None and built.loaded is not None, "given weights were read"
            settings = {
                "origin": "weights",
                "dataset": job.dataset,
                "weights": job.weights if isinstance(job.weights, str) else built.loaded.path.name,
                "layout": built.loaded.layout,
                **described,
                "precision": recipe.precision,
                **({"decoder": recipe.decoder} if recipe.decoder != "pillow" else {}),
                "skip_bad_images": job.skip_bad_images,
                **job.averaged_setting,
            }
            inputs = {"weights_sha256": built.loaded.sha256, "val_sha256": self.val.digest}
        return {
            "kind": "accuracy",
            "variant": job.variant.name,
            "options": describe_options(job.variant, self.options),
            "settings": settings,
            "inputs": {**inputs, **job.variant.inputs},
        }

    def build(self) -> Built:
        job = self.job
        model = build_variant(job.variant.name, self.options)
        if job.weights is None:
            if job.initial_weights:
                load_weights(model, job.initial_weights, allow_missing_aw=True, averaged=job.averaged)
            return Built(model)
        if isinstance(job.weights, str):
            loaded = load_torchvision_weights(model, job.weights)
        else:
            loaded = load_weights(model, job.weights, averaged=job.averaged)
        if loaded.pixels != IMAGENET_RGB:
            raise UserError(
                f"{loaded.path} was trained on {loaded.pixels.order} pixels of mean {loaded.pixels.mean}; a classifier "
                "is evaluated on RGB here, which would give it a wrong number; use it as a detector's backbone"
            )
        return Built(model, loaded, loaded.notes)

    def trainable(self, built: Built, world: World, workers: int) -> TrainableClassifier:
        return TrainableClassifier(self, built.model, world, workers)

    def evaluate(self, built: Built, world: World, workers: int) -> Accuracy:
        """Accuracy by the recipe's evaluation transform, each image once over all processes."""
        split, recipe = self.val, self.recipe
        order = EvaluationOrder(len(split.images), recipe.batch_size, world.rank, world.size)
        transform = evaluation_transform(recipe.evaluation)
        loaded = self.loaded(split.images, transform, 0, order, workers, world.device, prefetch=1)
        batches = (self.on_device(batch, world.device) if len(batch.labels) else batch for batch in loaded)
        context = autocast(recipe.precision, world.device)
        return measure_accuracy(built.model, batches, world, context, recipe.channels_last)

    def loaded(
        self, images: Images, transform: Transform, seed: int, order: Any, workers: int, device: torch.device,
        prefetch: int = 4,
    ) -> Iterator[Batch]:  # fmt: skip
        """Batches of transformed images in an order, by loading processes; decoded on the device if the recipe says so.

        Raises:
            UserError: the device is to decode, and is no GPU; or as `Loader` and `DeviceDecoder`.
        """
        skip = self.job.skip_bad_images
        if isinstance(images, EncodedFiles):
            require_gpu(device)
            decoder = DeviceDecoder(device, transform, skip)
            view = View(images, keep_seed, seed, skip)
            return map(decoder, Loader(view, order, workers, False, collate_encoded, prefetch))
        view = View(images, transform, seed, skip)
        return iter(Loader(view, order, workers, device.type == "cuda", prefetch=prefetch))

    def on_device(self, batch: Batch, device: torch.device) -> Batch:
        """Its images normalised there, in the recipe's layout."""
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        images = batch.images.to(device, non_blocking=True, memory_format=layout)
        if images.dtype == torch.uint8:
            images = normalise(images, self.dataset)
        return dataclasses.replace(batch, images=images, labels=batch.labels.to(device, non_blocking=True))

    def values(self, result: Accuracy) -> dict[str, Quantity]:
        return {
            "top1": Quantity(value=result.top1_percent, unit="percent"),
            "top5": Quantity(value=result.top5_percent, unit="percent"),
            "top1_standard_error": Quantity(value=result.top1_standard_error_percent, unit="percent"),
            "loss": Quantity(value=result.loss, unit="nats"),
            "images": Quantity(value=result.images, unit="images"),
            "images_left_out": Quantity(value=len(result.bad), unit="images"),
            **({"images_decoded_on_cpu": Quantity(value=result.on_cpu, unit="images")} if self._encoded else {}),
        }

    def training_values(self, state: State, world: World) -> dict[str, Quantity]:
        return {
            "steps": Quantity(value=state.step, unit="steps"),
            "train_time": Quantity(value=state.seconds, unit="s"),
        }

    def notes(self) -> list[str]:
        return [self.val.description, *([self.dataset.proxy] if self.dataset.proxy else [])]


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (0-based), by the recipe's schedule alone."""
    schedule, epoch = recipe.schedule, step / steps_per_epoch
    if epoch < schedule.warmup_epochs:
        return recipe.lr * (0.001 + 0.999 * epoch / schedule.warmup_epochs)
    if schedule.name == "step":
        return recipe.lr * schedule.gamma ** int(epoch // schedule.step_epochs)
    span = max(recipe.epochs - schedule.warmup_epochs, 1e-9)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (epoch - schedule.warmup_epochs) / span))


class TrainableClassifier:
    """A classifier as the loop's `Trainable`.

    Raises:
        UserError: the batch is larger than the data, or has fewer micro-batches than there are processes.
    """

    def __init__(self, task: Classification, model: nn.Module, world: World, workers: int) -> None:
        recipe, images = task.recipe, len(task.train.images)
        self.task, self.recipe, self.world, self.workers = task, recipe, world, workers
        self.evaluate_every = images // recipe.batch_size  # an epoch
        if self.evaluate_every == 0:
            raise UserError(
                f"batch_size {recipe.batch_size} is more than the {images} training images; "
                f"use --set batch_size={images} or less"
            )
        self.micro_batches = recipe.micro_batches
        if self.micro_batches < world.size:
            raise UserError(
                f"batch_size {recipe.batch_size} in micro-batches of norm_batch_size {recipe.norm_batch_size} makes "
                f"{self.micro_batches} of them, which {world.size} processes cannot share; use fewer processes or a "
                "smaller norm_batch_size"
            )
        self.steps = recipe.epochs * self.evaluate_every
        self.images_per_step, self.same_shapes = recipe.batch_size, True
        self.joined = max(1, _IMAGES_OF_A_PASS // recipe.norm_batch_size) if _is_large(world.device) else 1
        self.interleaved = not recipe.channels_last  # there, channels of several are no neighbours
        self.precision: str = recipe.precision
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(world.device, memory_format=layout)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.model.parameters(), recipe.optimizer, recipe.lr)

    def learning_rate(self, step: int) -> float:
        return learning_rate(self.recipe, step, self.evaluate_every)

    def batches(self, first_step: int) -> Iterator[Batch]:
        job, images = self.task.job, self.task.train.images
        order = TrainingOrder(
            length=len(images),
            batch_size=self.recipe.batch_size,
            norm_batch_size=self.recipe.norm_batch_size,
            seed=job.seed,
            first_step=first_step,
            last_step=self.steps,
            rank=self.world.rank,
            world_size=self.world.size,
        )
        transform = training_transform(self.recipe.augmentation)
        return self.task.loaded(images, transform, job.seed, order, self.workers, self.world.device)

    def join(self, batches: Sequence[Batch]) -> Batch | None:
        sizes = {len(batch.labels) for batch in batches}
        if len(sizes) > 1 or min(sizes) < 2:  # images were left out
            return None
        parts = [self.task.on_device(batch, self.world.device) for batch in batches]
        layout = interleave if self.interleaved else torch.cat
        return Batch(layout([part.images for part in parts]), layout([part.labels for part in parts]))

    def losses(self, model: nn.Module, batch: Batch, seed: int) -> dict[str, Tensor]:
        if len(batch.labels) < 2:
            raise UserError("a micro-batch has fewer than two images that can be decoded; repair the files")
        batch = self.task.on_device(batch, self.world.device)
        logits = model(batch.images).float()
        return {"cross_entropy": F.cross_entropy(logits, batch.labels, label_smoothing=self.recipe.label_smoothing)}

    def bad_images(self, batch: Batch) -> tuple[str, ...]:
        return batch.bad

    def evaluate(self) -> Accuracy:
        return self.task.evaluate(Built(self.model), self.world, self.workers)

    def row(self, result: Accuracy) -> dict[str, float]:
        return {"val_loss": result.loss, "top1_percent": result.top1_percent, "top5_percent": result.top5_percent}
