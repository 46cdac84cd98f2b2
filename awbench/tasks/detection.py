"""Detection: training and evaluating a Faster R-CNN with any engine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from awbench.data.coco import DetectionSplit
from awbench.data.detection_datasets import find_detection_dataset, open_detection_split
from awbench.data.detection_views import DetectionBatch, DetectionOrder, DetectionView, collate
from awbench.data.loader import Loader
from awbench.data.pixels import IMAGENET_RGB
from awbench.data.views import EvaluationOrder
from awbench.detection.engine import Detector, Engine, detect, find_engine
from awbench.detection.weights import load_detector_weights
from awbench.errors import UserError
from awbench.measure.average_precision import AveragePrecision, Detection, measure_average_precision
from awbench.models.resnet import ResNet
from awbench.models.weights import LoadedWeights, load_backbone_weights
from awbench.recipes import PROTOCOLS, DetectionRecipe
from awbench.records import Quantity
from awbench.tasks.job import Job, file_sha256
from awbench.tasks.task import Built
from awbench.training.distributed import World
from awbench.training.numerics import autocast
from awbench.training.optimizers import make_optimizer
from awbench.training.trainable import State
from awbench.variants import describe_options

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class DetectionResult:
    """An evaluation, and the messages of images that could not be decoded: they count as without detections."""

    average_precision: AveragePrecision
    bad: tuple[str, ...]


@dataclass(frozen=True)
class BuiltDetector(Built):
    """A detector, and what its engine must know of it."""

    detector: Detector | None = None


def open_task(job: Job, splits: tuple[DetectionSplit, DetectionSplit] | None = None) -> DetectionTask:
    """The task of a detector's job; see `awbench.tasks.open_task`."""
    return DetectionTask(job, splits)


