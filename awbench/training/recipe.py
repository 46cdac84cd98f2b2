"""Training recipes as data: YAML files with their source and standing, and values changed on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from awbench.errors import UserError, suggestion
from awbench.validation import Strict, first_error

RECIPES = Path(__file__).parent / "recipes"

Positive = Annotated[int, Field(ge=1)]
Interpolation = Literal["bilinear", "bicubic", "nearest"]


class Optimizer(Strict):
    """Stochastic gradient descent. `lr` belongs to the recipe's own batch size."""

    name: Literal["sgd"] = "sgd"
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    nesterov: bool = False


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


class Recipe(Strict):
    """How a network is trained.

    Attributes:
        source, standing: where its values come from, and how well they are known.
        batch_size: of a step, over all processes.
        norm_batch_size: samples over which a batch normalisation takes its statistics, a divisor of
            batch_size. Published ImageNet recipes ran as many GPUs with 32 images each; the statistics
            of a step stay those, however many processes share it.
        precision: "float32", or autocast to "bfloat16" or "float16".
        lr_scaled_by: batch_size / the recipe's own, by the linear-scaling rule (Goyal et al., arXiv 1706.02677).
    """

    schema_version: Literal[1]
    name: str
    title: str
    source: str
    standing: Literal["primary", "secondary", "recalled", "chosen"]
    note: str = ""
    epochs: Positive
    batch_size: Positive
    norm_batch_size: Positive
    optimizer: Optimizer
    schedule: Schedule
    augmentation: Augmentation
    evaluation: Evaluation
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = False
    lr_scaled_by: float = 1.0

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.batch_size % self.norm_batch_size:
            raise ValueError(
                f"norm_batch_size {self.norm_batch_size} does not divide batch_size {self.batch_size}; "
                "use a divisor of it"
            )
        return self

    @property
    def lr(self) -> float:
        """The peak learning rate in force."""
        return self.optimizer.lr * self.lr_scaled_by


def list_recipes() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name: str, changes: list[str] | None = None) -> Recipe:
    """A recipe with values changed.

    Args:
        name: of a recipe of the project, or the path of a YAML file.
        changes: "key=value" or "section.key=value". A changed batch size scales the learning rate
            linearly unless the learning rate is given too.

    Raises:
        UserError: no such recipe, an unknown key, or a value that does not fit.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not path.is_file():
        known = list_recipes()
        raise UserError(f"recipe {name!r} does not exist{suggestion(name, known)} Known: {', '.join(known)}.")
    import yaml

    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    original = _validate(data, str(path))
    changed: set[str] = set()
    for change in changes or []:
        changed.add(_apply(data, change))
    recipe = _validate(data, f"--set {' '.join(changes or [])}") if changed else original
    if recipe.batch_size != original.batch_size and not changed & {"optimizer.lr", "lr_scaled_by"}:
        scale = recipe.batch_size / original.batch_size
        recipe = recipe.model_copy(update={"lr_scaled_by": scale})
    return recipe


def _validate(data: Any, where: str) -> Recipe:
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{where}: {first_error(error)}") from None


def _apply(data: dict[str, Any], change: str) -> str:
    """Set one value in place; returns its key."""
    import yaml

    key, separator, text = change.partition("=")
    if not separator:
        raise UserError(f"--set {change!r} is not of the form KEY=VALUE, e.g. epochs=4 or optimizer.lr=0.05")
    *sections, last = key.split(".")
    place = data
    for section in sections:
        if not isinstance(place.get(section), dict):
            raise UserError(f"--set {key}: {section!r} is not a section{suggestion(section, data)}")
        place = place[section]
    place[last] = yaml.safe_load(text)
    return key
