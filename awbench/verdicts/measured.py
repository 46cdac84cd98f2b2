"""Which records measured what was published: the very weights, or trainings by the same recipe. And the proxies'.

A record is held to a number only where all is as published that can move it. What was meant for the number and is not
alike is left aside with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from awbench.recipes import PROTOCOLS
from awbench.recipes.datasets import DATASET_FACTS
from awbench.records import Record, Records
from awbench.records.settings import (
    ClassifierTraining,
    ClassifierWeights,
    DetectorTraining,
    DetectorWeights,
    GivenWeights,
    Training,
)
from awbench.reference.load import ReferenceNumber
from awbench.reference.metrics import CLAIM_DATASETS
from awbench.variants import ModelOptions, Task, list_variants, parse_variant
from awbench.verdicts.evidence import (
    difference,
    images_left_out,
    other_platform,
    platform_of,
    shown_count,
    trained_on_validation_images,
    trained_weights,
    unknown_platform,
)
from awbench.verdicts.protocol import has_default_options, is_training, recipe_identity
from awbench.verdicts.runs import first_to_last, impossible

IMAGENET_VAL_IMAGES = DATASET_FACTS["imagenet"].val_images
KINDS = ("accuracy", "detection")
# How fast a run computes, not what: the published recipes do not state them.
_ARITHMETIC = ("precision", "channels_last")
_SCHEDULES = ("1x", "3x")  # of Detectron2, that are recipes here
# Whose ImageNet weights a backbone started from, by the layout of their file.
_BACKBONES = {"caffe2": "MSRA", "torchvision": "torchvision", "awbench": "an ImageNet training of ours"}


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


@dataclass(frozen=True)
class Measured:
    """What records say of a published number.

    Attributes:
        evidence: None where nothing can be held to it.
        not_comparable: why records that were meant for it are not, each reason once.
    """

    evidence: Evidence | None = None
    not_comparable: tuple[str, ...] = ()


def measured(records: Records, number: ReferenceNumber) -> Measured:
    """The newest evaluation of the published weights; or else the first training with each seed, as in studies."""
    if number.network or number.kind not in KINDS:
        return Measured()
    metric = number.metric.removesuffix("_error")
    evaluated: list[Record] = []
    trained: dict[int, Record] = {}  # by seed
    reasons: list[str] = []
    weights: set[str] = set()
    platform: dict[str, str] = {}
    for record in first_to_last(records.of_network(number.kind, number.variant)):
        settings = record.settings
        if not isinstance(settings, GivenWeights | Training) or metric not in record.values:
            continue
        if settings.dataset != dataset_of(number) or not _is_meant_for(number, record):
            continue
        if reason := next(_reasons(number, record), ""):
            reasons.append(reason)
        elif isinstance(settings, GivenWeights):
            evaluated.append(record)
        elif other := other_platform(record, platform := platform or platform_of(record), "the first run"):
            reasons.append(other)
        elif trained_weights(record) not in weights and settings.seed not in trained:
            trained[settings.seed] = record
            weights.add(trained_weights(record))
    evidence = _evidence(number, metric, evaluated, [run for _, run in sorted(trained.items())])
    return Measured(evidence, () if evidence else tuple(dict.fromkeys(reasons)))


def _evidence(number: ReferenceNumber, metric: str, evaluated: list[Record], trained: list[Record]) -> Evidence | None:
    def value(record: Record) -> float:
        return 100 - float(record.value(metric)) if metric != number.metric else float(record.value(metric))

    if evaluated:
        newest = evaluated[-1]
        return Evidence("weights", (value(newest),), newest.notes[0] if newest.notes else "", (newest.key,))
    keys = tuple(run.key for run in trained)
    return Evidence("trained", tuple(map(value, trained)), "", keys) if trained else None


def dataset_of(number: ReferenceNumber) -> str:
    """By its name in records; "" where it has none."""
    return CLAIM_DATASETS.get(number.dataset, "")


def engine_of(number: ReferenceNumber) -> str:
    """The library that a detector was published with; "" for classifiers, and for libraries that are not used here."""
    return str(getattr(number.convention, "engine", "")) if number.kind == "detection" else ""


def recipe_of(number: ReferenceNumber) -> str:
    """The recipe here by which the published network was trained; "" where there is none."""
    if number.kind == "accuracy":
        return number.recipe_here
    known = engine_of(number) == "detectron2" and number.schedule in _SCHEDULES
    return f"detectron2-{number.schedule}" if known else ""


def stated_placement(number: ReferenceNumber) -> str:
    """Where the published network has its strides, or "unknown"; those without bottlenecks have no choice."""
    if parse_variant(number.variant).architecture.block != "bottleneck":
        return "v1.5"
    return str(number.convention.stride_placement)


def _is_meant_for(number: ReferenceNumber, record: Record) -> bool:
    """Whether a record evaluated the published weights, or a file of that name; or was trained by that recipe."""
    settings = record.settings
    if isinstance(settings, Training):
        return bool(recipe_of(number)) and settings.recipe.name == recipe_of(number)
    assert isinstance(settings, GivenWeights)
    named = bool(number.weights) and settings.weights == number.weights
    return named or (bool(number.weights_sha256) and _sha256(record).startswith(number.weights_sha256))


def _sha256(record: Record) -> str:
    return record.inputs.get("weights_sha256", "")


def _reasons(number: ReferenceNumber, record: Record) -> Iterator[str]:
    """Why a record cannot be held to a number that it was meant for."""
    settings = record.settings
    yield from impossible(record, number.metric.removesuffix("_error"))
    yield from _data_reasons(number, record)
    if isinstance(settings, DetectorWeights | DetectorTraining):
        if settings.protocol != PROTOCOLS["detection"]:
            yield f"protocol {settings.protocol} of the detection code, now {PROTOCOLS['detection']}"
        yield from _other("engine", settings.engine, engine_of(number) or "unknown")
    if isinstance(settings, GivenWeights):
        yield from _weights_reasons(number, record, settings)
    else:
        yield from _training_reasons(number, record)
    placement = stated_placement(number)
    if placement == "unknown" and isinstance(settings, GivenWeights):
        yield "where the strides of the published network are is not stated"
    own = record.options["stride_placement"]
    yield from _other("stride placement", own, own if placement == "unknown" else placement)
    if not has_default_options(record, ModelOptions(stride_placement=own)):
        yield "the network has other options than the default ones"


def _data_reasons(number: ReferenceNumber, record: Record) -> Iterator[str]:
    facts, images = DATASET_FACTS[dataset_of(number)], record.values.get("images")
    if images is None or images.value != facts.val_images:
        count = shown_count(images.value if images else None)
        yield f"evaluated on {count} of {facts.val_images:,} images"
    if isinstance(record.settings, DetectorWeights | DetectorTraining) and not record.settings.complete:
        yield "not the complete dataset"
    if left_out := images_left_out(record):
        yield f"{left_out} images could not be decoded and were left out"


def _weights_reasons(number: ReferenceNumber, record: Record, settings: GivenWeights) -> Iterator[str]:
    digest = number.weights_sha256
    if not digest:
        yield f"the digest of {number.weights} is not known"
    elif not _sha256(record).startswith(digest):
        yield f"{settings.weights} has sha256 {_sha256(record)[:8] or 'unknown'}, the published file {digest[:8]}"
    if settings.precision != "float32":
        yield f"evaluated in {settings.precision or 'an unknown precision'}, published in float32"
    if isinstance(settings, ClassifierWeights):
        for name in ("resize", "crop"):
            published = getattr(number.convention, name)
            if published == "unknown":
                yield f"the source does not state its {name}"
            yield from _other(name, getattr(settings.evaluation, name), published)
        interpolation = getattr(number.convention, "interpolation", "unknown")
        if interpolation != "unknown":
            yield from _other("interpolation", settings.evaluation.interpolation, interpolation)
    if isinstance(settings, DetectorWeights):
        own = {"test_input": (settings.input.test, settings.input.test_max), "norm": settings.norm}
        for name, value in own.items():
            what, published = name.removeprefix("test_"), getattr(number.convention, name)
            if published == "unknown":
                yield f"the source does not state its {what}"
            yield from _other(what, value, published)
        sampling = settings.json_object.get("sampling") or {}
        if any(value is not None for value in sampling.values()):
            yield "another number of proposals than the engine's own"


def _training_reasons(number: ReferenceNumber, record: Record) -> Iterator[str]:
    settings = record.settings
    assert isinstance(settings, Training), "measured gives trainings and given weights alone"
    if settings.protocol != PROTOCOLS[record.kind]:
        yield f"protocol {settings.protocol} of the training code, now {PROTOCOLS[record.kind]}"
    yield from unknown_platform(record)
    yield from trained_on_validation_images(record)
    recipe = recipe_identity("detection" if number.kind == "detection" else "classification", recipe_of(number))
    own = settings.recipe.json_object
    if other := difference({**own, **{name: recipe[name] for name in _ARITHMETIC}}, recipe):
        yield f"recipe: {other}"
    facts, train_images = DATASET_FACTS[dataset_of(number)], record.environment.get("train_images")
    if train_images != facts.train_images:
        count = shown_count(train_images)
        yield f"trained on {count} of {facts.train_images:,} images"
    if isinstance(settings, ClassifierTraining):
        if record.inputs.get("initial_weights_sha256") != "random":
            yield "began from given weights"
        evaluation = settings.json_object.get("evaluation") or {}
        if other := difference(evaluation, recipe["evaluation"]):
            yield f"evaluation: {other}"
        for name in ("resize", "crop"):
            stated = getattr(number.convention, name)
            yield from _other(name, evaluation.get(name), evaluation.get(name) if stated == "unknown" else stated)
    else:
        wanted, backbone = number.convention.pre_training, _backbone(record)
        if wanted == "unknown":
            yield "the source does not state from which weights its backbone started"
        if backbone != wanted:
            yield f"published from {wanted} weights, this backbone is {backbone}"


def _backbone(record: Record) -> str:
    """Whose weights a detector's backbone started from, by the layout of their file."""
    if record.inputs.get("backbone_weights_sha256", "random") == "random":
        return "from random weights"
    layouts = [found[1] for note in record.notes if (found := re.match(r"backbone from .*, layout (\S+)$", note))]
    return _BACKBONES.get(layouts[0], layouts[0]) if layouts else "of unknown origin"


def _other(what: str, own: Any, published: Any) -> Iterator[str]:
    if own != published:
        yield f"{what} is {own}, published with {published}"


def digits_runs(records: Records) -> list[Record]:
    """Runs on digits by the proxy's recipe as it stands, of networks with default options."""
    return _proxy_runs(records, "classification", "digits", "digits-quick")


def digits_detection_runs(records: Records) -> list[Record]:
    """Runs on digits to detect by the proxy's recipe as it stands, of detectors with default options."""
    return [
        record
        for record in _proxy_runs(records, "detection", "digits-detection", "digits-detection")
        if record.inputs.get("val_sha256") == DATASET_FACTS["digits-detection"].val_sha256
        and record.inputs.get("backbone_weights_sha256", "random") != "random"
    ]


def _proxy_runs(records: Records, task: Task, dataset: str, recipe_name: str) -> list[Record]:
    known = {variant.name for variant in list_variants(task)}
    recipe = recipe_identity(task, recipe_name)
    return [
        record
        for record in records.of_kind("detection" if task == "detection" else "accuracy")
        if record.variant in known and is_training(record, dataset, recipe) and has_default_options(record)
    ]
