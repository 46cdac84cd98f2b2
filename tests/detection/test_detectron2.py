"""Our backbone inside the real Detectron2, held to Detectron2's own network and evaluator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from coco_files import make_truth, write_coco

pytest.importorskip("detectron2", reason="Detectron2 is not installed: make detectron2")

from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from awbench.data.detection_datasets import COCO_CATEGORY_IDS, open_detection_split
from awbench.data.detection_views import DetectionSample
from awbench.data.pixels import CAFFE_BGR
from awbench.detection.detectron2 import ENGINE, add_awbench_config, configuration
from awbench.detection.engine import Detector, detect
from awbench.detection.weights import load_detector_weights
from awbench.errors import UserError
from awbench.measure.average_precision import measure_average_precision
from awbench.variants import ModelOptions, make_options, parse_variant

COCO_IDS = tuple(sorted(COCO_CATEGORY_IDS))


def detector(name: str = "faster_rcnn_resnet50_fpn", placement: str = "v1", **changes) -> Detector:
    options = ModelOptions(stride_placement=placement)
    return Detector(parse_variant(name), options, COCO_IDS, CAFFE_BGR, **changes)


def own_network(placement: str):
    """Detectron2's own R50-FPN, with statistics and biases that are not those of a fresh network."""
    cfg = configuration(detector(placement=placement))
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    for name, tensor in model.state_dict().items():
        if "norm." in name:
            values = torch.rand_like(tensor)
            tensor.copy_(values * 0.2 + (0.4 if name.endswith("norm.weight") else 0.9 if "var" in name else -0.1))
    return model


def sample(height: int = 96, width: int = 128) -> DetectionSample:
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, height, width), dtype=np.uint8))
    return DetectionSample(pixels, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 1, (height * 2, width * 2))


@pytest.mark.parametrize("placement", ["v1", "v1.5"])
def test_detectron2s_own_weights_in_our_detector_give_its_features_and_detections(placement, tmp_path):
    theirs = own_network(placement)
    path = tmp_path / "model_final.pth"
    torch.save({"model": theirs.state_dict()}, path)
    built = detector(placement=placement)
    ours, body = ENGINE.build(built)
    ours.eval()
    load_detector_weights(ours, body, path)
    picture = sample()
    with torch.no_grad():
        image = theirs.preprocess_image([{"image": picture.image.flip(0).float()}]).tensor
        for name, feature in theirs.backbone.bottom_up(image).items():
            torch.testing.assert_close(ours.backbone.bottom_up(image)[name], feature, rtol=1e-4, atol=1e-4)
        (expected,) = theirs([{"image": picture.image.flip(0).float(), "height": 192, "width": 256}])
        (found,) = detect(ENGINE, ours, built, [picture])
    instances = expected["instances"]
    assert len(found.scores) == len(instances) > 20  # or there would be nothing to compare
    torch.testing.assert_close(found.boxes, instances.pred_boxes.tensor, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(found.scores, instances.scores, rtol=1e-3, atol=1e-4)
    assert found.categories.tolist() == [COCO_IDS[index] for index in instances.pred_classes]


def test_the_other_stride_placement_gives_other_features(tmp_path):
    theirs = own_network("v1")
    path = tmp_path / "model_final.pth"
    torch.save({"model": theirs.state_dict()}, path)
    ours, body = ENGINE.build(detector(placement="v1.5"))
    load_detector_weights(ours, body, path)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = (m.backbone.bottom_up(image)["res5"] for m in (theirs, ours))
    assert (expected - found).abs().max() > 1e-2


def test_parameter_counts_are_detectron2s_with_its_own_backbone():
    ours, _ = ENGINE.build(detector())
    theirs = own_network("v1")

    def counts(model):
        parameters = list(model.parameters())
        return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)

    assert counts(ours) == counts(theirs) == (41_699_936, 41_477_536)


