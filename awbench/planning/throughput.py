"""How fast networks train: trainings that were timed here, or by a source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from awbench.recipes.common import list_recipes
from awbench.recipes.defaults import ENGINES
from awbench.recipes.detection import RECIPES as DETECTION_RECIPES
from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining, Training
from awbench.reference.load import References
from awbench.variants import ModelOptions, list_variants
from awbench.verdicts.protocol import default_options, recipe_identity

_PRECISIONS = {"amp": "bfloat16"}


@dataclass(frozen=True)
class Throughput:
    """How fast a network was trained, without evaluations and checkpoints.

    Attributes:
        options: of the network, without its number of classes.
        dataset: whose images it read, or noise of their size.
        recipe: as records hold it; of a published one what is known.
        device: one of those that trained it; "cpu: " and the model of it where there was no GPU.
        engine: of a detector.
        seconds_per_image: of one device.
        measured: when, UTC; "" for a published one.
        origin: in words.
    """

    variant: str
    options: dict[str, Any]
    dataset: str
    recipe: dict[str, Any]
    device: str
    engine: str
    seconds_per_image: float
    measured: str
    origin: str

    @property
    def on_cpu(self) -> bool:
        return self.device.startswith("cpu: ")


def throughputs(records: Records, references: References) -> list[Throughput]:
    """Every timed training of the records and of the references."""
    names = {variant.name for variant in list_variants()}
    trainings = [
        record for kind in ("accuracy", "detection") for record in records.of_kind(kind) if record.variant in names
    ]
    return [*filter(None, map(_recorded, trainings)), *_published(references)]


def without_classes(options: dict[str, Any]) -> dict[str, Any]:
    """They cost nothing that is seen."""
    return {name: value for name, value in options.items() if name != "num_classes"}


def _recorded(record: Record) -> Throughput | None:
    settings, environment = record.settings, record.environment
    steps = record.values.get("steps" if record.kind == "accuracy" else "iterations")
    if not isinstance(settings, Training) or not steps or steps.value < 1:
        return None
    device = environment.get("training_device")
    seconds = (record.process_seconds or 0) / (steps.value * settings.recipe.batch_size)
    if device not in ("cuda", "cpu") or seconds <= 0:
        return None
    engine = settings.engine if isinstance(settings, DetectorTraining) else ""
    origin = f"record: {steps.value:,} {steps.unit} of {settings.recipe.batch_size} images on {settings.dataset}"
    return Throughput(
        variant=record.variant,
        options=without_classes(record.options),
        dataset=settings.dataset,
        recipe=settings.recipe.json_object,
        device=str(environment.get("device")) if device == "cuda" else f"cpu: {environment.get('cpu', 'unknown')}",
        engine=engine,
        seconds_per_image=seconds,
        measured=record.finished,
        origin=f"{origin}, {engine}" if engine else origin,
    )


def _published(references: References) -> Iterator[Throughput]:
    """Images a second in training, and seconds an iteration of detectors by schedules that are recipes here."""
    recipes = list_recipes(DETECTION_RECIPES)
    for number in references.numbers:
        if number.kind != "latency" or number.network or "unknown" in number.convention.device:
            continue
        count, device = _devices(number.convention.device)
        schedule = f"detectron2-{number.schedule}"
        origin = f"{number.source}, {number.value} {number.unit} on {number.convention.device}"
        if number.metric == "train_time" and schedule in recipes:
            recipe = recipe_identity("detection", schedule)
            seconds = float(number.value) * number.base_units * count / recipe["batch_size"]
            engine = next((engine for engine in ENGINES if engine in number.source), "")
            yield _of_source(number.variant, "coco", recipe, device, seconds, origin, engine)
        elif number.metric == "train_images_per_s":
            recipe = {
                "augmentation": {"size": number.convention.image_size},
                "precision": _PRECISIONS.get(number.convention.dtype, number.convention.dtype),
                "channels_last": number.convention.layout in ("NHWC", "channels_last"),
            }
            yield _of_source(number.variant, "imagenet", recipe, device, count / float(number.value), origin)


def _of_source(
    variant: str, dataset: str, recipe: dict[str, Any], device: str, seconds: float, origin: str, engine: str = ""
) -> Throughput:
    options = without_classes(default_options(variant, ModelOptions()))
    return Throughput(variant, options, dataset, recipe, device, engine, seconds, "", origin)


def _devices(words: str) -> tuple[int, str]:
    """E.g. (8, "V100") of "8 V100s"."""
    several = re.fullmatch(r"(\d+) (.+?)s?", words)
    return (int(several[1]), several[2]) if several else (1, words)
