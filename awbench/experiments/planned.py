"""What a sweep has planned for one run, as a file for the process that makes it: files may change in between."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awbench.errors import UserError
from awbench.recipes import DetectionRecipe, Recipe
from awbench.records import atomic
from awbench.system import open_regular

_SHOWN_CHARACTERS = 100


@dataclass(frozen=True)
class Planned:
    """Attributes:
    identity: of the record, as its task has it.
    source_sha256: of the code that trains.
    recipe: the values of the recipe with its changes.
    recipe_file, recipe_changes: where they come from, as the record says.
    """

    identity: dict[str, Any]
    source_sha256: str
    recipe: dict[str, Any]
    recipe_file: str
    recipe_changes: tuple[str, ...]

    @classmethod
    def of(cls, identity: dict[str, Any], source_sha256: str, recipe: Recipe | DetectionRecipe) -> Planned:
        return cls(identity, source_sha256, recipe.model_dump(mode="json"), recipe.file, recipe.changes)

    def write(self, path: Path) -> None:
        atomic.write_text(path, json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Planned:
        """Raises: UserError: it cannot be read, or is no such file."""
        try:
            with open_regular(path) as file:
                return cls(**json.loads(file.read()))
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path} is not the plan of a run ({error}); start the sweep again") from None

    def resolved_recipe(self, task: str) -> Recipe | DetectionRecipe:
        """The recipe, whatever its file holds now."""
        form: type[Recipe] | type[DetectionRecipe] = DetectionRecipe if task == "detection" else Recipe
        return form.model_validate(self.recipe).read_from(self.recipe_file, self.recipe_changes)

    def check(self, identity: dict[str, Any], source_sha256: str) -> None:
        """Raises: UserError: naming what is not any more as it was planned."""
        now = {"source_sha256": source_sha256, **json.loads(json.dumps(identity))}
        for name, before, after in _differences({"source_sha256": self.source_sha256, **self.identity}, now):
            raise UserError(
                f"{name} was {before} when this run was planned, now it is {after}: code, data or weights were "
                "changed since; start the sweep again"
            )


def _differences(before: dict[str, Any], after: dict[str, Any], where: str = "") -> list[tuple[str, str, str]]:
    """(key, value before, value after), innermost."""
    found = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{where}{key}.")
        elif old != new:
            before_text, after_text = (json.dumps(value)[:_SHOWN_CHARACTERS] for value in (old, new))
            found.append((f"{where}{key}", before_text, after_text))
    return found
