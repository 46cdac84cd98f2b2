"""What a detection engine is: it builds a Faster R-CNN around our backbone, and speaks its library's formats."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from awbench.data.detection_views import DetectionSample
from awbench.data.pixels import Pixels
from awbench.detection.backbone import Norm
from awbench.errors import UserError, suggestion
from awbench.models.resnet import ResNet
from awbench.recipes.defaults import ENGINES
from awbench.recipes.detection import ENGINE_SAMPLING, Sampling
from awbench.variants import ModelOptions, Variant


@dataclass(frozen=True)
class Detector:
    """A Faster R-CNN FPN to build.

    Attributes:
        variant, options: of the detector and its backbone.
        category_ids: of the dataset, rising; ids may have gaps.
        pixels: what the backbone's weights expect.
        norm, freeze_at: as in `awbench.detection.backbone.make_body`.
        sampling: how many regions an image has.
    """

    variant: Variant
    options: ModelOptions
    category_ids: tuple[int, ...]
    pixels: Pixels
    norm: Norm = "frozen"
    freeze_at: int = 2
    sampling: Sampling = ENGINE_SAMPLING


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: (n, 4) float32, x1 y1 x2 y2 in pixels of the file's image.
        scores: (n,) float32, 0..1.
        categories: (n,) int64, category ids.
    """

    boxes: Tensor
    scores: Tensor
    categories: Tensor


class Engine(Protocol):
    """One library's Faster R-CNN."""

    name: str

    def version(self) -> str:
        """Of the library, for records."""

    def build(self, detector: Detector) -> tuple[nn.Module, ResNet]:
        """(the detector, its backbone), on the current default device, with fresh weights."""

    def losses(self, model: nn.Module, detector: Detector, samples: Sequence[DetectionSample]) -> dict[str, Tensor]:
        """The terms of the loss, by the library's names. The model is in training mode, maybe wrapped by DDP."""

    def infer(self, model: nn.Module, detector: Detector, samples: Sequence[DetectionSample]) -> Any:
        """What the network finds, at most 100 objects an image, on its device and in its image's pixels.

        The model is in evaluation mode.
        """

    def post_process(self, found: Any, detector: Detector, samples: Sequence[DetectionSample]) -> list[Detections]:
        """What `infer` returned, in pixels of the file's image, on the CPU."""

    def proposal_layers(self, model: nn.Module) -> tuple[nn.Module, list[nn.Module]]:
        """(the module with `nms_thresh`, the last layers of its head)."""

    def counted(self, model: nn.Module) -> CountedDetector:
        """The parts of a detector that do multiply-accumulates."""


class CountedDetector(nn.Module):
    """One forward pass at a fixed number of proposals, so that its cost does not depend on the image's content.

    Args:
        backbone: (1, 3, H, W) -> feature maps by name, pyramid included.
        rpn_head: list of those feature maps -> anything.
        box_head: (P, 256, 7, 7) -> (P, 1024).
        box_predictor: (P, 1024) -> anything.
    """

    def __init__(self, backbone: nn.Module, rpn_head: nn.Module, box_head: nn.Module, box_predictor: nn.Module) -> None:
        super().__init__()
        self.backbone, self.rpn_head = backbone, rpn_head
        self.box_head, self.box_predictor = box_head, box_predictor

    def forward(self, image: Tensor, proposals: int) -> Tensor:
        """Args: image (1, 3, H, W); proposals, P. Returns: its heads' outputs in one vector."""
        features = list(self.backbone(image).values())
        regions = features[0].new_zeros(proposals, features[0].shape[1], 7, 7)
        heads = self.rpn_head(features), self.box_predictor(self.box_head(regions))
        return torch.cat([tensor.flatten() for tensor in _tensors(heads)])


def _tensors(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else [tensor for output in outputs for tensor in _tensors(output)]


def detect(
    engine: Engine, model: nn.Module, detector: Detector, samples: Sequence[DetectionSample]
) -> list[Detections]:
    """At most 100 objects an image. The model is in evaluation mode."""
    return engine.post_process(engine.infer(model, detector, samples), detector, samples)


def fix_proposals(engine: Engine, model: nn.Module) -> None:
    """Give every network the same regions, as many as there may be: anchors as they are, none suppressed."""
    proposals, last_layers = engine.proposal_layers(model)
    proposals.nms_thresh = 1.0  # type: ignore[assignment]  # a number there
    for layer in last_layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)


def find_engine(name: str | None = None) -> Engine:
    """An engine by its name; None for Detectron2 where it is installed, else torchvision.

    Raises:
        UserError: no such engine, or Detectron2 is asked for and not installed.
    """
    if name is None:
        name = "detectron2" if has_detectron2() else "torchvision"
    if name not in ENGINES:
        raise UserError(f"engine {name!r} is not known{suggestion(name, ENGINES)} Known: {', '.join(ENGINES)}.")
    if name == "detectron2" and not has_detectron2():
        raise UserError("engine detectron2 is not installed here: run 'make detectron2', or use --engine torchvision")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of libraries, on import, about what torch will drop
        try:
            engine: Engine = importlib.import_module(f"awbench.detection.{name}").ENGINE
        except ImportError as error:  # built for another torch, say
            raise UserError(
                f"engine {name} is installed but cannot be imported ({error}); run 'make {name}' again, "
                "or use --engine torchvision"
            ) from None
    return engine


def has_detectron2() -> bool:
    return importlib.util.find_spec("detectron2") is not None


def network_input(sample: DetectionSample, pixels: Pixels, device: torch.device) -> Tensor:
    """The image as (3, H, W) float32 of 0..255 in the order that the weights expect."""
    image = sample.image.to(device, non_blocking=True)
    return (image.flip(0) if pixels.order == "BGR" else image).float()
