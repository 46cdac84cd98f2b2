"""What recipes of both tasks share: YAML files with their source and provenance, and values changed by `--set`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from awbench.errors import UserError, suggestion
from awbench.validation import Strict, first_error
from awbench.yaml_files import parse_value, read_yaml

FILES = Path(__file__).parent / "yaml"
_ALIASES = {"learning_rate": "lr"}
DESCRIPTIVE = ("title", "source", "provenance", "note")

Positive = Annotated[int, Field(ge=1)]
Precision = Literal["float32", "bfloat16", "float16"]
RecipeT = TypeVar("RecipeT", bound="BaseRecipe")


class Optimizer(Strict):
    """Stochastic gradient descent, or AdamW, which has no use for momentum. `lr` is for the recipe's own batch size."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    nesterov: bool = False


class BaseRecipe(Strict):
    """What every recipe says of itself.

    Attributes:
        source, provenance: where its values come from, and how well they are known.
    """

    schema_version: Literal[1]
    name: str
    title: str
    source: str
    provenance: Literal["primary", "secondary", "recalled", "chosen"]
    note: str = ""
    _file: str = PrivateAttr("")
    _changes: tuple[str, ...] = PrivateAttr(())

    @property
    def file(self) -> str:
        """What `--recipe` takes for the recipe before its changes: a name of the project's, or a path."""
        return self._file or self.name

    @property
    def changes(self) -> tuple[str, ...]:
        """How its values were changed from the file's, as `--set` takes them."""
        return self._changes

    def read_from(self, file: str, changes: Sequence[str]) -> Self:
        """The same recipe, saying where its values come from."""
        copy = self.model_copy()
        copy._file, copy._changes = file, tuple(changes)
        return copy


def list_recipes(folder: Path) -> list[str]:
    """Names of the recipes in a folder."""
    return sorted(path.stem for path in folder.glob("[!.]*.yaml"))


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
    data = read_yaml(path)
    original = _validate(form, data, str(path))
    for change in changes:
        _require_known(form, change)
    changed = {_apply(data, change) for change in changes}
    recipe = _validate(form, data, f"--set {' '.join(changes)}") if changed else original
    return original, recipe.read_from(name, changes), changed


def recipe_keys(form: type[BaseModel], section: str = "") -> list[str]:
    """What `--set` changes of a form, e.g. "epochs", "optimizer.lr"; a section stands for its values."""
    found = []
    for name, field in form.model_fields.items():
        if section or name not in (*DESCRIPTIVE, "schema_version", "name", "lr_scaled_by"):
            inner = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            found += recipe_keys(field.annotation, f"{name}.") if inner else [f"{section}{name}"]  # type: ignore[arg-type]
    return found


def _require_known(form: type[BaseModel], change: str) -> None:
    """Raises: UserError: another section has the key, or nearly; what is unknown altogether is found by the form."""
    key, (section, _, last) = change.partition("=")[0], change.partition("=")[0].rpartition(".")
    known = recipe_keys(form)
    if key in known or section or last in form.model_fields:
        return
    inner = {name.rpartition(".")[2]: name for name in known if "." in name}
    meant = inner.get(_ALIASES.get(last, last))
    if meant:
        raise UserError(f"--set {key}: the recipe has no {key} itself; did you mean {meant}?")


def _validate(form: type[RecipeT], data: Any, where: str) -> RecipeT:
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{where}: {first_error(error)}") from None


def _apply(data: dict[str, Any], change: str) -> str:
    """Set one value in place; returns its key."""
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
    place[last] = parse_value(text, f"--set {key}={text[:40]}")
    return key
