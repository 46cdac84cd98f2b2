"""Training and evaluating a detector, with any engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from awbench.data.coco import DetectionSplit
from awbench.data.detection_views import DetectionBatch, DetectionOrder, DetectionView, collate
from awbench.data.views import EvaluationOrder, make_loader
from awbench.detection.engine import Detector, Engine, detect
from awbench.errors import UserError
from awbench.measure.average_precision import AveragePrecision, Detection, measure_average_precision
from awbench.recipes.detection import DetectionRecipe
from awbench.training.distributed import World
from awbench.training.loop import RunSettings, autocast, make_optimizer

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True, kw_only=True)
class DetectionRun(RunSettings):
    """One training run of a detector, see also `RunSettings`."""

    engine: Engine
    detector: Detector
    recipe: DetectionRecipe
    train: DetectionSplit
    val: DetectionSplit
    skip_bad_images: bool = False


class DetectionTask:
    """A detector as the loop's `Task`.

    Args:
        model: as the run's engine builds it.

    Raises:
        UserError: the batch has fewer parts than there are processes, or there are too few images.
    """

    def __init__(self, run: DetectionRun, model: nn.Module, world: World) -> None:
        recipe = run.recipe
        demand_precision(run.engine, recipe)
        self.run, self.world = run, world
        self.parts = recipe.batch_size // recipe.images_per_part
        if self.parts < world.size:
            raise UserError(
                f"batch_size {recipe.batch_size} in parts of images_per_part {recipe.images_per_part} makes "
                f"{self.parts} parts, which {world.size} processes cannot share; use fewer processes or a smaller "
                "images_per_part"
            )
        self.steps, self.evaluate_every = recipe.iterations, recipe.evaluate_every
        self.images_per_step = recipe.batch_size
        self.precision: str = recipe.precision
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(world.device, memory_format=layout)  # type: ignore[call-overload]
        groups = _parameter_groups(self.model, recipe)
        self.optimizer = make_optimizer(groups, recipe.optimizer, recipe.learning_rate(0))
        self.order(0)  # too few images are better said before the first step

    def learning_rate(self, step: int) -> float:
        return self.run.recipe.learning_rate(step)

    def order(self, first_step: int) -> DetectionOrder:
        """Which samples this process sees from a step on."""
        return DetectionOrder(
            self.run.train.images,
            self.run.recipe.images_per_part,
            self.parts,
            self.run.seed,
            first_step,
            self.steps,
            self.world.rank,
            self.world.size,
        )

    def batches(self, first_step: int) -> Iterator[DetectionBatch]:
        run, size = self.run, self.run.recipe.input
        view = DetectionView(
            run.train.images, size.train, size.train_max, size.horizontal_flip, run.seed, run.skip_bad_images
        )
        return iter(make_loader(view, self.order(first_step), run.workers, pin_memory=False, collate=collate))

    def losses(self, model: nn.Module, batch: DetectionBatch, seed: int) -> dict[str, Tensor]:
        if not batch.samples:
            raise UserError("a part of a batch has no image that can be decoded; repair the files")
        torch.manual_seed(seed)  # anchors and proposals are sampled on the device of the network
        return self.run.engine.losses(model, self.run.detector, batch.samples)

    def bad_images(self, batch: DetectionBatch) -> tuple[str, ...]:
        return batch.bad

    def evaluate(self) -> Evaluated:
        run = self.run
        return evaluate(
            self.model, run.engine, run.detector, run.recipe, run.val, self.world, run.workers, run.skip_bad_images
        )

    def row(self, result: Evaluated) -> dict[str, float]:
        return {name: value for name, value in ap_points(result.average_precision).items() if value is not None}


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and the messages of images that could not be decoded: they count as without detections."""

    average_precision: AveragePrecision
    bad: tuple[str, ...]


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


def evaluate(
    model: nn.Module,
    engine: Engine,
    detector: Detector,
    recipe: DetectionRecipe,
    split: DetectionSplit,
    world: World,
    workers: int = 0,
    skip_bad_images: bool = False,
) -> Evaluated:
    """AP on a split, each image once over all processes and by itself: no padding but the network's own.

    The model's mode is restored. An image that cannot be decoded, where that is allowed, has no detections.
    """
    demand_precision(engine, recipe)
    was_training = model.training
    model.eval()
    bad: list[str] = []
    found = list(_detect_all(model, engine, detector, recipe, split, world, workers, skip_bad_images, bad))
    model.train(was_training)
    everything, bad = world.gather(found), world.gather(bad)
    image_ids = [image.id for image in split.images]
    result = world.from_main(lambda: measure_average_precision(split.annotations, everything, image_ids))
    return Evaluated(result, tuple(bad))


def _detect_all(
    model: nn.Module,
    engine: Engine,
    detector: Detector,
    recipe: DetectionRecipe,
    split: DetectionSplit,
    world: World,
    workers: int,
    skip_bad_images: bool,
    bad: list[str],
) -> Iterator[Detection]:
    """Detections of this process's images in COCO's format; messages of those that cannot be decoded go to `bad`."""
    view = DetectionView(split.images, (recipe.input.test,), recipe.input.test_max, skip_bad_images=skip_bad_images)
    order = EvaluationOrder(len(split.images), 1, world.rank, world.size)
    known = set(split.categories)
    with torch.inference_mode(), contextlib.ExitStack() as stack:
        stack.enter_context(autocast(recipe.precision, world.device))
        for batch in make_loader(view, order, workers, pin_memory=False, collate=collate):
            bad += batch.bad
            if not batch.samples:
                continue
            for sample, detections in zip(batch.samples, detect(engine, model, detector, batch.samples), strict=True):
                corners = detections.boxes.double()
                boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
                scores, categories = detections.scores.tolist(), detections.categories.tolist()
                for box, score, category in zip(boxes, scores, categories, strict=True):
                    if category in known:  # torchvision's outputs for the ids in the gaps mean nothing
                        yield {"image_id": sample.image_id, "category_id": category, "bbox": box, "score": score}


def demand_precision(engine: Engine, recipe: DetectionRecipe) -> None:
    """Refuse a precision in which the engine would round its boxes.

    Raises:
        UserError: naming what would be right.
    """
    if engine.name == "torchvision" and recipe.precision != "float32":
        raise UserError(
            f"precision {recipe.precision} with engine torchvision would round boxes to several pixels, because it "
            "computes them in its heads' precision; use precision=float32, or --engine detectron2"
        )


def _parameter_groups(model: nn.Module, recipe: DetectionRecipe) -> list[dict[str, object]]:
    """Trainable parameters: normalisation layers' own with their weight decay, all others with the recipe's."""
    norms = [p for module in model.modules() if isinstance(module, _NORMS) for p in module.parameters()]
    of_norms = {id(parameter) for parameter in norms}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {
            "params": [parameter for parameter in trainable if (id(parameter) in of_norms) is norm],
            "weight_decay": recipe.norm_weight_decay if norm else recipe.optimizer.weight_decay,
        }
        for norm in (False, True)
    ]
