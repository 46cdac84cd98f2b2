"""A study: a question, the comparisons that answer it, and what is run for them. One YAML file each.

Whatever can change an answer is in the file, and its digest is in every record that the study makes: a design that was
changed after the first result is seen.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from awbench.errors import UserError, suggestion
from awbench.recipes import DetectionRecipe, Recipe, load_detection_recipe, load_recipe
from awbench.studies.design import GIVEN, Design
from awbench.validation import first_error
from awbench.variants import describe_options, parse_variant
from awbench.yaml_files import read_yaml

STUDIES = Path(__file__).parent
_DESCRIPTIVE: Any = {"title": True, "question": True, "networks": {"__all__": {"note"}}}


class Study(Design):
    """A design, with the recipe and the other studies that its file names."""

    _file: str = PrivateAttr("")

    @functools.cached_property
    def designs(self) -> dict[str, str]:
        """Name -> digest of the studies whose runs count: its own, and the one that it shares runs with."""
        return {study.name: study.digest for study in (self, self.shared) if study}

    @functools.cached_property
    def shared(self) -> Study | None:
        """The study that it shares runs with.

        Raises:
            UserError: there is none.
        """
        return self._other(self.shares) if self.shares else None

    def _other(self, name: str) -> Study:
        """A study of the project, or a file beside this one's."""
        return _read(str(Path(self._file).parent / name) if name.endswith((".yaml", ".yml")) else name)

    @functools.cached_property
    def backbone_study(self) -> Study | None:
        """The study that trains the detectors' backbones; None where it is no study that does.

        Raises:
            UserError: there is none, it trains no classifiers, or not those that the detectors have as backbones.
        """
        if self.backbones in ("", GIVEN):
            return None
        study = self._other(self.backbones)
        if study.task != "classification":
            raise UserError(f"study {self.name}: backbones: {self.backbones} is about detectors, not classifiers")
        return study

    def backbone_of(self, label: str) -> str:
        """The network of the study of backbones that a detector starts from; of given ones the variant's name.

        Raises:
            UserError: that study has none that was built like it.
        """
        variant, study = self.variant_of(label), self.backbone_study
        if study is None:
            return variant.backbone
        wanted = describe_options(parse_variant(variant.backbone), self.options_of(label))
        labels = study.labels_of.get(variant.backbone, ())
        found = next((other for other in labels if study.described_options[other] == wanted), None)
        if found is None:
            raise UserError(
                f"study {self.name}: backbones: {study.name} has no {variant.backbone} with the options of {label}; "
                "add it there, or choose another study"
            )
        return found

    @functools.cached_property
    def resolved_recipe(self) -> Recipe | DetectionRecipe:
        """The recipe with its changes."""
        load: Any = load_detection_recipe if self.task == "detection" else load_recipe
        recipe: Recipe | DetectionRecipe = load(self.recipe, self.changes)
        return recipe

    @functools.cached_property
    def recipe_identity(self) -> dict[str, Any]:
        """The recipe as records hold it."""
        return self.resolved_recipe.identity()

    @property
    def image_size(self) -> int | None:
        """Pixels a side at which its classifiers are evaluated; None for detectors."""
        evaluation: dict[str, int] = self.recipe_identity.get("evaluation", {})
        return evaluation.get("crop")

    @property
    def argument(self) -> str:
        """How commands take it: its name, or its file where it is not one of the project's."""
        return self._file or self.name

    @property
    def is_of_the_project(self) -> bool:
        return self.argument in list_studies()

    @property
    def reference(self) -> str:
        """What `--study` takes: its file, and the digest that a run was planned with."""
        return f"{self.argument}@{self.digest}"

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of all that can change an answer: the design and the resolved recipe, without titles and notes."""
        design = self.model_dump(mode="json", exclude=_DESCRIPTIVE, exclude_defaults=True)
        design["resolved_recipe"] = self.recipe_identity
        return hashlib.sha256(json.dumps(design, sort_keys=True).encode()).hexdigest()


def list_studies() -> list[str]:
    """Names of the project's own studies."""
    return sorted(path.stem for path in STUDIES.glob("[!.]*.yaml"))


@functools.cache
def load_study(name: str) -> Study:
    """A study of the project by its name, or any by the path of its YAML file.

    Raises:
        UserError: there is none, its file is not valid, or its detectors' backbones are not in the study that it
            names; says the file, the key and what would be right.
    """
    study = _read(name)
    for label in study.labels if study.backbone_study else ():
        study.backbone_of(label)
    if study.shared:
        _check_shared(study, study.shared)
    return study


def _check_shared(study: Study, shared: Study) -> None:
    """Raise a UserError unless another study has a network of this one, by its recipe on its dataset."""
    networks = [
        {(each.variant_of(label).name, json.dumps(each.described_options[label])) for label in each.labels}
        for each in (study, shared)
    ]
    same = (shared.dataset, shared.recipe_identity) == (study.dataset, study.recipe_identity)
    if shared.name == study.name or not same or networks[0].isdisjoint(networks[1]):
        raise UserError(
            f"study {study.name}: shares is {study.shares!r}, which has none of its networks with its recipe on "
            f"{study.dataset}; name another study that has, or none"
        )


def _read(name: str) -> Study:
    """One file, without those that it names."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else STUDIES / f"{name}.yaml"
    if not path.is_file():
        known = list_studies()
        raise UserError(
            f"study {name!r} does not exist{suggestion(name, known)} Known: {', '.join(known)}, or give a YAML file."
        )
    data = read_yaml(path)
    try:
        study = Study.model_validate(data)
        _ = study.resolved_recipe
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None
    except UserError as error:
        raise UserError(f"{path}: {str(error).replace('--set ', 'changes: ', 1)}") from None
    study._file = name if path.parent == STUDIES else str(path.resolve())
    if study.name != path.stem:
        raise UserError(f"{path}: name is {study.name!r}; it must be the file's, {path.stem!r}")
    return study


def find_study(reference: str) -> Study:
    """The study of a `Study.reference`.

    Raises:
        UserError: there is none, or its design is not the one of the reference any more.
    """
    name, digest = re.fullmatch(r"(.*?)(?:@([0-9a-f]{64}))?", reference, re.DOTALL).groups()  # type: ignore[union-attr]
    study = load_study(name)
    if digest and study.digest != digest:
        raise UserError(
            f"study {name} was changed: its design is {study.digest[:12]}, this run was planned with {digest[:12]}; "
            "start the study again"
        )
    return study


_BESIDE: list[str] = []


@contextlib.contextmanager
def beside(files: Iterable[str]) -> Iterator[None]:
    """Meanwhile the studies of these files stand beside the project's own, in every table and on the page.

    Raises:
        UserError: as `load_study`.
    """
    before = list(_BESIDE)
    _BESIDE.extend(files)
    try:
        load_studies()
        yield
    finally:
        _BESIDE[:] = before


def load_studies(names: tuple[str, ...] = ()) -> list[Study]:
    """The project's own studies, those that stand `beside` them, and those of further files, each once."""
    found: dict[tuple[str, str], Study] = {}
    for study in map(load_study, (*list_studies(), *_BESIDE, *names)):
        found.setdefault((study.name, study.digest), study)
    return list(found.values())
