"""What a training run costs: hours of one device, from trainings that were timed here or by a source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from awbench.errors import UserError
from awbench.planning.protocols import Way
from awbench.recipes.common import list_recipes
from awbench.recipes.detection import RECIPES as DETECTION_RECIPES
from awbench.recipes.detection import load_detection_recipe
from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.variants import ModelOptions, list_variants, parse_variant
from awbench.verdicts.evidence import ENGINES, has_default_options

_TRAIN_IMAGES = {"imagenet": 1_281_167, "cifar10": 50_000, "cifar100": 50_000}
# Datasets on whose images a step costs the same.
_ALIKE = {"fake": "imagenet", "cifar100": "cifar10"}
# What of a recipe decides the cost of an image, beside the network.
_COSTS = ("size", "input", "sampling", "norm", "freeze_at", "precision", "channels_last")


@dataclass(frozen=True)
class Throughput:
    """How fast a network was trained, without evaluations and checkpoints.

    Attributes:
        recipe: as records hold it.
        device: one of those that trained it; "cpu: " and the model of it where there was no GPU.
        devices: how many there were.
        engine: of a detector.
        seconds_per_image: of one device.
        measured: when, UTC; "" for a published one.
        origin: in words.
    """

    variant: str
    dataset: str
    recipe: dict[str, Any]
    device: str
    devices: int
    engine: str
    seconds_per_image: float
    measured: str
    origin: str

    @property
    def on_cpu(self) -> bool:
        return self.device.startswith("cpu: ")


@dataclass(frozen=True)
class RunCost:
    """Of one training run.

    Attributes:
        hours: of one device; None where unknown.
        at_least: whether they are those of the plain network, which is cheaper.
        origin: of the number, in words; "" where unknown.
        devices: that it was measured on, at once.
    """

    hours: float | None = None
    at_least: bool = False
    origin: str = ""
    devices: int = 1

    @property
    def known(self) -> bool:
        """As it is, not as a bound."""
        return self.hours is not None and not self.at_least


def throughputs(records: Records, references: References) -> list[Throughput]:
    """Every timed training of the records and of the references, of networks with default options."""
    names = {variant.name for variant in list_variants()}
    trainings = [
        record for kind in ("accuracy", "detection") for record in records.of_kind(kind) if record.variant in names
    ]
    return [*filter(None, map(_recorded, trainings)), *_published(references)]


def _recorded(record: Record) -> Throughput | None:
    settings, environment = record.settings, record.environment
    steps = record.values.get("steps" if record.kind == "accuracy" else "iterations")
    if settings.get("origin") != "trained" or not steps or steps.value < 1 or "train_time" not in record.values:
        return None
    on, world = environment.get("training_device"), environment.get("world_size", 1)
    if type(world) is not int or world < 1:
        return None
    seconds = record.value("train_time") * world / (steps.value * settings["recipe"]["batch_size"])
    if seconds <= 0 or on not in ("cuda", "cpu") or not has_default_options(record, ModelOptions()):
        return None
    device = str(environment.get("device")) if on == "cuda" else f"cpu: {environment.get('cpu', 'unknown')}"
    engine, recipe = settings.get("engine", ""), settings["recipe"]
    origin = f"record: {steps.value:,} {steps.unit} of {recipe['batch_size']} images on {settings['dataset']}"
    origin += f", {engine}" if engine else ""
    return Throughput(
        record.variant, settings["dataset"], recipe, device, world, engine, seconds, record.finished, origin
    )


def _published(references: References) -> list[Throughput]:
    """Seconds an iteration of the model zoo, for the schedules that are recipes here."""
    found = []
    for number in references.numbers:
        name = f"detectron2-{number.schedule}"
        count, device = _devices(number.convention.device) if number.metric == "train_time" else (0, "unknown")
        if device == "unknown" or number.network or name not in list_recipes(DETECTION_RECIPES):
            continue
        recipe = load_detection_recipe(name)
        seconds = float(number.value) * number.base_units * count / recipe.batch_size
        origin = f"{number.source}, {number.value} {number.unit} on {number.convention.device}"
        engine = next((name for name in ENGINES if name in number.source), "")
        found.append(Throughput(number.variant, "coco", recipe.identity(), device, count, engine, seconds, "", origin))
    return found


def _devices(words: str) -> tuple[int, str]:
    """E.g. (8, "V100") of "8 V100s"."""
    several = re.fullmatch(r"(\d+) (.+)s", words)
    return (int(several[1]), several[2]) if several else (1, words)


def choose_device(known: Sequence[Throughput], asked: str = "") -> str:
    """The device whose hours are counted: hours of different ones are never added.

    Args:
        asked: a part of its name; "" for the GPU that was measured last, or else the one that a source names.

    Returns:
        Its name; "" where nothing was measured.

    Raises:
        UserError: nothing was measured on what is asked for.
    """
    newest = sorted(known, key=lambda one: one.measured, reverse=True)
    fitting = [one for one in newest if (asked.lower() in one.device.lower() if asked else not one.on_cpu)]
    if asked and not fitting:
        have = ", ".join(dict.fromkeys(one.device for one in newest)) or "none"
        raise UserError(f"--device {asked}: no training was timed on it; those that have measurements: {have}")
    return fitting[0].device if fitting else ""


def cost_of_run(network: str, way: Way, known: Iterable[Throughput], device: str) -> RunCost:
    """Of a run of that network in that way on that device; of the plain network where only that was measured."""
    on_device = [one for one in known if one.device == device and _costs_alike(one, way)]
    for name in dict.fromkeys((network, parse_variant(network).plain)):
        fitting = [one for one in on_device if one.variant == name]
        if fitting:
            best = max(fitting, key=lambda one: (bool(one.measured), _nearness(one, way), one.measured))
            hours = best.seconds_per_image * images_of_run(way) / 3600
            return RunCost(hours, name != network, best.origin, best.devices)
    return RunCost()


def images_of_run(way: Way) -> int:
    """Training images that a run computes, each as often as it does."""
    recipe = way.identity
    if way.dataset == "coco":
        return int(recipe["iterations"] * recipe["batch_size"])
    return int(recipe["epochs"]) * _TRAIN_IMAGES[way.dataset]


def _costs_alike(one: Throughput, way: Way) -> bool:
    datasets = [_ALIKE.get(name, name) for name in (one.dataset, way.dataset)]
    if one.engine and way.engine and one.engine != way.engine:
        return False
    return datasets[0] == datasets[1] and _cost_settings(one.recipe) == _cost_settings(way.identity)


def _cost_settings(recipe: dict[str, Any]) -> dict[str, Any]:
    flat = {**recipe, **recipe.get("augmentation", {})}
    return {name: flat.get(name) for name in _COSTS}


def _nearness(one: Throughput, way: Way) -> int:
    """2 for runs of that very way; 1 where the dataset and the batch are the same; else 0."""
    if one.dataset != way.dataset:
        return 0
    return 2 if one.recipe == way.identity else int(one.recipe["batch_size"] == way.batch_size)
