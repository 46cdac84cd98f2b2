"""Recipes of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from awbench.recipes.common import DESCRIPTIVE, FILES, BaseRecipe, Optimizer, Positive, Precision, read_recipe
from awbench.validation import Strict

RECIPES = FILES / "classification"

Interpolation = Literal["bilinear", "bicubic", "nearest"]


class Schedule(Strict):
    """How the learning rate falls: "step" multiplies by gamma every step_epochs, "cosine" goes to zero.

    Over the first warmup_epochs it rises linearly from lr/1000.
    """

    name: Literal["step", "cosine"]
    step_epochs: Positive = 30
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0


class Augmentation(Strict):
    """Of training images; sizes in pixels."""

    name: Literal["random_resized_crop", "pad_crop", "none"]
    size: Positive
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.08
    padding: Annotated[int, Field(ge=0)] = 4
    horizontal_flip: bool = True
    interpolation: Interpolation = "bilinear"


class Evaluation(Strict):
    """Of evaluation images: shorter side to `resize` (0: as it is), then the central crop; they change the number."""

    resize: Annotated[int, Field(ge=0)]
    crop: Positive
    interpolation: Interpolation = "bilinear"


class Recipe(BaseRecipe):
    """How a network is trained.

    Attributes:
        batch_size: of a step, over all processes.
        norm_batch_size: samples over which a batch normalisation takes its statistics, a divisor of
            batch_size. Published ImageNet recipes ran as many GPUs with 32 images each; the statistics
            of a step stay those, however many processes share it.
        precision: "float32", or autocast to "bfloat16" or "float16".
        decoder: of image files: "pillow", or "torchvision", whose tensors are resampled in a third of the time, a value
            of 500 by one level of 255 otherwise (benchmarks/test_data_path.py), or "nvjpeg", torchvision's on a GPU,
            whose pixels differ by more (docs/gpu.md). The effect on accuracy is not measured.
        lr_scaled_by: batch_size / the recipe's own, by the linear-scaling rule (Goyal et al., arXiv 1706.02677).
    """

    epochs: Positive
    batch_size: Positive
    norm_batch_size: Positive
    optimizer: Optimizer
    schedule: Schedule
    augmentation: Augmentation
    evaluation: Evaluation
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Precision = "float32"
    channels_last: bool = False
    decoder: Literal["pillow", "torchvision", "nvjpeg"] = "pillow"
    lr_scaled_by: float = 1.0

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.batch_size % self.norm_batch_size:
            raise ValueError(
                f"norm_batch_size {self.norm_batch_size} does not divide batch_size {self.batch_size}; "
                "use a divisor of it"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """What of it can change a result: all but its description."""
        described = self.model_dump(mode="json", exclude=set(DESCRIPTIVE))
        if self.decoder == "pillow":  # what all were decoded by, before there was a choice
            del described["decoder"]
        return described

    @property
    def micro_batches(self) -> int:
        """Of a step: so many processes can share it."""
        return self.batch_size // self.norm_batch_size

    @property
    def lr(self) -> float:
        """The peak learning rate in force."""
        return self.optimizer.lr * self.lr_scaled_by


def load_recipe(name: str, changes: Sequence[str] | None = None) -> Recipe:
    """A classification recipe with values changed.

    Args:
        name: of a recipe of the project, or the path of a YAML file.
        changes: "key=value" or "section.key=value". A changed batch size scales the learning rate
            linearly unless the learning rate is given too.

    Raises:
        UserError: no such recipe, an unknown key, or a value that does not fit.
    """
    original, recipe, changed = read_recipe(Recipe, RECIPES, name, changes or ())
    if recipe.batch_size != original.batch_size and not changed & {"optimizer.lr", "lr_scaled_by"}:
        scale = recipe.batch_size / original.batch_size
        recipe = recipe.model_copy(update={"lr_scaled_by": scale})
    return recipe