class DetectionTask:
    """A detector's job as a `Task`; its engine is found, and named in the job.

    Raises:
        UserError: the engine is not installed or rounds boxes in the recipe's precision, a backbone would be frozen at
            random weights, or the dataset is at fault.
    """

    def __init__(self, job: Job, splits: tuple[DetectionSplit, DetectionSplit] | None = None) -> None:
        assert isinstance(job.recipe, DetectionRecipe), "a detector's recipe"
        self.engine: Engine = find_engine(job.engine)
        self.job, self.recipe = dataclasses.replace(job, engine=self.engine.name), job.recipe
        _require_precision(self.engine, self.recipe)
        _require_weights(job, self.recipe)
        self.dataset = find_detection_dataset(job.dataset)
        self.splits = splits or self._open()
        self.train, self.val = self.splits
        if job.options.num_classes is not None:
            raise UserError(
                f"num_classes is {job.options.num_classes}; a detector's classes are its dataset's categories"
            )
        self.options = job.model_options(len(self.val.categories))

    def _open(self) -> tuple[DetectionSplit, DetectionSplit]:
        """(train, val); evaluating given weights needs the second alone."""
        val = open_detection_split(self.job.dataset, self.job.data, "val")
        train = val if self.job.weights else open_detection_split(self.job.dataset, self.job.data, "train")
        if train.categories != val.categories:
            raise UserError(f"{train.annotations} and {val.annotations} have different categories; give one dataset")
        return train, val

    def identity(self, built: Built | None = None) -> dict[str, Any]:
        job, recipe = self.job, self.recipe
        inputs = {"engine_version": self.engine.version()}
        if job.weights is None:
            settings = {
                "origin": "trained",
                "engine": self.engine.name,
                "dataset": job.dataset,
                "complete": self.train.complete and self.val.complete,
                "recipe": recipe.identity(),
                "seed": job.seed,
                "skip_bad_images": job.skip_bad_images,
                **job.averaged_setting,
                "protocol": PROTOCOLS["detection"],
            }
            inputs |= {
                "train_sha256": self.train.digest,
                "val_sha256": self.val.digest,
                "backbone_weights_sha256": file_sha256(job.initial_weights) if job.initial_weights else "random",
            }
        else:
            assert not isinstance(job.weights, str), "a detector's weights are a file"
            settings = {
                "origin": "weights",
                "engine": self.engine.name,
                "dataset": job.dataset,
                "complete": self.val.complete,
                "weights": job.weights.name,
                "input": recipe.input.model_dump(mode="json"),
                "sampling": recipe.sampling.model_dump(mode="json"),
                "norm": recipe.norm,
                "precision": recipe.precision,
                "skip_bad_images": job.skip_bad_images,
                **job.averaged_setting,
                "protocol": PROTOCOLS["detection"],
            }
            inputs |= {"weights_sha256": file_sha256(job.weights), "val_sha256": self.val.digest}
        return {
            "kind": "detection",
            "variant": job.variant.name,
            "options": describe_options(job.variant, self.options),
            "settings": settings,
            "inputs": {**inputs, **job.variant.inputs},
        }

    def build(self) -> BuiltDetector:
        job = self.job
        weights, backbone = job.weights, job.initial_weights
        if weights is not None:
            assert not isinstance(weights, str), "a detector's weights are a file"
            return self._build(lambda model, body: load_detector_weights(model, body, weights, job.averaged))
        if backbone is None:
            return self._build(lambda model, body: None)
        built = self._build(lambda model, body: load_backbone_weights(body, backbone, averaged=job.averaged))
        assert built.loaded is not None, "the backbone's weights were read"
        note = f"backbone from {backbone.name}, layout {built.loaded.layout}"
        return dataclasses.replace(built, notes=(note, *built.notes))

    def _build(self, load: Callable[[nn.Module, ResNet], LoadedWeights | None]) -> BuiltDetector:
        """For the pixels that the loaded weights expect: their mean and order are part of what the engine builds."""
        job, recipe, pixels = self.job, self.recipe, IMAGENET_RGB
        categories = tuple(self.val.categories)
        while True:
            detector = Detector(
                job.variant, job.options, categories, pixels, recipe.norm, recipe.freeze_at, recipe.sampling
            )
            model, body = self.engine.build(detector)
            model.variant, model.options = job.variant, job.options  # type: ignore[assignment]  # for a file of it
            loaded = load(model, body)
            if loaded is None or loaded.pixels == pixels:
                metadata = {"pixels": json.dumps(dataclasses.asdict(pixels))}
                return BuiltDetector(model, loaded, loaded.notes if loaded else (), metadata, detector)
            pixels = loaded.pixels

    def trainable(self, built: Built, world: World, workers: int) -> TrainableDetector:
        assert isinstance(built, BuiltDetector)
        return TrainableDetector(self, built, world, workers)

    def evaluate(self, built: Built, world: World, workers: int) -> DetectionResult:
        """AP, each image once over all processes and by itself: no padding but the network's own.

        The network's mode is restored. An image that cannot be decoded, where that is allowed, has no detections.
        """
        assert isinstance(built, BuiltDetector)
        was_training = built.model.training
        built.model.eval()
        bad: list[str] = []
        found = list(self._detect_all(built, world, workers, bad))
        built.model.train(was_training)
        everything, bad = world.gather(found), world.gather(bad)
        image_ids = [image.id for image in self.val.images]
        if len(bad) == len(image_ids):
            raise UserError(f"not one image could be decoded: {bad[0]}")
        result = world.from_main(lambda: measure_average_precision(self.val.annotations, everything, image_ids))
        return DetectionResult(result, tuple(bad))

    def _detect_all(self, built: BuiltDetector, world: World, workers: int, bad: list[str]) -> Iterator[Detection]:
        """This process's detections in COCO's format; messages of images that cannot be decoded go to `bad`."""
        assert built.detector is not None
        size, images, detector = self.recipe.input, self.val.images, built.detector
        view = DetectionView(images, (size.test,), size.test_max, skip_bad_images=self.job.skip_bad_images)
        order = EvaluationOrder(len(images), 1, world.rank, world.size)
        known = set(self.val.categories)
        with torch.inference_mode(), contextlib.ExitStack() as stack:
            stack.enter_context(autocast(self.recipe.precision, world.device))
            for batch in Loader(view, order, workers, pin_memory=False, collate=collate):
                bad += batch.bad
                if not batch.samples:
                    continue
                found = detect(self.engine, built.model, detector, batch.samples)
                for sample, detections in zip(batch.samples, found, strict=True):
                    corners = detections.boxes.double()
                    boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
                    scores, categories = detections.scores.tolist(), detections.categories.tolist()
                    for box, score, category in zip(boxes, scores, categories, strict=True):
                        if category in known:  # torchvision's outputs for the ids in the gaps mean nothing
                            yield {"image_id": sample.image_id, "category_id": category, "bbox": box, "score": score}

    def values(self, result: DetectionResult) -> dict[str, Quantity]:
        """AP values of objects that the ground truth lacks are left out."""
        found = result.average_precision
        points = ap_points(found) | {f"box_ap.{name}": value for name, value in found.by_category.items()}
        values = {name: Quantity(value=value, unit="AP points") for name, value in points.items() if value is not None}
        left_out = Quantity(value=len(result.bad), unit="images")
        return {**values, "images": Quantity(value=found.images, unit="images"), "images_left_out": left_out}

    def training_values(self, state: State, world: World) -> dict[str, Quantity]:
        values = {
            "iterations": Quantity(value=state.step, unit="iterations"),
            "train_time": Quantity(value=state.seconds, unit="s"),
            "train_time_per_iteration": Quantity(value=state.seconds / state.step, unit="s/iteration"),
        }
        if world.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(world.device)
            values["peak_memory"] = Quantity(value=peak, unit="bytes")
        return values

    def notes(self) -> list[str]:
        notes = [self.val.description, *([self.dataset.proxy] if self.dataset.proxy else [])]
        splits = (self.val,) if self.job.weights else self.splits
        return notes + [f"{split.description}: {note}" for split in splits for note in split.notes]


