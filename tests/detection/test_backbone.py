"""Freezing, frozen norms, and the same backbone for both engines."""

from __future__ import annotations

import pytest
import torch
from detection_engines import ENGINES, needs_detectron2
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from awbench.attention import AWConv2d
from awbench.data.pixels import IMAGENET_RGB
from awbench.detection.backbone import channels, make_body
from awbench.detection.complexity import COCO_IDS, DetectorInput, measure_detector_complexity
from awbench.detection.engine import Detector, find_engine
from awbench.errors import UserError
from awbench.gate.locked import LOCKED_VALUES, load_locked
from awbench.models import build
from awbench.variants import ModelOptions, list_variants, parse_variant


def body_of(name: str, **changes):
    settings = {"norm": "frozen", "freeze_at": 2, **changes}
    return make_body(parse_variant(name), ModelOptions(), **settings)


@pytest.mark.parametrize("name", ["resnet50", "aw_cbam_resnet18", "aw_se_resnet50"])
def test_frozen_norms_compute_what_the_networks_own_do_in_evaluation(name):
    torch.manual_seed(0)
    whole = build(name).double().eval()
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    frozen = body_of(name).double()
    state = {key: value for key, value in whole.state_dict().items() if key in frozen.state_dict()}
    frozen.load_state_dict(state)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for ours, theirs in zip(frozen.train().stages(image), whole.stages(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("freeze_at", range(6))
def test_the_attention_branches_are_frozen_with_their_stage(freeze_at):
    body = body_of("aw_cbam_resnet18", norm="batch", freeze_at=freeze_at)
    stages = [("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)]
    for index, stage in enumerate(stages):
        for name in stage:
            module = body.get_submodule(name)
            assert all(p.requires_grad is (index >= freeze_at) for p in module.parameters())
            norms = [m for m in module.modules() if isinstance(m, (nn.BatchNorm2d, FrozenBatchNorm2d))]
            assert all(isinstance(m, FrozenBatchNorm2d) is (index < freeze_at) for m in norms)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["faster_rcnn_aw_resnet18_fpn", "faster_rcnn_aw_se_resnet50_fpn"])
def test_a_detectors_backbone_gives_the_same_features_in_every_engine(engine, name):
    torch.manual_seed(0)
    built = Detector(parse_variant(name), ModelOptions(), COCO_IDS, IMAGENET_RGB)
    _, body = find_engine(engine).build(built)
    reference = body_of(name)
    reference.load_state_dict(body.state_dict())
    image = torch.randn(1, 3, 64, 96)
    features = body.stages(image)
    assert [feature.shape[1] for feature in features] == channels(body)
    for ours, theirs in zip(features, reference.stages(image), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_the_pyramid_is_built_on_the_networks_own_stages(engine, norm):
    """With scales below zero: pooling before the first ReLU would give other features."""
    torch.manual_seed(0)
    built = Detector(parse_variant("faster_rcnn_aw_cbam_resnet18_fpn"), ModelOptions(), COCO_IDS, IMAGENET_RGB, norm, 0)
    model, body = find_engine(engine).build(built)
    with torch.no_grad():
        body.bn1.weight.normal_()
    seen = []
    body.layer1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    image = torch.randn(2, 3, 64, 96)
    model.backbone(image)
    body.stages(image)
    by_hand = body.maxpool(torch.relu(body.bn1(body.conv1(image))))
    assert len(seen) == 2 and torch.equal(seen[0], seen[1]) and torch.allclose(seen[0], by_hand, atol=1e-6)


def test_frozen_norms_stay_in_the_precision_of_their_input():
    body = body_of("resnet18")
    with torch.autocast("cpu", torch.bfloat16):
        assert {feature.dtype for feature in body.stages(torch.randn(1, 3, 64, 64))} == {torch.bfloat16}


@pytest.mark.parametrize("ids", [(0, 1, 2), (1, 10**9)])
def test_category_ids_that_torchvision_cannot_have_are_refused(ids):
    built = Detector(parse_variant("faster_rcnn_resnet18_fpn"), ModelOptions(), ids, IMAGENET_RGB)
    with pytest.raises(UserError, match=f"category ids go from {ids[0]} to {ids[-1]}; .* or use --engine detectron2"):
        find_engine("torchvision").build(built)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("setting", ["", "aw_", "aw_se_", "aw_cbam_"])
def test_the_aw_branch_receives_gradients(engine, setting):
    from awbench.data.detection_views import DetectionSample

    torch.manual_seed(0)
    name = f"faster_rcnn_{setting}resnet18_fpn"
    built = Detector(parse_variant(name), ModelOptions(), (1, 2, 5), IMAGENET_RGB, "batch", 0)
    model, body = find_engine(engine).build(built)
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    sample = DetectionSample(image, torch.tensor([[8.0, 8, 40, 50]]), torch.tensor([5]), 1, (64, 96))
    losses = find_engine(engine).losses(model.train(), built, [sample, sample])
    assert len(losses) == 4
    sum(losses.values()).backward()
    branches = [module.attention for module in body.modules() if isinstance(module, AWConv2d)]
    assert len(branches) == (16 if setting else 0)
    for branch in branches:
        assert all(parameter.grad.abs().sum() > 0 for parameter in branch.parameters() if parameter.dim() > 1)


@pytest.mark.parametrize(
    ("engine", "name", "params", "trainable"),
    [
        ("torchvision", "faster_rcnn_resnet50_fpn", 41_755_286, None),
        pytest.param("detectron2", "faster_rcnn_resnet50_fpn", 41_699_936, 41_477_536, marks=needs_detectron2),
        pytest.param("detectron2", "faster_rcnn_resnet101_fpn", 60_639_840, None, marks=needs_detectron2),
    ],
)
def test_parameter_counts_are_the_published_ones(engine, name, params, trainable):
    at = DetectorInput(64, 64, 10)
    measured = measure_detector_complexity(parse_variant(name), ModelOptions(), find_engine(engine), at)
    assert measured.complexity.params == params
    assert trainable in (None, measured.trainable_params)


def test_the_locked_file_covers_every_detector_with_both_engines():
    locked = {(row.variant, row.engine, row.stride_placement) for row in load_locked() if row.engine}
    assert locked == {
        (variant.name, engine, placement)
        for variant in list_variants("detection")
        for engine in ("detectron2", "torchvision")
        for placement in ("v1.5", *(["v1"] if variant.architecture.block == "bottleneck" else []))
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [v.name for v in list_variants("detection") if "resnet101" not in v.name])
def test_the_code_is_held_to_the_locked_counts(engine, name):
    (row,) = (r for r in load_locked() if (r.variant, r.engine, r.stride_placement) == (name, engine, "v1.5"))
    height, width = (int(side) for side in str(row.image_size).split("x"))
    measured = measure_detector_complexity(
        parse_variant(name), ModelOptions(), find_engine(engine), DetectorInput(height, width, row.proposals)
    )
    counted = {value: getattr(measured.complexity, value) for value in LOCKED_VALUES}
    assert counted == {value: getattr(row, value) for value in LOCKED_VALUES}
    assert measured.trainable_params == row.trainable_params
    assert row.attention_scaling in (measured.complexity.attention_scaling, *([None] if engine == "detectron2" else []))


@pytest.mark.parametrize("engine", ENGINES)
def test_two_counters_agree_on_a_detector_and_proposals_add_what_the_box_head_costs(engine):
    variant = parse_variant("faster_rcnn_aw_cbam_resnet18_fpn")
    few, many = (
        measure_detector_complexity(variant, ModelOptions(), find_engine(engine), DetectorInput(64, 96, n), n == 3)
        for n in (3, 5)
    )
    assert few.complexity.macs_by_counter["torch"] == few.complexity.macs_by_counter["fvcore"]
    outputs = {"detectron2": 81 + 4 * 80, "torchvision": 5 * 91}[engine]
    per_region = 256 * 49 * 1024 + 1024 * 1024 + 1024 * outputs
    assert many.complexity.macs - few.complexity.macs == 2 * per_region


def test_every_detector_of_the_grid_can_be_built():
    with torch.device("meta"):
        for variant in list_variants("detection"):
            built = Detector(variant, ModelOptions(), COCO_IDS, IMAGENET_RGB)
            _, body = find_engine("torchvision").build(built)
            assert body.variant.name == variant.backbone
