"""Recipes of detectors: Detectron2's schedules, and a quick one for digits to detect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from awbench.recipes.common import DESCRIPTIVE, FILES, BaseRecipe, Optimizer, Positive, Precision, read_recipe
from awbench.validation import Strict

RECIPES = FILES / "detection"
# What shrinks when the batch grows by the linear-scaling rule, so that as many images are seen.
_SCALED = ("iterations", "schedule.steps", "schedule.warmup_iterations", "evaluate_every")


class IterationSchedule(Strict):
    """The learning rate is multiplied by gamma at each of `steps`, and rises linearly at first.

    Over the first warmup_iterations it rises from warmup_factor times its value.
    """

    steps: tuple[Positive, ...]
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_iterations: Annotated[int, Field(ge=0)] = 0
    warmup_factor: Annotated[float, Field(gt=0, le=1)] = 0.001


class InputSize(Strict):
    """Pixels of the shorter side, drawn from `train` in training, and the most of the longer one."""

    train: Annotated[tuple[Positive, ...], Field(min_length=1)]
    train_max: Positive
    test: Positive
    test_max: Positive
    horizontal_flip: bool = True


class Sampling(Strict):
    """How many regions an image has; where none is given, the engine's own default.

    Defaults in training and test: Detectron2 1,000 and 1,000 proposals, torchvision 2,000 and 1,000;
    both 256 anchors and 512 regions of an image in the loss.
    """

    anchors: Positive | None = None
    regions: Positive | None = None
    train_proposals: Positive | None = None
    test_proposals: Positive | None = None


ENGINE_SAMPLING = Sampling()


class DetectionRecipe(BaseRecipe):
    """How a detector is trained and evaluated.

    Attributes:
        iterations: optimizer steps.
        batch_size: images of a step, over all processes.
        images_per_part: images that are padded to one size and computed together, a divisor of
            batch_size; Detectron2's images per GPU. Results do not depend on how processes share them.
        norm_weight_decay: weight decay of normalisation layers' scales and shifts.
        norm: of the backbone: "frozen", every batch normalisation is a fixed scale and shift, or "batch".
        freeze_at: stages of the backbone that are not trained: 1 the stem, 2 the first stage too, ..., 0 none.
        evaluate_every: iterations between evaluations; the end is always followed by one.
        lr_scaled_by: batch_size / the recipe's own, by the linear-scaling rule.
    """

    iterations: Positive
    batch_size: Positive
    images_per_part: Positive
    optimizer: Optimizer
    norm_weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: IterationSchedule
    input: InputSize
    sampling: Sampling = Sampling()
    norm: Literal["frozen", "batch"] = "frozen"
    freeze_at: Annotated[int, Field(ge=0, le=5)] = 2
    precision: Precision = "float32"
    channels_last: bool = False
    evaluate_every: Positive
    lr_scaled_by: float = 1.0

    @model_validator(mode="after")
    def _check(self) -> DetectionRecipe:
        if self.batch_size % self.images_per_part:
            raise ValueError(
                f"images_per_part {self.images_per_part} does not divide batch_size {self.batch_size}; "
                "use a divisor of it"
            )
        if list(self.schedule.steps) != sorted(set(self.schedule.steps)):
            raise ValueError(f"schedule.steps {list(self.schedule.steps)} do not rise; give them in order")
        return self

    def identity(self) -> dict[str, Any]:
        """What of it can change a result: all but its description, and when it is evaluated on the way."""
        return self.model_dump(mode="json", exclude={*DESCRIPTIVE, "evaluate_every"})

    @property
    def micro_batches(self) -> int:
        """Of a step: so many processes can share it."""
        return self.batch_size // self.images_per_part

    @property
    def lr(self) -> float:
        """The peak learning rate in force."""
        return self.optimizer.lr * self.lr_scaled_by

    def learning_rate(self, iteration: int) -> float:
        """Of an iteration, 0-based."""
        schedule = self.schedule
        rate = self.lr * schedule.gamma ** sum(iteration >= s for s in schedule.steps)
        if iteration >= schedule.warmup_iterations:
            return rate
        done = iteration / schedule.warmup_iterations
        return rate * (schedule.warmup_factor * (1 - done) + done)


def load_detection_recipe(name: str, changes: Sequence[str] = ()) -> DetectionRecipe:
    """A detection recipe with values changed.

    Args:
        name: of a recipe of the project, or the path of a YAML file.
        changes: "key=value" or "section.key=value". A changed batch size scales the learning rate with
            it and the schedule against it (as Detectron2's `auto_scale_workers`), but no value that is given too.

    Raises:
        UserError: no such recipe, an unknown key, or a value that does not fit.
    """
    original, recipe, changed = read_recipe(DetectionRecipe, RECIPES, name, changes)
    scale = recipe.batch_size / original.batch_size
    if scale == 1:
        return recipe
    data = recipe.model_dump()
    if not changed & {"optimizer.lr", "lr_scaled_by"}:
        data["lr_scaled_by"] = scale
    for key in _SCALED:
        if key not in changed:
            *section, last = key.split(".")
            place = data[section[0]] if section else data
            value = place[last]
            scaled = [max(1, round(step / scale)) for step in (value if isinstance(value, tuple) else [value])]
            place[last] = sorted(set(scaled)) if isinstance(value, tuple) else scaled[0] if value else 0
    return DetectionRecipe.model_validate(data).read_from(name, changes)