def ap_points(result: AveragePrecision) -> dict[str, float | None]:
    """The six numbers that COCO publishes, in AP points, by the names of the references' metrics."""
    return {
        "box_ap": result.ap,
        "ap50": result.ap50,
        "ap75": result.ap75,
        "ap_small": result.ap_small,
        "ap_medium": result.ap_medium,
        "ap_large": result.ap_large,
    }


class TrainableDetector:
    """A detector as the loop's `Trainable`.

    Raises:
        UserError: the batch has fewer micro-batches than there are processes, or there are too few images.
    """

    def __init__(self, task: DetectionTask, built: BuiltDetector, world: World, workers: int) -> None:
        recipe = task.recipe
        self.task, self.recipe, self.built, self.world, self.workers = task, recipe, built, world, workers
        self.micro_batches = recipe.micro_batches
        if self.micro_batches < world.size:
            raise UserError(
                f"batch_size {recipe.batch_size} in micro-batches of images_per_part {recipe.images_per_part} makes "
                f"{self.micro_batches} of them, which {world.size} processes cannot share; use fewer processes or a "
                "smaller images_per_part"
            )
        self.steps, self.evaluate_every = recipe.iterations, recipe.evaluate_every
        self.images_per_step, self.joined = recipe.batch_size, 1
        self.interleaved = self.same_shapes = False
        self.precision: str = recipe.precision
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.model: nn.Module = built.model.to(world.device, memory_format=layout)  # type: ignore[call-overload]
        groups = _parameter_groups(self.model, recipe)
        self.optimizer = make_optimizer(groups, recipe.optimizer, recipe.learning_rate(0))
        self._order(0)  # too few images are better said before the first step

    def learning_rate(self, step: int) -> float:
        return self.recipe.learning_rate(step)

    def _order(self, first_step: int) -> DetectionOrder:
        """Which samples this process sees from a step on."""
        return DetectionOrder(
            self.task.train.images,
            self.recipe.images_per_part,
            self.micro_batches,
            self.task.job.seed,
            first_step,
            self.steps,
            self.world.rank,
            self.world.size,
        )

    def batches(self, first_step: int) -> Iterator[DetectionBatch]:
        job, size = self.task.job, self.recipe.input
        images = self.task.train.images
        view = DetectionView(images, size.train, size.train_max, size.horizontal_flip, job.seed, job.skip_bad_images)
        return iter(Loader(view, self._order(first_step), self.workers, pin_memory=False, collate=collate))

    def join(self, batches: Sequence[DetectionBatch]) -> None:
        """A micro-batch's padding, sampling and losses are its own."""

    def losses(self, model: nn.Module, batch: DetectionBatch, seed: int) -> dict[str, Tensor]:
        if not batch.samples:
            raise UserError("a micro-batch has no image that can be decoded; repair the files")
        assert self.built.detector is not None
        torch.manual_seed(seed)  # anchors and proposals are sampled on the device of the network
        return self.task.engine.losses(model, self.built.detector, batch.samples)

    def bad_images(self, batch: DetectionBatch) -> tuple[str, ...]:
        return batch.bad

    def evaluate(self) -> DetectionResult:
        return self.task.evaluate(self.built, self.world, self.workers)

    def row(self, result: DetectionResult) -> dict[str, float]:
        return {name: value for name, value in ap_points(result.average_precision).items() if value is not None}


def _require_precision(engine: Engine, recipe: DetectionRecipe) -> None:
    """Raise a UserError for a precision in which the engine would round its boxes."""
    if engine.name == "torchvision" and recipe.precision != "float32":
        raise UserError(
            f"precision {recipe.precision} with engine torchvision would round boxes to several pixels, because it "
            "computes them in its heads' precision; use precision=float32, or --engine detectron2"
        )


def _require_weights(job: Job, recipe: DetectionRecipe) -> None:
    """Raise a UserError where a backbone would be frozen at random weights."""
    given = job.weights is not None or job.initial_weights is not None
    if not given and (recipe.norm == "frozen" or recipe.freeze_at):
        raise UserError(
            f"recipe {recipe.name} freezes parts of the backbone, which would stay random: give ImageNet weights "
            f"of {job.variant.backbone} with --init-weights FILE, or --set norm=batch --set freeze_at=0"
        )


def _parameter_groups(model: nn.Module, recipe: DetectionRecipe) -> list[dict[str, object]]:
    """Trainable parameters: normalisation layers' own with their weight decay, all others with the recipe's."""
    norms = [p for module in model.modules() if isinstance(module, _NORMS) for p in module.parameters()]
    norm_ids = {id(parameter) for parameter in norms}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {
            "params": [parameter for parameter in trainable if (id(parameter) in norm_ids) is norm],
            "weight_decay": recipe.norm_weight_decay if norm else recipe.optimizer.weight_decay,
        }
        for norm in (False, True)
    ]
