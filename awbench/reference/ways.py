"""Ways of training: by which recipe the runs of a claim are made, and the commands that make them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from awbench.detection.job import default_recipe
from awbench.detection.recipe import load_detection_recipe
from awbench.errors import UserError
from awbench.records import Record
from awbench.reference.measured import has_default_options
from awbench.training.recipe import CIFAR_RECIPE, IMAGENET_CHANGES, IMAGENET_RECIPE, load_recipe
from awbench.variants import ModelOptions, classification_name, parse_variant

# So many steps that the first ones, which are slow on a GPU, weigh little; dataset fake has five an epoch.
_FAKE_EPOCHS, _CIFAR_EPOCHS, _ITERATIONS = 20, 2, 300
_WORKERS = ("--workers", "8")  # the most that `awbench reproduce` takes; without, a GPU waits for its images


@dataclass(frozen=True)
class Way:
    """How runs are trained alike.

    Attributes:
        recipe, changes: as `awbench train` takes them.
        engine: of detectors; "" for the default one.
    """

    dataset: str
    recipe: str
    changes: tuple[str, ...] = ()
    engine: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """The recipe as records hold it."""
        return _identity(self.dataset, self.recipe, self.changes)

    @property
    def batch_size(self) -> int:
        return int(self.identity["batch_size"])


@functools.cache
def _identity(dataset: str, recipe: str, changes: tuple[str, ...]) -> dict[str, Any]:
    load: Any = load_detection_recipe if dataset == "coco" else load_recipe
    return dict(load(recipe, changes).identity())


def default_way(dataset: str) -> Way:
    """The one of `awbench reproduce`; for CIFAR the project's recipe."""
    if dataset == "coco":
        return Way(dataset, default_recipe(dataset))
    if dataset == "imagenet":
        return Way(dataset, IMAGENET_RECIPE, IMAGENET_CHANGES)
    return Way(dataset, CIFAR_RECIPE)


def way_of(record: Record) -> Way | None:
    """The way that makes more runs like a training's; None where no command of ours does."""
    settings, default = record.settings, default_way(record.settings["dataset"])
    default = replace(default, engine=settings.get("engine", ""))
    own = settings.get("skip_bad_images") or record.inputs.get("initial_weights_sha256", "random") != "random"
    if own or not has_default_options(record, ModelOptions()):
        return None
    if settings["recipe"] == default.identity:
        return default
    try:
        plain = replace(default, recipe=str(settings["recipe"].get("name")), changes=())
        way = replace(plain, changes=tuple(_changes(plain.identity, settings["recipe"])))
        return way if way.identity == settings["recipe"] else None
    except UserError:  # of a recipe that is not the project's, or not as it was
        return None


def _changes(recipe: dict[str, Any], wanted: dict[str, Any], section: str = "") -> Iterator[str]:
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(recipe.get(name), dict):
            yield from _changes(recipe[name], value, f"{section}{name}.")
        elif recipe.get(name) != value:
            yield f"{section}{name}={json.dumps(value)}"


def sweep_words(networks: Sequence[str], seeds: Sequence[int], way: Way, processes: int = 1) -> list[str]:
    """The command that makes the runs; folders are words in capitals, for the reader to replace."""
    words = ["awbench", "sweep", *networks, "--seeds", *map(str, seeds), "--dataset", way.dataset]
    words += ["--data", f"{way.dataset.upper()}_DIR", "--recipes", way.recipe, *_change_words(way.changes)]
    if parse_variant(networks[0]).task == "detection":
        words += ["--engine", way.engine] if way.engine else []
        words += ["--backbones", "BACKBONES_DIR"]
    return [*words, *_WORKERS, *(["--processes", str(processes)] if processes > 1 else [])]


def measure_words(network: str, way: Way, device: str = "") -> list[str]:
    """The short training that measures how fast a network trains in that way.

    Args:
        device: "cpu" or "cuda"; "" for what `awbench train` chooses.
    """
    words = ["awbench", "train", network, "--recipe", way.recipe, *_change_words(way.changes)]
    if way.dataset == "imagenet":
        words += ["--dataset", "fake", "--set", f"epochs={_FAKE_EPOCHS}"]
    else:
        length = f"iterations={_ITERATIONS}" if way.dataset == "coco" else f"epochs={_CIFAR_EPOCHS}"
        words += ["--dataset", way.dataset, "--data", f"{way.dataset.upper()}_DIR", "--set", length]
    variant = parse_variant(network)
    if variant.task == "detection":  # weights without AW do for the speed
        weights = classification_name(variant.architecture_name, variant.attention, aw=False)
        words += ["--engine", way.engine] if way.engine else []
        words += ["--init-weights", f"BACKBONES_DIR/{weights}.pth"]
    return [*words, *(["--device", device] if device else []), *(_WORKERS if device != "cpu" else [])]


def _change_words(changes: Sequence[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]
