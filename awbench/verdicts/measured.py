"""Which records measured what was published: the very weights, or trainings by the same recipe. And the proxies'."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from awbench.recipes import PROTOCOLS
from awbench.recipes.datasets import DATASET_FACTS
from awbench.recipes.defaults import ENGINES
from awbench.records import Record, Records
from awbench.records.settings import (
    ClassifierTraining,
    ClassifierWeights,
    DetectorTraining,
    DetectorWeights,
)
from awbench.reference.load import ReferenceNumber
from awbench.reference.metrics import CLAIM_DATASETS
from awbench.variants import ModelOptions, Task, list_variants
from awbench.verdicts.index import records_of
from awbench.verdicts.protocol import has_default_options, is_training, own_placement, recipe_identity
from awbench.verdicts.runs import by_seed

IMAGENET_VAL_IMAGES = DATASET_FACTS["imagenet"].val_images
# How fast a run computes, not what: the published recipes do not state them.
_ARITHMETIC = ("precision", "channels_last")
# torchvision's file names end in the first digits of their sha256.
_PUBLISHED_SHA256 = {"COCO_V1": "258fb6c6"}


@dataclass(frozen=True)
class Evidence:
    """What was measured of a published accuracy or AP.

    Attributes:
        origin: "weights", the published ones evaluated here; "trained", by the same recipe.
        values: in the number's own metric and unit, one a run.
        data: what it was evaluated on, in words.
        records: keys of the records, one a value.
    """

    origin: Literal["weights", "trained"]
    values: tuple[float, ...]
    data: str
    records: tuple[str, ...] = ()


Measured = Evidence  # for report, until it is renamed there


def measured(records: Records, number: ReferenceNumber) -> Evidence | None:
    """What records say of a published accuracy or AP; None where it was not measured."""
    if number.network or number.kind not in ("accuracy", "detection"):
        return None
    find = _accuracy if number.kind == "accuracy" else _detection
    return find(number, records_of(records, number.kind, number.variant))


def _accuracy(number: ReferenceNumber, records: Iterable[Record]) -> Evidence | None:
    """On all of ImageNet's validation images; a subset is another number."""
    if CLAIM_DATASETS.get(number.dataset, "imagenet") != "imagenet":
        return None
    metric = number.metric.removesuffix("_error")
    whole = [
        record
        for record in records
        if isinstance(record.settings, ClassifierTraining | ClassifierWeights)
        and record.settings.dataset == "imagenet"
        and record.value("images") == IMAGENET_VAL_IMAGES
        and metric in record.values
    ]

    def value(record: Record) -> float:
        return 100 - record.value(metric) if metric != number.metric else record.value(metric)

    evaluated = [record for record in whole if _is_evaluation_of(record, number)]
    trained = [record for record in whole if _is_training_of(record, number)]
    return _evidence(evaluated, trained, value)


def _is_evaluation_of(record: Record, number: ReferenceNumber) -> bool:
    settings, stated = record.settings, number.convention
    return (
        isinstance(settings, ClassifierWeights)
        and bool(number.weights)
        and settings.weights == number.weights
        and stated.resize in ("unknown", settings.evaluation.resize)
        and stated.crop in ("unknown", settings.evaluation.crop)
    )


def _is_training_of(record: Record, number: ReferenceNumber) -> bool:
    if not number.recipe_here or record.inputs.get("initial_weights_sha256") != "random":
        return False
    stated = number.convention.stride_placement
    recipe = recipe_identity("classification", number.recipe_here)
    return (
        isinstance(record.settings, ClassifierTraining)
        and is_training(record, "imagenet")
        and _same_but_arithmetic(record.settings.recipe.json_object, recipe)
        and has_default_options(record, ModelOptions(stride_placement="v1.5" if stated == "unknown" else stated))
    )


def _same_but_arithmetic(recipe: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(recipe.get(name) == value for name, value in other.items() if name not in _ARITHMETIC)


def _detection(number: ReferenceNumber, records: Iterable[Record]) -> Evidence | None:
    """On all of COCO, by the engine that the source names."""
    engine = next((engine for engine in ENGINES if engine in number.convention.detector.lower()), None)
    whole = [
        record
        for record in records
        if isinstance(record.settings, DetectorTraining | DetectorWeights)
        and record.settings.dataset == "coco"
        and record.settings.complete
        and record.settings.protocol == PROTOCOLS["detection"]
        and record.settings.engine == engine
        and number.metric in record.values
    ]
    evaluated = [record for record in whole if _are_published(record, number)]
    trained = [record for record in whole if _follows_schedule(record, number)]
    return _evidence(evaluated, trained, lambda record: record.value(number.metric))


def _are_published(record: Record, number: ReferenceNumber) -> bool:
    """Whether a record evaluated the very weights whose number was published, at the sizes of the model zoos."""
    settings = record.settings
    if not isinstance(settings, DetectorWeights) or not number.weights:
        return False
    named = settings.weights == number.weights
    hashed = record.inputs.get("weights_sha256", "").startswith(_PUBLISHED_SHA256.get(number.weights, "none"))
    return (named or hashed) and (settings.input.test, settings.input.test_max) == (800, 1333)


def _follows_schedule(record: Record, number: ReferenceNumber) -> bool:
    """Whether a detector was trained by the published schedule, from given weights of its backbone."""
    return (
        bool(number.schedule)
        and isinstance(record.settings, DetectorTraining)
        and is_training(record, "coco", recipe_identity("detection", f"detectron2-{number.schedule}"))
        and record.inputs.get("backbone_weights_sha256", "random") != "random"
        and has_default_options(record, own_placement(record))
    )


def _evidence(evaluated: list[Record], trained: list[Record], value: Callable[[Record], float]) -> Evidence | None:
    """The newest evaluation of the published weights, or else the newest training with each seed."""
    if evaluated:
        newest = max(evaluated, key=lambda record: record.finished)
        data = newest.notes[0] if newest.notes else ""
        return Evidence("weights", (float(value(newest)),), data, (newest.key,))
    runs = by_seed(trained).values()
    if not runs:
        return None
    return Evidence("trained", tuple(float(value(run)) for run in runs), "", tuple(run.key for run in runs))


def digits_runs(records: Records) -> list[Record]:
    """Runs on digits by the proxy's recipe as it stands, of networks with default options."""
    return _proxy_runs(records, "classification", "digits", "digits-quick")


def shapes_runs(records: Records) -> list[Record]:
    """Runs on procedural shapes by the proxy's recipe as it stands, of detectors with default options."""
    return [
        record
        for record in _proxy_runs(records, "detection", "shapes", "shapes-quick")
        if record.inputs.get("val_sha256") == DATASET_FACTS["shapes"].val_sha256
        and record.inputs.get("backbone_weights_sha256") == "random"
    ]


def _proxy_runs(records: Records, task: Task, dataset: str, recipe_name: str) -> list[Record]:
    known = {variant.name for variant in list_variants(task)}
    recipe = recipe_identity(task, recipe_name)
    return [
        record
        for record in records.of_kind("detection" if task == "detection" else "accuracy")
        if record.variant in known and is_training(record, dataset, recipe) and has_default_options(record)
    ]
