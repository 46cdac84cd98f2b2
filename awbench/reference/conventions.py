"""How a published number was obtained; "unknown" where the source does not say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from awbench.reference.checks import check_dataset
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
        counter: the tool that counted a classifier, where it does more than add up layers, see
            `awbench.verdicts.opcounter`.
        attention_options, convolution_options: of the network that the source counted, as `awbench complexity` takes
            them in `--attention-option` and `--convolution-option`.
        attention_biases: whether the fully connected layers of its SE or CBAM have biases, as they do here.
        norms_trained: of a detector, whether scale and shift of norms are among its trainable parameters where the
            stage is not frozen; here they are fixed.
    """

    stride_placement: StatedPlacement = "unknown"
    image_size: Pixels | Unknown = "unknown"
    engine: Literal["", "detectron2", "torchvision"] = ""
    proposals: Annotated[int, Field(ge=0)] = 0
    operation: Literal["mac", "flop", "unknown"] = "unknown"
    layers: dict[Layer, Annotated[int, Field(ge=1)]] | Unknown = "unknown"
    counter: Literal["", "pytorch-OpCounter"] = ""
    attention_options: dict[str, int | str] = {}
    convolution_options: dict[str, int | str] = {}
    attention_biases: bool = True
    norms_trained: bool = False

    @property
    def counting_is_known(self) -> bool:
        """Whether operations can be counted as the source does."""
        return "unknown" not in (self.stride_placement, self.image_size, self.operation, self.layers)

    @model_validator(mode="after")
    def _check(self) -> ComplexityConvention:
        if self.layers == "unknown":
            return self
        if self.layers.get("convolution") is None or self.layers.get("convolution") != self.layers.get("linear"):
            raise ValueError("layers must count convolution and linear, both with the same weight")
        return self


class AccuracyConvention(Strict):
    """How accuracy was evaluated; "unknown" where the source does not say.

    Attributes:
        dataset: a key of CLAIM_DATASETS.
    """

    dataset: str = "ImageNet-1k val"
    stride_placement: StatedPlacement = "unknown"
    crop: Pixels | Unknown = "unknown"
    resize: Pixels | Unknown = "unknown"
    crops: int | Unknown = "unknown"

    @field_validator("dataset")
    @classmethod
    def _known(cls, dataset: str) -> str:
        check_dataset(dataset)
        return dataset


class DetectionConvention(Strict):
    """What detection numbers were measured on, and of which detectors; "unknown" where the source does not say.

    Attributes:
        engine: the library here that builds the detector as the source does; "" for none.
        stride_placement: of bottlenecks of the backbone.
        pre_training: whose ImageNet weights the backbone started from.
        norm: of the backbone, as recipes name it.
        test_input: pixels of the shorter and the longer side at which it was evaluated.
    """

    dataset: str
    detector: str
    engine: Literal["", "detectron2", "torchvision"] = ""
    stride_placement: StatedPlacement = "unknown"
    pre_training: str = "unknown"
    norm: Literal["frozen", "batch", "unknown"] = "unknown"
    test_input: tuple[Pixels, Pixels] | Unknown = "unknown"


class LatencyConvention(Strict):
    """What speed was measured on; "unknown" where the source does not say."""

    device: str = "unknown"
    batch_size: int | Unknown = "unknown"
    dtype: str = "unknown"
    image_size: Pixels | Unknown = "unknown"
    layout: str = "unknown"
    software: str = "unknown"


class Conventions(Strict):
    """One convention a kind of metric."""

    complexity: ComplexityConvention | None = None
    accuracy: AccuracyConvention | None = None
    detection: DetectionConvention | None = None
    latency: LatencyConvention | None = None
