"""torchvision's Faster R-CNN around our backbone.

Its own conventions are kept: labels are category ids with 0 for the background (91 outputs for COCO, as its
released weights have), 2,000 proposals in training, two samples a bin in RoI pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

from awbench.data.detection_views import DetectionSample
from awbench.detection.backbone import channels, make_body
from awbench.detection.engine import CountedDetector, Detections, Detector, network_input
from awbench.errors import UserError
from awbench.models.resnet import ResNet

_PYRAMID_CHANNELS = 256
_LARGEST_ID = 10_000


class _Normalise(GeneralizedRCNNTransform):
    """torchvision's normalisation and padding; the data is already resized, the same way for every engine."""

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        return image, target


class _Pyramid(BackboneWithFPN):
    """Our network under torchvision's pyramid; torchvision would run its children by their order instead."""

    def __init__(self, body: ResNet) -> None:
        returned = {name: str(index) for index, name in enumerate(body.stage_names)}
        super().__init__(body, returned, channels(body), _PYRAMID_CHANNELS)
        self.body = body

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features: dict[str, Tensor] = self.fpn({str(i): feature for i, feature in enumerate(self.body.stages(x))})
        return features


class Torchvision:
    """See `awbench.detection.engine.Engine`."""

    name = "torchvision"

    def version(self) -> str:
        return ".".join(torchvision.__version__.split(".")[:2])  # patch releases do not change results

    def build(self, detector: Detector) -> tuple[nn.Module, ResNet]:
        first, last = detector.category_ids[0], detector.category_ids[-1]
        if first < 1 or last > _LARGEST_ID:
            raise UserError(
                f"category ids go from {first} to {last}; torchvision's labels are category ids, 0 its background: "
                f"renumber them within 1 to {_LARGEST_ID}, or use --engine detectron2"
            )
        body = make_body(detector.variant, detector.options, detector.norm, detector.freeze_at)
        sampling = {
            "rpn_batch_size_per_image": detector.sampling.anchors,
            "box_batch_size_per_image": detector.sampling.regions,
            "rpn_post_nms_top_n_train": detector.sampling.train_proposals,
            "rpn_post_nms_top_n_test": detector.sampling.test_proposals,
        }
        given = {name: value for name, value in sampling.items() if value is not None}
        model = FasterRCNN(_Pyramid(body), num_classes=detector.category_ids[-1] + 1, **given)
        model.transform = _Normalise(0, 0, list(detector.pixels.mean), list(detector.pixels.std))
        return model, body

    def losses(self, model: nn.Module, detector: Detector, samples: Sequence[DetectionSample]) -> dict[str, Tensor]:
        device = next(model.parameters()).device
        images = [network_input(sample, detector.pixels, device) for sample in samples]
        targets = [{"boxes": sample.boxes.to(device), "labels": sample.categories.to(device)} for sample in samples]
        losses: dict[str, Tensor] = model(images, targets)
        return losses

    def infer(self, model: nn.Module, detector: Detector, samples: Sequence[DetectionSample]) -> Any:
        device = next(model.parameters()).device
        return model([network_input(sample, detector.pixels, device) for sample in samples])

    def post_process(self, found: Any, detector: Detector, samples: Sequence[DetectionSample]) -> list[Detections]:
        return [
            Detections(
                resize_boxes(result["boxes"], list(sample.image.shape[-2:]), list(sample.original_size)).float().cpu(),
                result["scores"].float().cpu(),
                result["labels"].cpu(),
            )
            for sample, result in zip(samples, found, strict=True)
        ]

    def proposal_layers(self, model: nn.Module) -> tuple[nn.Module, list[nn.Module]]:
        rpn: Any = model.rpn
        return rpn, [rpn.head.cls_logits, rpn.head.bbox_pred]

    def counted(self, model: nn.Module) -> CountedDetector:
        assert isinstance(model, FasterRCNN) and isinstance(model.roi_heads, RoIHeads)
        heads: Any = model.roi_heads
        return CountedDetector(model.backbone, model.rpn.head, heads.box_head, heads.box_predictor)


ENGINE = Torchvision()
