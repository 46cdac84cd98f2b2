"""Exact complexity of a detector, at a stated image size and number of proposals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from awbench.data.detection_datasets import COCO_CATEGORY_IDS
from awbench.data.pixels import IMAGENET_RGB
from awbench.detection.engine import CountedDetector, Detector, Engine
from awbench.errors import UserError
from awbench.measure.complexity import LARGEST_IMAGE, Complexity, WithoutRandomNumbers, count, cross_checked
from awbench.variants import ModelOptions, Variant

# 80 categories, whose ids go to 90: Detectron2 needs 80 outputs, torchvision 91.
COCO_IDS = tuple(sorted(COCO_CATEGORY_IDS))
_DIVISIBLE = 32


@dataclass(frozen=True)
class DetectorInput:
    """What a detector is counted at. The default is a 4:3 image under Detectron2's test sizes, padded.

    Attributes:
        height, width: of the padded image, in pixels, multiples of 32.
        proposals: regions that go through the box head.
    """

    height: int = 800
    width: int = 1088
    proposals: int = 1000

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if value % _DIVISIBLE or not 0 < value <= LARGEST_IMAGE:
                raise UserError(
                    f"image {name} {value} does not fit a detector, which pads to multiples of {_DIVISIBLE}; "
                    f"use e.g. {max(_DIVISIBLE, min(round(value / _DIVISIBLE) * _DIVISIBLE, LARGEST_IMAGE))}"
                )
        if not 1 <= self.proposals <= 10**5:
            raise UserError(f"{self.proposals} proposals make no sense; use 1 to 100000 (1000 is usual)")


@dataclass(frozen=True)
class DetectorComplexity:
    """The counts of a detector for one image.

    Attributes:
        complexity: of the whole detector; RoI pooling, non-maximum suppression and the like do no
            multiply-accumulates of convolutions and linear layers.
        trainable_params: those that the freezing leaves.
    """

    complexity: Complexity
    trainable_params: int


def measure_detector_complexity(
    variant: Variant,
    options: ModelOptions,
    engine: Engine,
    at: DetectorInput,
    cross_check: bool = False,
) -> DetectorComplexity:
    """Count a detector of COCO's categories as the model zoos train it: frozen norms, stem and first stage frozen.

    Args:
        cross_check: count with fvcore too, on real tensors, and require equality.

    Raises:
        UserError: an option does not fit.
        CounterDisagreement: the counters differ, in a layer that is named.
    """
    detector = Detector(variant, options, COCO_IDS, IMAGENET_RGB)
    with torch.device("meta"):
        model, _ = engine.build(detector)
        counted = _Fixed(engine.counted(model).eval(), at.proposals)
        complexity = count(counted, torch.empty(1, 3, at.height, at.width))
    params = sum(parameter.numel() for parameter in model.parameters())
    assert params == complexity.params, "the counted parts are the whole detector"
    if cross_check:
        with WithoutRandomNumbers():
            real, _ = engine.build(detector)
        real = _Fixed(engine.counted(real).eval(), at.proposals)
        complexity = cross_checked(variant.name, complexity, real, torch.zeros(1, 3, at.height, at.width))
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return DetectorComplexity(complexity, trainable)


class _Fixed(nn.Module):
    """A counted detector as a function of the image alone."""

    def __init__(self, detector: CountedDetector, proposals: int) -> None:
        super().__init__()
        self.detector, self.proposals = detector, proposals

    def forward(self, image: Tensor) -> Tensor:
        return self.detector(image, self.proposals)
