"""How a published number was obtained; "unknown" where the source does not say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from awbench.validation import Strict

StatedPlacement = Literal["v1", "v1.5", "unknown"]
Layer = Literal["convolution", "linear", "convolution_bias", "normalisation", "activation", "pooling"]
Unknown = Literal["unknown"]
Pixels = Annotated[int, Field(ge=1, strict=True)]


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

    stride_placement: StatedPlacement
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
    stride_placement: StatedPlacement
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
