"""Training recipes as data: YAML files with their source and standing, and values changed on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from awbench.errors import UserError, suggestion
from awbench.validation import Strict, first_error

RECIPES = Path(__file__).parent / "recipes"

# How the project trains for claims on ImageNet and CIFAR: its runs are shared by all that use them.
IMAGENET_RECIPE, IMAGENET_CHANGES = "cbam", ("precision=bfloat16", "channels_last=true")
CIFAR_RECIPE = "cifar"

DESCRIPTIVE = ("title", "source", "standing", "note")

Positive = Annotated[int, Field(ge=1)]
RecipeT = TypeVar("RecipeT", bound=Strict)
Interpolation = Literal["bilinear", "bicubic", "nearest"]


class Optimizer(Strict):
    """Stochastic gradient descent, or AdamW, which has no use for momentum. `lr` is for the recipe's own batch size."""

    name: Literal["sgd", "adamw"] = "sgd"
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

    def identity(self) -> dict[str, Any]:
        """What of it can change a result: all but its description."""
        return self.model_dump(mode="json", exclude=set(DESCRIPTIVE))

    @property
    def lr(self) -> float:
        """The peak learning rate in force."""
        return self.optimizer.lr * self.lr_scaled_by


def list_recipes(folder: Path = RECIPES) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


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


def read_recipe(
    form: type[RecipeT], folder: Path, name: str, changes: Sequence[str]
) -> tuple[RecipeT, RecipeT, set[str]]:
    """A recipe as its file has it, with the changes, and the keys that were changed.

    Args:
        form: the kind of recipe.
        folder: where the project's recipes of that kind lie.
        name, changes: as in `load_recipe`.

    Raises:
        UserError: as `load_recipe`.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        known = list_recipes(folder)
        raise UserError(f"recipe {name!r} does not exist{suggestion(name, known)} Known: {', '.join(known)}.")
    import yaml

    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    original = _validate(form, data, str(path))
    changed = {_apply(data, change) for change in changes}
    return original, _validate(form, data, f"--set {' '.join(changes)}") if changed else original, changed


def _validate(form: type[RecipeT], data: Any, where: str) -> RecipeT:
    try:
        return form.model_validate(data)
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
        place.setdefault(section, {})  # a section that the file leaves to its defaults; a misspelt one is found later
        if not isinstance(place[section], dict):
            raise UserError(f"--set {key}: {section!r} is not a section{suggestion(section, data)}")
        place = place[section]
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {key}: {text!r} is not a YAML value, e.g. 4, 0.05, true or [1, 2]") from None
    return key
