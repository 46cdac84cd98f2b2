"""How the runs of a claim are trained, and the commands that make them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from awbench.errors import UserError
from awbench.recipes import CIFAR_RECIPE, IMAGENET_CHANGES, IMAGENET_RECIPE, default_recipe
from awbench.records import Record
from awbench.records.settings import DetectorTraining, Training
from awbench.variants import classification_name, parse_variant
from awbench.verdicts.protocol import has_default_options, recipe_identity

# So many steps that the first ones, which are slow on a GPU, weigh little; dataset fake has five an epoch.
_FAKE_EPOCHS, _CIFAR_EPOCHS, _ITERATIONS = 20, 2, 300
_WORKERS = ("--workers", "8")  # the most that `awbench reproduce` takes; without, a GPU waits for its images


@dataclass(frozen=True, order=True)
class TrainingProtocol:
    """What runs share that differ by their seeds alone.

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
        """The recipe as records hold it; not to be changed."""
        return recipe_identity("detection" if self.dataset == "coco" else "classification", self.recipe, self.changes)

    @property
    def batch_size(self) -> int:
        return int(self.identity["batch_size"])


def default_protocol(dataset: str) -> TrainingProtocol:
    """The one of `awbench reproduce`; for CIFAR the project's recipe."""
    if dataset == "coco":
        return TrainingProtocol(dataset, default_recipe("detection", dataset))
    if dataset == "imagenet":
        return TrainingProtocol(dataset, IMAGENET_RECIPE, IMAGENET_CHANGES)
    return TrainingProtocol(dataset, CIFAR_RECIPE)


def protocol_of(record: Record) -> TrainingProtocol | None:
    """The protocol that makes more runs like a training's; None where no command of ours does."""
    settings = record.settings
    if not isinstance(settings, Training) or settings.skip_bad_images or not has_default_options(record):
        return None
    if record.inputs.get("initial_weights_sha256", "random") != "random":
        return None
    engine = settings.engine if isinstance(settings, DetectorTraining) else ""
    default, recorded = replace(default_protocol(settings.dataset), engine=engine), settings.recipe.json_object
    if recorded == default.identity:
        return default
    try:
        unchanged = replace(default, recipe=settings.recipe.name, changes=())
        changed = replace(unchanged, changes=tuple(_changes(unchanged.identity, recorded)))
        return changed if changed.identity == recorded else None
    except UserError:  # of a recipe that is not the project's, or not as it was
        return None


def _changes(recipe: dict[str, Any], wanted: dict[str, Any], section: str = "") -> Iterator[str]:
    """What `--set` takes to make one recipe of the other."""
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(recipe.get(name), dict):
            yield from _changes(recipe[name], value, f"{section}{name}.")
        elif recipe.get(name) != value:
            yield f"{section}{name}={json.dumps(value)}"


def sweep_argv(
    networks: Sequence[str], seeds: Sequence[int], protocol: TrainingProtocol, processes: int = 1
) -> list[str]:
    """The command that makes the runs; folders are in capitals, for the reader to replace."""
    argv = ["awbench", "sweep", *networks, "--seeds", *map(str, seeds), "--dataset", protocol.dataset]
    argv += ["--data", _data_folder(protocol), "--recipes", protocol.recipe, *_set_argv(protocol.changes)]
    if parse_variant(networks[0]).task == "detection":
        argv += ["--engine", protocol.engine] if protocol.engine else []
        argv += ["--backbones", "BACKBONES_DIR"]
    return [*argv, *_WORKERS, *(["--processes", str(processes)] if processes > 1 else [])]


def measure_argv(network: str, protocol: TrainingProtocol, device: str = "") -> list[str]:
    """The short training that measures how fast a network trains by that protocol.

    Args:
        device: "cpu" or "cuda"; "" for what `awbench train` chooses.
    """
    argv = ["awbench", "train", network, "--recipe", protocol.recipe, *_set_argv(protocol.changes)]
    if protocol.dataset == "imagenet":
        argv += ["--dataset", "fake", "--set", f"epochs={_FAKE_EPOCHS}"]
    else:
        length = f"iterations={_ITERATIONS}" if protocol.dataset == "coco" else f"epochs={_CIFAR_EPOCHS}"
        argv += ["--dataset", protocol.dataset, "--data", _data_folder(protocol), "--set", length]
    variant = parse_variant(network)
    if variant.task == "detection":  # weights without AW do for the speed
        weights = classification_name(variant.architecture_name, variant.attention, aw=False)
        argv += ["--engine", protocol.engine] if protocol.engine else []
        argv += ["--init-weights", f"BACKBONES_DIR/{weights}.pth"]
    return [*argv, *(["--device", device] if device else []), *(_WORKERS if device != "cpu" else [])]


def _data_folder(protocol: TrainingProtocol) -> str:
    return f"{protocol.dataset.upper()}_DIR"


def _set_argv(changes: Sequence[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


# For report, until they are renamed there.
Way = TrainingProtocol
sweep_words, measure_words = sweep_argv, measure_argv
