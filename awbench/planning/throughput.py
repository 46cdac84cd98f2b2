"""What a training run costs: hours of one device, from trainings that were timed here or by a source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from awbench.errors import UserError
from awbench.planning.protocols import TrainingProtocol
from awbench.recipes.common import list_recipes
from awbench.recipes.datasets import DATASET_FACTS
from awbench.recipes.defaults import ENGINES
from awbench.recipes.detection import RECIPES as DETECTION_RECIPES
from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining, Training
from awbench.reference.load import References
from awbench.variants import list_variants, parse_variant
from awbench.verdicts.protocol import has_default_options, recipe_identity

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
    if not isinstance(settings, Training) or not steps or steps.value < 1 or "train_time" not in record.values:
        return None
    device, processes = environment.get("training_device"), environment.get("world_size", 1)
    if device not in ("cuda", "cpu") or type(processes) is not int or processes < 1 or not has_default_options(record):
        return None
    seconds = record.value("train_time") * processes / (steps.value * settings.recipe.batch_size)
    if seconds <= 0:
        return None
    engine = settings.engine if isinstance(settings, DetectorTraining) else ""
    origin = f"record: {steps.value:,} {steps.unit} of {settings.recipe.batch_size} images on {settings.dataset}"
    return Throughput(
        variant=record.variant,
        dataset=settings.dataset,
        recipe=settings.recipe.json_object,
        device=str(environment.get("device")) if device == "cuda" else f"cpu: {environment.get('cpu', 'unknown')}",
        devices=processes,
        engine=engine,
        seconds_per_image=seconds,
        measured=record.finished,
        origin=f"{origin}, {engine}" if engine else origin,
    )


def _published(references: References) -> list[Throughput]:
    """Seconds an iteration of the model zoo, for the schedules that are recipes here."""
    found, recipes = [], list_recipes(DETECTION_RECIPES)
    for number in references.numbers:
        name = f"detectron2-{number.schedule}"
        if number.metric != "train_time" or number.network or name not in recipes:
            continue
        count, device = _devices(number.convention.device)
        if device == "unknown":
            continue
        recipe = recipe_identity("detection", name)
        found.append(
            Throughput(
                variant=number.variant,
                dataset="coco",
                recipe=recipe,
                device=device,
                devices=count,
                engine=next((engine for engine in ENGINES if engine in number.source), ""),
                seconds_per_image=float(number.value) * number.base_units * count / recipe["batch_size"],
                measured="",
                origin=f"{number.source}, {number.value} {number.unit} on {number.convention.device}",
            )
        )
    return found


def _devices(words: str) -> tuple[int, str]:
    """E.g. (8, "V100") of "8 V100s"."""
    several = re.fullmatch(r"(\d+) (.+)s", words)
    return (int(several[1]), several[2]) if several else (1, words)


def choose_device(known: Iterable[Throughput], asked: str = "") -> str:
    """The device whose hours are counted: hours of different ones are never added.

    Args:
        asked: a part of its name; "" for the GPU that was measured last, or else the one that a source names.

    Returns:
        Its name; "" where nothing was measured.

    Raises:
        UserError: nothing was measured on what is asked for.
    """
    newest = sorted(known, key=lambda timed: timed.measured, reverse=True)
    fitting = [timed for timed in newest if (asked.lower() in timed.device.lower() if asked else not timed.on_cpu)]
    if asked and not fitting:
        have = ", ".join(dict.fromkeys(timed.device for timed in newest)) or "none"
        raise UserError(f"--device {asked}: no training was timed on it; those that have measurements: {have}")
    return fitting[0].device if fitting else ""


def cost_of_run(network: str, protocol: TrainingProtocol, known: Sequence[Throughput], device: str) -> RunCost:
    """Of a run of that network by that protocol on that device; of the plain network where only that was measured."""
    for name in dict.fromkeys((network, parse_variant(network).plain)):
        of_network = [timed for timed in known if timed.variant == name and timed.device == device]
        fitting = [timed for timed in of_network if _costs_alike(timed, protocol)]
        if fitting:
            best = max(fitting, key=lambda timed: (bool(timed.measured), _nearness(timed, protocol), timed.measured))
            hours = best.seconds_per_image * images_of_run(protocol) / 3600
            return RunCost(hours, name != network, best.origin, best.devices)
    return RunCost()


def images_of_run(protocol: TrainingProtocol) -> int:
    """Training images that a run computes, each as often as it does."""
    recipe = protocol.identity
    if protocol.dataset == "coco":
        return int(recipe["iterations"] * recipe["batch_size"])
    return int(recipe["epochs"]) * DATASET_FACTS[protocol.dataset].train_images


def _costs_alike(timed: Throughput, protocol: TrainingProtocol) -> bool:
    datasets = [_ALIKE.get(name, name) for name in (timed.dataset, protocol.dataset)]
    if timed.engine and protocol.engine and timed.engine != protocol.engine:
        return False
    return datasets[0] == datasets[1] and _cost_settings(timed.recipe) == _cost_settings(protocol.identity)


def _cost_settings(recipe: dict[str, Any]) -> dict[str, Any]:
    flat = {**recipe, **recipe.get("augmentation", {})}
    return {name: flat.get(name) for name in _COSTS}


def _nearness(timed: Throughput, protocol: TrainingProtocol) -> int:
    """2 for runs by that very protocol; 1 where the dataset and the batch are the same; else 0."""
    if timed.dataset != protocol.dataset:
        return 0
    return 2 if timed.recipe == protocol.identity else int(timed.recipe["batch_size"] == protocol.batch_size)
