"""Detectron2's Faster R-CNN around our backbone: the one file that meets Detectron2.

Importing it registers two backbones, so that any Detectron2 configuration can use our networks:

    from detectron2.config import get_cfg
    from awbench.detection.detectron2 import add_awbench_config
    cfg = get_cfg()
    add_awbench_config(cfg)
    cfg.merge_from_file(...)
    cfg.MODEL.BACKBONE.NAME = "build_awbench_resnet_fpn_backbone"
    cfg.MODEL.AWBENCH.VARIANT = "aw_resnet50"

FREEZE_AT, RESNETS.NORM ("FrozenBN" or "BN"), RESNETS.STRIDE_IN_1X1 and RESNETS.OUT_FEATURES mean what they mean there.
"""

from __future__ import annotations

import importlib.metadata
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import detectron2
import numpy as np
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone, build_model
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from awbench.data.detection_views import DetectionSample
from awbench.detection.backbone import STRIDES, channels, freeze, make_body
from awbench.detection.engine import CountedDetector, Detections, Detector, network_input
from awbench.errors import UserError
from awbench.models.resnet import ResNet
from awbench.variants import make_options, parse_variant

# Detectron2's anchors ask for it at every step, and no user of ours can do anything about it.
warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)

_FEATURES = ("res2", "res3", "res4", "res5")
_NORMS = {"frozen": "FrozenBN", "batch": "BN"}


class ResNetBackbone(Backbone):
    """Our ResNet as Detectron2 sees a backbone.

    Args:
        body: as `make_body` makes it.
        out_features: some of res2 to res5.
    """

    def __init__(self, body: ResNet, out_features: Sequence[str] = _FEATURES) -> None:
        super().__init__()
        self.body = body
        self._out_features = list(out_features)
        self._out_feature_channels = dict(zip(_FEATURES, channels(body), strict=True))
        self._out_feature_strides = dict(zip(_FEATURES, STRIDES, strict=True))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> feature maps by name, at 1/4 to 1/32."""
        features = zip(_FEATURES, self.body.stages(x), strict=True)
        return {name: feature for name, feature in features if name in self._out_features}

    def freeze(self, freeze_at: int = 0) -> nn.Module:
        """As Detectron2's ResNet.freeze: the first stages, and their normalisations."""
        freeze(self.body, "batch", freeze_at)
        return self


def add_awbench_config(cfg: Any) -> None:
    """Add MODEL.AWBENCH to a Detectron2 configuration: the variant, and options as in `awbench.build`."""
    cfg.MODEL.AWBENCH = CfgNode({"VARIANT": "resnet50"})
    cfg.MODEL.AWBENCH.AW_OPTIONS = CfgNode(new_allowed=True)
    cfg.MODEL.AWBENCH.ATTENTION_OPTIONS = CfgNode(new_allowed=True)
    cfg.MODEL.AWBENCH.CONVOLUTION_OPTIONS = CfgNode(new_allowed=True)


@BACKBONE_REGISTRY.register()
def build_awbench_resnet_backbone(cfg: Any, input_shape: ShapeSpec) -> ResNetBackbone:
    """A backbone from MODEL.AWBENCH, MODEL.RESNETS and MODEL.BACKBONE.FREEZE_AT.

    Raises:
        UserError: no such variant, or a normalisation that has no counterpart here.
    """
    norm = cfg.MODEL.RESNETS.NORM
    if norm not in _NORMS.values():
        raise UserError(f"MODEL.RESNETS.NORM {norm!r} is not known here; use {' or '.join(_NORMS.values())}")
    options = make_options(
        stride_placement="v1" if cfg.MODEL.RESNETS.STRIDE_IN_1X1 else "v1.5",
        aw_options=dict(cfg.MODEL.AWBENCH.AW_OPTIONS),
        attention_options=dict(cfg.MODEL.AWBENCH.ATTENTION_OPTIONS),
        convolution_options=dict(cfg.MODEL.AWBENCH.CONVOLUTION_OPTIONS),
    )
    variant = parse_variant(cfg.MODEL.AWBENCH.VARIANT, "classification")
    body = make_body(variant, options, "frozen" if norm == "FrozenBN" else "batch", cfg.MODEL.BACKBONE.FREEZE_AT)
    return ResNetBackbone(body, cfg.MODEL.RESNETS.OUT_FEATURES)


