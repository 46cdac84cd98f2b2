"""Which records measured what was published: the very weights, or trainings by the same recipe. And the proxies'."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from awbench.recipes import PROTOCOLS, load_detection_recipe, load_recipe
from awbench.recipes.defaults import SHAPES_VAL_SHA256
from awbench.records import Record, Records
from awbench.reference.load import ReferenceNumber
from awbench.variants import ModelOptions, describe_options, list_variants, parse_variant

ENGINES = ("detectron2", "torchvision")
IMAGENET_VAL_IMAGES = 50_000
# How fast a run computes, not what: the published recipes do not state them.
_ARITHMETIC = ("precision", "channels_last")
# torchvision's file names end in the first digits of their sha256.
_PUBLISHED_SHA256 = {"COCO_V1": "258fb6c6"}


@dataclass(frozen=True)
class Measured:
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


def measured(records: Records, number: ReferenceNumber) -> Measured | None:
    """What records say of a published accuracy or AP; None where it was not measured."""
    if number.network or number.kind not in ("accuracy", "detection"):
        return None
    find = _accuracy if number.kind == "accuracy" else _detection
    return find(number, [record for record in records.of_kind(number.kind) if record.variant == number.variant])


def _accuracy(number: ReferenceNumber, records: list[Record]) -> Measured | None:
    """On all of ImageNet's validation images; a subset is another number."""
    error = number.metric.endswith("_error")
    metric = number.metric.removesuffix("_error")
    whole = [
        record
        for record in records
        if record.settings["dataset"] == "imagenet"
        and record.value("images") == IMAGENET_VAL_IMAGES
        and metric in record.values
    ]
    evaluated = [r for r in whole if r.settings["origin"] == "weights" and _is_evaluation_of(r, number)]
    trained = [r for r in whole if r.settings["origin"] == "trained" and _is_training_of(r, number)]
    return _measured(number, evaluated, trained, lambda r: 100 - r.value(metric) if error else r.value(metric))


def _is_evaluation_of(record: Record, number: ReferenceNumber) -> bool:
    at, stated = record.settings["evaluation"], number.convention
    same = all(stated_size in ("unknown", at[name]) for name, stated_size in vars(stated).items() if name in at)
    return bool(number.weights) and record.settings["weights"] == number.weights and same


def _is_training_of(record: Record, number: ReferenceNumber) -> bool:
    if not number.recipe_here or record.inputs["initial_weights_sha256"] != "random":
        return False
    recipe = load_recipe(number.recipe_here).identity()
    placement = number.convention.stride_placement
    return (
        _same_but_arithmetic(record.settings["recipe"], recipe)
        and record.settings["protocol"] == PROTOCOLS["accuracy"]
        and has_default_options(record, ModelOptions(stride_placement="v1.5" if placement == "unknown" else placement))
    )


def _same_but_arithmetic(recipe: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(recipe.get(name) == value for name, value in other.items() if name not in _ARITHMETIC)


def _detection(number: ReferenceNumber, records: list[Record]) -> Measured | None:
    engine = next((engine for engine in ENGINES if engine in number.convention.detector.lower()), None)
    whole = [
        record
        for record in records
        if record.settings["dataset"] == "coco"
        and record.settings.get("complete")
        and record.settings.get("protocol") == PROTOCOLS["detection"]
        and record.settings.get("engine") == engine
        and number.metric in record.values
    ]
    evaluated = [record for record in whole if _are_published(record, number)]
    trained = [
        record
        for record in whole
        if number.schedule
        and record.settings["origin"] == "trained"
        and record.settings["recipe"] == load_detection_recipe(f"detectron2-{number.schedule}").identity()
        and record.inputs["backbone_weights_sha256"] != "random"
        and has_default_options(record, ModelOptions(stride_placement=record.options["stride_placement"]))
    ]
    return _measured(number, evaluated, trained, lambda record: record.value(number.metric))


def _are_published(record: Record, number: ReferenceNumber) -> bool:
    """Whether a record evaluated the very weights whose number was published, at the sizes of the model zoos."""
    if record.settings["origin"] != "weights" or not number.weights:
        return False
    named = record.settings["weights"] == number.weights
    hashed = record.inputs["weights_sha256"].startswith(_PUBLISHED_SHA256.get(number.weights, "none"))
    size = record.settings["input"]
    return (named or hashed) and (size["test"], size["test_max"]) == (800, 1333)


def _measured(number: ReferenceNumber, evaluated: list[Record], trained: list[Record], value: Any) -> Measured | None:
    if evaluated:
        newest = max(evaluated, key=lambda record: record.finished)
        data = newest.notes[0] if newest.notes else ""
        return Measured("weights", (float(value(newest)),), data, (newest.key,))
    runs = by_seed(trained)
    if not runs:
        return None
    values = tuple(float(value(record)) for record in runs.values())
    return Measured("trained", values, "", tuple(record.key for record in runs.values()))


def by_seed(records: Iterable[Record]) -> dict[int, Record]:
    """seed -> the newest run of it, in the order of seeds."""
    newest = {int(record.settings["seed"]): record for record in sorted(records, key=lambda r: r.finished)}
    return dict(sorted(newest.items()))


def has_default_options(record: Record, options: ModelOptions) -> bool:
    """Whether the network has default options but for these, and but for its number of classes."""
    classes = record.options["num_classes"]
    return record.options == describe_options(parse_variant(record.variant), replace(options, num_classes=classes))


def digits_runs(records: Records) -> list[Record]:
    """Runs on digits by the proxy's recipe as it stands, of networks with default options."""
    known = {variant.name for variant in list_variants("classification")}
    recipe = load_recipe("digits-quick").identity()
    return [
        record
        for record in records.of_kind("accuracy")
        if record.variant in known
        and record.settings.get("origin") == "trained"
        and record.settings["dataset"] == "digits"
        and record.settings["recipe"] == recipe
        and record.settings["protocol"] == PROTOCOLS["accuracy"]
        and has_default_options(record, ModelOptions())
    ]


def shapes_runs(records: Records) -> list[Record]:
    """Runs on procedural shapes by the proxy's recipe as it stands, of detectors with default options."""
    known = {variant.name for variant in list_variants("detection")}
    recipe = load_detection_recipe("shapes-quick").identity()
    return [
        record
        for record in records.of_kind("detection")
        if record.variant in known
        and record.settings["dataset"] == "shapes"
        and record.settings["origin"] == "trained"
        and record.settings["recipe"] == recipe
        and record.settings.get("protocol") == PROTOCOLS["detection"]
        and record.inputs["val_sha256"] == SHAPES_VAL_SHA256
        and record.inputs["backbone_weights_sha256"] == "random"
        and has_default_options(record, ModelOptions())
    ]
