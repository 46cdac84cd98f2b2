"""The form of a file in `reference_results/`: published numbers, each with where and how it was read."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from awbench.errors import UserError, suggestion
from awbench.validation import Strict
from awbench.variants import list_variants, parse_variant

Standing = Literal["primary", "secondary", "recalled"]
StridePlacement = Literal["v1", "v1.5", "unknown"]
Layer = Literal["convolution", "linear", "convolution_bias", "normalisation", "activation", "pooling"]
Unknown = Literal["unknown"]
Pixels = Annotated[int, Field(ge=1, strict=True)]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A quantity that sources publish.

    Attributes:
        kind: the table it belongs to, and the convention that must be stated with it.
        units: unit -> how many base units (the first one's) it is.
    """

    kind: str
    units: dict[str, int]


METRICS: dict[str, Metric] = {
    "params": Metric("complexity", {"parameters": 1, "M parameters": 10**6}),
    "trainable_params": Metric("complexity", {"parameters": 1}),
    "macs": Metric("complexity", {"MAC": 1, "GMAC": 10**9}),
    "top1": Metric("accuracy", {"percent": 1}),
    "top5": Metric("accuracy", {"percent": 1}),
    "top1_error": Metric("accuracy", {"percent": 1}),
    "top5_error": Metric("accuracy", {"percent": 1}),
    "box_ap": Metric("detection", {"AP points": 1}),
    "ap50": Metric("detection", {"AP points": 1}),
    "ap75": Metric("detection", {"AP points": 1}),
    "ap_small": Metric("detection", {"AP points": 1}),
    "ap_medium": Metric("detection", {"AP points": 1}),
    "ap_large": Metric("detection", {"AP points": 1}),
    "train_time": Metric("latency", {"s/iteration": 1}),
    "inference_time": Metric("latency", {"s/image": 1}),
    "train_memory": Metric("latency", {"GB": 1}),
    "throughput": Metric("latency", {"images/s": 1}),
}


# What a claim's words for its data are called here; runs on anything else are no evidence for it.
CLAIM_DATASETS = {
    "ImageNet-1k val": "imagenet",
    "CIFAR-10 test": "cifar10",
    "CIFAR-100 test": "cifar100",
    "COCO val2017": "coco",
}
SETTINGS = frozenset(variant.setting for variant in list_variants())