def test_the_backbone_works_from_any_configuration():
    cfg = get_cfg()
    add_awbench_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "ProposalNetwork"
    cfg.MODEL.BACKBONE.NAME = "build_awbench_resnet_backbone"
    cfg.MODEL.AWBENCH.VARIANT = "aw_se_resnet18"
    cfg.MODEL.AWBENCH.AW_OPTIONS.reduction = 8
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.RPN.IN_FEATURES = ["res4"]
    cfg.MODEL.RESNETS.NORM = "FrozenBN"
    model = build_model(cfg).eval()
    assert model.backbone.body.options.aw.reduction == 8
    (output,) = model([{"image": torch.rand(3, 64, 96) * 255}])
    assert len(output["proposals"]) > 0
    cfg.MODEL.RESNETS.NORM = "SyncBN"
    with pytest.raises(UserError, match="MODEL.RESNETS.NORM 'SyncBN' is not known here; use FrozenBN or BN"):
        build_model(cfg)


def test_freeze_means_what_it_means_there():
    model, body = ENGINE.build(detector("faster_rcnn_aw_cbam_resnet18_fpn", "v1.5", norm="batch", freeze_at=0))
    assert all(p.requires_grad for p in body.parameters())
    model.backbone.bottom_up.freeze(3)
    frozen = {name.split(".")[0] for name, p in body.named_parameters() if not p.requires_grad}
    trained = {name.split(".")[0] for name, p in body.named_parameters() if p.requires_grad}
    assert (frozen, trained) == ({"conv1", "layer1", "layer2"}, {"layer3", "layer4"})


def test_aw_options_reach_the_network():
    options = make_options(aw_options={"expansion": 1, "stages": (3, 4), "residual": False})
    built = Detector(parse_variant("faster_rcnn_aw_resnet18_fpn"), options, COCO_IDS, CAFFE_BGR)
    _, body = ENGINE.build(built)
    assert body.options.aw == options.aw


def test_detectron2s_evaluator_and_ours_give_the_same_ap(tmp_path):
    generator = np.random.default_rng(0)
    objects = [
        (image, category, [*generator.uniform(0, 200, 2).round(2), *generator.uniform(20, side, 2).round(2)])
        for image in range(1, 13)
        for category in (1, 4, 9)
        for side in (30, 90, 250)
    ]
    truth = make_truth(objects, images=range(1, 13))
    directory = tmp_path / "coco"
    write_coco(directory, truth)
    split = open_detection_split("coco", directory, "val")
    evaluator_results, ours = [], []
    ids = list(split.categories)
    for image in split.images:
        count = 12
        boxes = np.concatenate([image.boxes + generator.normal(0, 2, image.boxes.shape), generator.uniform(
            [0, 0, 30, 30], [20, 20, image.width, image.height], (count, 4))]).astype(np.float32)  # fmt: skip
        categories = np.concatenate([image.categories, generator.choice(ids, count)])
        scores = generator.uniform(0, 1, len(boxes)).astype(np.float32)
        instances = Instances((image.height, image.width))
        instances.pred_boxes = Boxes(torch.from_numpy(boxes))
        instances.scores = torch.from_numpy(scores)
        instances.pred_classes = torch.tensor([ids.index(category) for category in categories])
        evaluator_results.append(({"image_id": image.id}, {"instances": instances}))
        ours += [
            {
                "image_id": image.id,
                "category_id": int(category),
                "bbox": [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
                "score": float(score),
            }
            for box, category, score in zip(boxes, categories, scores, strict=True)
        ]
    name = f"awbench-test-{tmp_path.name}"
    register_coco_instances(name, {}, str(split.annotations), str(directory / "val2017"))
    DatasetCatalog.get(name)  # reads the file, and with it the categories' ids
    evaluator = COCOEvaluator(name, tasks=("bbox",), distributed=False, output_dir=None, use_fast_impl=False)
    evaluator.reset()
    for inputs, outputs in evaluator_results:
        evaluator.process([inputs], [outputs])
    theirs = evaluator.evaluate()["bbox"]
    result = measure_average_precision(split.annotations, ours, [image.id for image in split.images])
    assert 5 < result.ap < 95
    assert (result.ap, result.ap50, result.ap75) == (theirs["AP"], theirs["AP50"], theirs["AP75"])
    assert (result.ap_small, result.ap_medium, result.ap_large) == (theirs["APs"], theirs["APm"], theirs["APl"])
