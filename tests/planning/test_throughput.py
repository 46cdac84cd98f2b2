"""Hours of a training run, from what was timed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_records import training_record

from awbench.errors import UserError
from awbench.planning.protocols import default_protocol
from awbench.planning.throughput import choose_device, cost_of_run, throughputs
from awbench.recipes import IMAGENET_CHANGES, load_recipe
from awbench.recipes.detection import load_detection_recipe
from awbench.records import RecordStore
from awbench.reference.load import load_references

IMAGENET, COCO = default_protocol("imagenet"), default_protocol("coco")
OURS = load_references()
LATER = "2026-02-01T00:00:00.000000Z"
IMAGES = 1_281_167 * 100  # of ImageNet, in a hundred epochs


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def cost(store, network, protocol=IMAGENET, device=""):
    known = throughputs(store.read(), OURS)
    return cost_of_run(network, protocol, known, choose_device(known, device))


def test_hours_from_noise_are_those_of_its_images_a_second(store):
    store.add(training_record("aw_resnet101", dataset="fake", seconds=64, steps=100, world=4))
    found = cost(store, "aw_resnet101")
    images_per_s_of_a_gpu = 100 * 256 / 64 / 4
    assert found.hours == pytest.approx(IMAGES / images_per_s_of_a_gpu / 3600)
    assert found.known and found.devices == 4 and "100 steps of 256 images on fake" in found.origin


def test_a_run_on_imagenet_itself_is_preferred_and_scaled_by_its_epochs(store):
    half = load_recipe("cbam", [*IMAGENET_CHANGES, "epochs=50"])
    store.add(training_record("resnet101", recipe=half, seconds=3600 * 40, steps=50 * 5004, world=8))
    store.add(training_record("resnet101", dataset="fake", seconds=1, finished=LATER))
    assert cost(store, "resnet101").hours == pytest.approx(2 * 40 * 8, rel=1e-3)


@pytest.mark.parametrize("change", ["precision=float32", "channels_last=false", "augmentation.size=192"])
def test_what_costs_another_time_is_not_taken(store, change):
    other = load_recipe("cbam", [*IMAGENET_CHANGES, change])
    store.add(training_record("resnet101", dataset="fake", recipe=other))
    assert cost(store, "resnet101").hours is None


def test_the_plain_networks_hours_are_a_lower_bound(store):
    store.add(training_record("resnet101", dataset="fake"))
    plain, attention = cost(store, "resnet101"), cost(store, "aw_cbam_resnet101")
    assert plain.known and not attention.known
    assert (attention.hours, attention.at_least) == (plain.hours, True)
    store.add(training_record("aw_resnet50", dataset="fake"))
    assert cost(store, "aw_resnet18").hours is None  # neither another depth nor another attention


def test_the_model_zoo_gives_hours_of_eight_gpus(store):
    found = cost(store, "faster_rcnn_resnet101_fpn", COCO)
    assert found.hours == pytest.approx(0.286 * 8 * 270_000 / 3600) and found.known
    assert "0.286 s/iteration on 8 V100s" in found.origin
    assert cost(store, "faster_rcnn_resnet50_fpn", COCO).hours == pytest.approx(
        0.209 * 8 * 270_000 / 3600
    )  # 3x, not 1x
    assert cost(store, "faster_rcnn_aw_resnet101_fpn", COCO).at_least
    assert cost(store, "resnet101").hours is None


def test_a_detectors_hours_are_of_its_images_whatever_the_batch(store):
    large = load_detection_recipe("detectron2-3x", ["batch_size=32"])
    store.add(training_record("faster_rcnn_resnet50_fpn", recipe=large, seconds=600, steps=1000, world=2))
    assert cost(store, "faster_rcnn_resnet50_fpn", COCO).hours == pytest.approx(
        600 * 2 / (1000 * 32) * 270_000 * 16 / 3600
    )


def test_devices_are_never_mixed_and_the_newest_gpu_is_taken(store):
    store.add(training_record("resnet101", dataset="fake", seconds=10))
    store.add(training_record("aw_resnet101", dataset="fake", seconds=30, device="GPU B", finished=LATER))
    store.add(training_record("resnet101", dataset="fake", seconds=500, device="cpu", finished="2026-03-01T00:00:00Z"))
    known = throughputs(store.read(), OURS)
    assert choose_device(known) == "GPU B"
    assert cost(store, "resnet101").hours is None
    assert cost(store, "faster_rcnn_resnet101_fpn", COCO).hours is None  # the V100's
    assert cost(store, "resnet101", device="gpu a").hours == pytest.approx(IMAGES * 10 / 256_000 / 3600)
    assert cost(store, "resnet101", device="CPU").hours == pytest.approx(IMAGES * 500 / 256_000 / 3600)
    assert cost(store, "faster_rcnn_resnet101_fpn", COCO, "v100").known
    with pytest.raises(UserError, match="--device H100: no training was timed on it; those that have .*GPU B.*V100"):
        choose_device(known, "H100")


def test_a_network_with_other_options_or_of_another_engine_is_not_this_one(store):
    record = training_record("aw_resnet101", dataset="fake")
    store.add(record.model_copy(update={"options": {**record.options, "stride_placement": "v1"}}))
    store.add(training_record("faster_rcnn_resnet50_fpn", engine="torchvision"))
    assert cost(store, "aw_resnet101").hours is None
    assert cost(store, "faster_rcnn_resnet50_fpn", COCO).known
    assert cost(store, "faster_rcnn_resnet50_fpn", replace(COCO, engine="detectron2"), "GPU A").hours is None