def _check_metric(metric: str, unit: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not known{suggestion(metric, METRICS)} Known: {', '.join(METRICS)}")
    units = METRICS[metric].units
    if unit not in units:
        raise ValueError(f"unit {unit!r} does not fit {metric}; use {' or '.join(units)}")


def _check_url(url: str) -> None:
    if not re.fullmatch(r"https://[^\s\"'<>\\\\]+", url):
        raise ValueError(f"url {url!r} must begin with https:// and be a plain address")


def _refuse_control_characters(value: Any) -> None:
    """What neither a table nor a picture can show: control characters, halves of surrogate pairs."""
    if isinstance(value, str):
        for character in value:
            if unicodedata.category(character) in ("Cc", "Cs") and character != "\n":
                raise ValueError(f"text {value[:40]!r} has the control character {character!r}; remove it")
    elif isinstance(value, dict):
        for one in value.values():
            _refuse_control_characters(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            _refuse_control_characters(one)


def _check_dataset(name: str) -> None:
    if name not in CLAIM_DATASETS:
        known = ", ".join(CLAIM_DATASETS)
        raise ValueError(f"dataset {name!r} is not known{suggestion(name, CLAIM_DATASETS)} Known: {known}")


def _check_variant(name: str) -> None:
    try:
        parse_variant(name)
    except UserError as error:
        raise ValueError(str(error)) from None


class ComplexityConvention(Strict):
    """How a source counts.

    Attributes:
        stride_placement: of bottleneck networks, in what the source counted.
        image_size: pixels a side.
        engine: of a detector, the library whose Faster R-CNN was counted; "" for classifiers.
        proposals: regions of a detector's box head.
        operation: "mac", or "flop" where a multiply-accumulate is printed as two.
        layers: layers counted -> operations for each multiply-accumulate (convolution, linear),
            output element (convolution_bias) or input element (the others).
    """

    stride_placement: StridePlacement
    image_size: Pixels | Unknown
    engine: Literal["", "detectron2", "torchvision"] = ""
    proposals: Annotated[int, Field(ge=0)] = 0
    operation: Literal["mac", "flop"]
    layers: dict[Layer, Annotated[int, Field(ge=1)]]

    @model_validator(mode="after")
    def _check(self) -> ComplexityConvention:
        if self.layers.get("convolution") is None or self.layers.get("convolution") != self.layers.get("linear"):
            raise ValueError("layers must count convolution and linear, both with the same weight")
        return self


class AccuracyConvention(Strict):
    """How accuracy was evaluated; "unknown" where the source does not say."""

    dataset: str
    stride_placement: StridePlacement
    crop: Pixels | Unknown
    resize: Pixels | Unknown
    crops: int | Unknown


class DetectionConvention(Strict):
    """What detection numbers were measured on; "unknown" where the source does not say."""

    dataset: str
    detector: str


class LatencyConvention(Strict):
    """What speed was measured on; "unknown" where the source does not say."""

    device: str
    batch_size: int | Unknown
    dtype: str
    image_size: Pixels | Unknown
    layout: str = "unknown"
    software: str = "unknown"


class Conventions(Strict):
    """One convention a kind of metric."""

    complexity: ComplexityConvention | None = None
    accuracy: AccuracyConvention | None = None
    detection: DetectionConvention | None = None
    latency: LatencyConvention | None = None


class Number(Strict):
    """One published number. Whatever is left out of the optional fields holds as the source states it.

    Attributes:
        variant: the network, by its name here; one the suite does not build says so in `network`.
        value: as printed: trailing zeros are kept and count as printed digits.
        weights, schedule: which of several published trainings.
        conventions: where this number's differ from the source's.
    """

    variant: str
    metric: str
    value: Decimal
    unit: str
    weights: str = ""
    schedule: str = ""
    standing: Standing | None = None
    url: str | None = None
    note: str = ""
    network: str = ""
    conventions: Conventions = Conventions()

    @model_validator(mode="after")
    def _check(self) -> Number:
        _check_metric(self.metric, self.unit)
        if not self.network:
            _check_variant(self.variant)
        if not self.value.is_finite() or not Decimal("1e-9") <= self.value <= Decimal("1e15"):
            raise ValueError(f"value {self.value} of {self.metric} must be a positive number between 1e-9 and 1e15")
        if int(self.value.as_tuple().exponent) < -12:
            raise ValueError(f"value {self.value} of {self.metric} has more than 12 decimals")
        if self.unit in ("percent", "AP points") and self.value > 100:
            raise ValueError(f"value {self.value} of {self.metric} is above 100 {self.unit}")
        if self.url is not None:
            _check_url(self.url)
        return self


class Claim(Strict):
    """A published difference between a variant and its baseline.

    Attributes:
        variant, over: a variant's name, or an attention setting ("aw_se" over "se") of any depth; pairwise.
        dataset: a key of CLAIM_DATASETS.
        delta: the stated gain, in `unit`.
        margin: how far from it a gain still counts as it, in `unit`; half of it where none is given (chosen).
        relation: "equal", or "up_to" for the best of several.
    """

    id: str
    metric: str
    unit: str
    variant: str | list[str]
    over: str | list[str]
    delta: Decimal
    margin: Annotated[Decimal, Field(gt=0)] | None = None
    relation: Literal["equal", "up_to"]
    dataset: str
    text: str
    standing: Standing | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Claim:
        _check_metric(self.metric, self.unit.replace("percentage points", "percent"))
        sides = [[side] if isinstance(side, str) else side for side in (self.variant, self.over)]
        if len(sides[0]) != len(sides[1]) or not sides[0]:
            raise ValueError(f"variant names {len(sides[0])} and over {len(sides[1])}; a claim is about pairs")
        kind = METRICS[self.metric].kind
        if kind not in ("accuracy", "detection") or self.metric.endswith("_error"):
            raise ValueError(f"metric {self.metric!r} does not fit a claim; use top1, top5, box_ap or another AP")
        task = "classification" if kind == "accuracy" else "detection"
        for name in (*sides[0], *sides[1]):
            if name in SETTINGS:
                continue
            _check_variant(name)
            if parse_variant(name).task != task:
                raise ValueError(f"{name} is not a {task} variant; {self.metric} is measured of those")
        _check_dataset(self.dataset)
        if (kind == "detection") != (CLAIM_DATASETS[self.dataset] == "coco"):
            raise ValueError(f"{self.metric} is not measured on {self.dataset}")
        family = {"cifar10": "cifar", "cifar100": "cifar"}.get(CLAIM_DATASETS[self.dataset], "imagenet")
        for name in (*sides[0], *sides[1]):
            if name not in SETTINGS and parse_variant(name).architecture.family != family:
                raise ValueError(f"{name} is not a network for {self.dataset}")
        pairs = list(zip(*sides, strict=True))
        if len(set(pairs)) < len(pairs) or any(variant == over for variant, over in pairs):
            raise ValueError("a pair stands twice, or is a network over itself; a claim is about different networks")
        if abs(self.delta) > 100 or (self.margin or 0) > 100:
            raise ValueError(f"delta {self.delta} and margin {self.margin or 'none'} must be at most 100 {self.unit}")
        if self.delta == 0 and self.margin is None:
            raise ValueError("delta 0 has no half to take for a margin; add margin: how far from 0 still counts as 0")
        if self.url is not None:
            _check_url(self.url)
        return self


class Statement(Strict):
    """A statement of a source that no number decides, kept beside the claims that numbers can."""

    id: str
    text: str


class Scatter(Strict):
    """How far runs of one recipe lie apart, or what difference a source tolerates.

    Attributes:
        of: what is repeated: the evaluation of the same weights, or the training.
        dataset: a key of CLAIM_DATASETS; runs on another scatter otherwise.
    """

    what: str
    of: Literal["evaluation", "training"]
    dataset: str
    metric: str
    unit: str
    published: Decimal | None = None
    reruns: list[Decimal] = []
    tolerance: Decimal | None = None
    standing: Standing
    url: str

    @model_validator(mode="after")
    def _check(self) -> Scatter:
        _check_metric(self.metric, self.unit)
        _check_dataset(self.dataset)
        if not self.reruns and self.tolerance is None:
            raise ValueError("give reruns or tolerance")
        return self


class Source(Strict):
    """One file: one publication or repository.

    Attributes:
        standing: holds for every number and claim that does not state its own.
        unknown: what of it nobody here could read; to be removed when its numbers are entered.
        recipe: the training recipe the source states, as it states it.
        recipes_here: its weights, or "" for all its numbers -> the recipe of ours that trains so.
    """

    schema_version: Literal[1]
    id: str
    title: str
    url: str
    read_from: str
    standing: Standing | None = None
    commit: str = ""
    note: str = ""
    conventions: Conventions = Conventions()
    unknown: str = ""
    numbers: list[Number] = []
    claims: list[Claim] = []
    statements: list[Statement] = []
    scatter: list[Scatter] = []
    recipe: dict[str, Any] = {}
    recipes_here: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> Source:
        _check_url(self.url)
        _refuse_control_characters(self.model_dump(mode="python"))
        for index, number in enumerate(self.numbers):
            where = f"numbers[{index}] ({number.variant} {number.metric} {number.value})"
            if number.standing is None and self.standing is None:
                raise ValueError(f"{where} has no standing; add standing: primary, secondary or recalled")
            kind = METRICS[number.metric].kind
            if getattr(number.conventions, kind) is None and getattr(self.conventions, kind) is None:
                raise ValueError(f"{where} has no convention; add conventions: {kind}: to it or to the source")
        seen: set[tuple[str, ...]] = set()
        for number in self.numbers:
            identity = (number.variant, number.metric, number.weights, number.schedule)
            if identity in seen:
                raise ValueError(f"{number.variant} {number.metric} is given twice; keep one, or name its weights")
            seen.add(identity)
        for claim in self.claims:
            if claim.standing is None and self.standing is None:
                raise ValueError(f"claim {claim.id} has no standing; add standing: primary, secondary or recalled")
        return self