@BACKBONE_REGISTRY.register()
def build_awbench_resnet_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """The same under Detectron2's feature pyramid."""
    return FPN(
        bottom_up=build_awbench_resnet_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


def configuration(detector: Detector) -> Any:
    """The Detectron2 configuration of a detector: Base-RCNN-FPN, with our backbone.

    Written out, because a Detectron2 that runs from its source folder does not have its model zoo's files.
    """
    aw, options = detector.options.aw, detector.options
    cfg = get_cfg()
    add_awbench_config(cfg)
    cfg.MODEL.DEVICE = str(torch.get_default_device())
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg.MODEL.BACKBONE.NAME = "build_awbench_resnet_fpn_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = detector.freeze_at
    cfg.MODEL.AWBENCH.VARIANT = detector.variant.backbone
    if detector.variant.aw:
        values = {**aw.layer_arguments(), "convolutions": aw.convolutions, "stages": list(aw.stages)}
        cfg.MODEL.AWBENCH.AW_OPTIONS = CfgNode({**values, "expansion": aw.expansion or "none"}, new_allowed=True)
    cfg.MODEL.AWBENCH.ATTENTION_OPTIONS = CfgNode(dict(options.attention_options), new_allowed=True)
    cfg.MODEL.AWBENCH.CONVOLUTION_OPTIONS = CfgNode(dict(options.convolution_options), new_allowed=True)
    cfg.MODEL.RESNETS.DEPTH = detector.variant.architecture.depth
    cfg.MODEL.RESNETS.OUT_FEATURES = list(_FEATURES)
    cfg.MODEL.RESNETS.NORM = _NORMS[detector.norm]
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = options.stride_placement == "v1"
    cfg.MODEL.FPN.IN_FEATURES = list(_FEATURES)
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.RPN.PRE_NMS_TOPK_TRAIN, cfg.MODEL.RPN.PRE_NMS_TOPK_TEST = 2000, 1000
    sampling = detector.sampling
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = sampling.train_proposals or 1000
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = sampling.test_proposals or 1000
    cfg.MODEL.RPN.BATCH_SIZE_PER_IMAGE = sampling.anchors or 256
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = sampling.regions or 512
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(detector.category_ids)
    cfg.MODEL.ROI_BOX_HEAD.NAME, cfg.MODEL.ROI_BOX_HEAD.NUM_FC = "FastRCNNConvFCHead", 2
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    cfg.MODEL.MASK_ON = False
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = list(detector.pixels.mean), list(detector.pixels.std)
    cfg.INPUT.FORMAT = detector.pixels.order
    return cfg


class Detectron2:
    """See `awbench.detection.engine.Engine`."""

    name = "detectron2"

    def version(self) -> str:
        try:  # `make detectron2` builds a version that names the commit
            return importlib.metadata.version("detectron2")
        except importlib.metadata.PackageNotFoundError:  # run from its source folder
            return str(detectron2.__version__)

    def build(self, detector: Detector) -> tuple[nn.Module, ResNet]:
        logging.getLogger("detectron2").setLevel(logging.WARNING)
        model = build_model(configuration(detector))
        return model, model.backbone.bottom_up.body

    def losses(self, model: nn.Module, detector: Detector, samples: Sequence[DetectionSample]) -> dict[str, Tensor]:
        device = next(model.parameters()).device
        with EventStorage():  # its heads log there; our loop keeps its own log
            losses: dict[str, Tensor] = model([self._input(sample, detector, device) for sample in samples])
        return losses

    def infer(self, model: nn.Module, detector: Detector, samples: Sequence[DetectionSample]) -> Any:
        network: Any = model
        device = next(model.parameters()).device
        return network.inference([self._input(s, detector, device) for s in samples], do_postprocess=False)

    def post_process(self, found: Any, detector: Detector, samples: Sequence[DetectionSample]) -> list[Detections]:
        category_ids = torch.tensor(detector.category_ids)
        rescaled = [
            detector_postprocess(instances, *sample.original_size)
            for instances, sample in zip(found, samples, strict=True)
        ]
        return [
            Detections(
                instances.pred_boxes.tensor.float().cpu(),
                instances.scores.float().cpu(),
                category_ids[instances.pred_classes.cpu()],
            )
            for instances in rescaled
        ]

    def proposal_layers(self, model: nn.Module) -> tuple[nn.Module, list[nn.Module]]:
        generator: Any = model.proposal_generator
        return generator, [generator.rpn_head.objectness_logits, generator.rpn_head.anchor_deltas]

    def counted(self, model: nn.Module) -> CountedDetector:
        inner: Any = model
        heads = inner.roi_heads
        return CountedDetector(inner.backbone, inner.proposal_generator.rpn_head, heads.box_head, heads.box_predictor)

    def _input(self, sample: DetectionSample, detector: Detector, device: torch.device) -> dict[str, Any]:
        height, width = sample.image.shape[-2:]
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(sample.boxes)
        classes = np.searchsorted(detector.category_ids, sample.categories.numpy())
        instances.gt_classes = torch.from_numpy(classes)
        return {
            "image": network_input(sample, detector.pixels, device),
            "instances": instances,
            "height": sample.original_size[0],
            "width": sample.original_size[1],
        }


ENGINE = Detectron2()
