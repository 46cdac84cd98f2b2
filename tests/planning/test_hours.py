"""Hours of a training run, from what was timed, published or given, against hand arithmetic."""

from __future__ import annotations

import pytest
import yaml
from sample_records import IMAGENET_CHANGES, latency_record, training_record
from study_records import COCO, IMAGENET

from awbench.errors import UserError
from awbench.planning.hours import GIVEN, Hours, RunHours
from awbench.planning.missing import Missing, total
from awbench.planning.throughput import throughputs
from awbench.recipes import load_recipe
from awbench.recipes.detection import load_detection_recipe
from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.plan import shown_hours
from awbench.studies import load_study
from awbench.studies.study import STUDIES
from awbench.text import shown_probability

OURS = load_references()
LATER = "2026-02-01T00:00:00.000000Z"
IMAGES = 1_281_167 * 100  # of ImageNet, in a hundred epochs


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def hours_of(store, asked="", references=OURS, **given) -> Hours:
    records = store.read()
    return Hours(throughputs(records, references), records, asked, **given)


def cost(store, network, study=IMAGENET, asked="", **given) -> RunHours:
    return hours_of(store, asked, **given).of_study(study)[network]


def test_published_throughput_gives_hours_where_nothing_was_timed(store):
    """ResNet-101 trains 747.89 images/s on an RTX 3090: about 48 hours."""
    plain, se = cost(store, "resnet101"), cost(store, "se_resnet101")
    assert plain.hours == pytest.approx(IMAGES / 747.89 / 3600) == pytest.approx(47.6, abs=0.05)
    assert (plain.known, plain.device) == ("", "RTX 3090") and "timm" in plain.origin
    assert se.hours == pytest.approx(IMAGES / 601.55 / 3600)
    above_se, cbam = cost(store, "aw_se_resnet101"), cost(store, "cbam_resnet101")
    assert (above_se.hours, above_se.known) == (se.hours, "at least")  # AW is not free; SE's is the nearer bound
    assert (cbam.hours, cbam.known) == (plain.hours, "at least")
    assert "se_resnet101's" in above_se.origin


def test_a_published_throughput_of_several_gpus_is_one_of_each(store):
    where = {"device": "2 A100s", "batch_size": 256, "dtype": "amp", "image_size": 224, "layout": "NHWC"}
    number = {"variant": "resnet101", "metric": "train_images_per_s", "value": 1000, "unit": "images/s"}
    source = {"schema_version": 1, "id": "fast", "title": "t", "url": "https://example.org", "read_from": "r",
              "provenance": "primary", "conventions": {"latency": where}, "numbers": [number]}  # fmt: skip
    folder = store.results / "refs"
    folder.mkdir()
    (folder / "fast.yaml").write_text(yaml.safe_dump(source))
    hours = hours_of(store, references=load_references(folder))
    assert {timed.device for timed in hours.timed} == {"A100"}
    found = hours.of_study(IMAGENET)["resnet101"]
    assert (found.hours, found.device) == (pytest.approx(2 * IMAGES / 1000 / 3600), "A100")


def test_the_model_zoo_gives_hours_of_eight_gpus(store):
    found = cost(store, "faster_rcnn_resnet101_fpn", COCO)
    assert found.hours == pytest.approx(0.286 * 8 * 270_000 / 3600) and (found.known, found.device) == ("", "V100")
    assert "0.286 s/iteration on 8 V100s" in found.origin
    attention = cost(store, "faster_rcnn_aw_cbam_resnet101_fpn", COCO)
    assert (attention.hours, attention.known) == (found.hours, "at least")


def test_hours_from_noise_are_those_of_its_images_a_second(store):
    store.add(training_record("aw_resnet101", dataset="fake", seconds=64, steps=100, world=4))
    found = cost(store, "aw_resnet101")
    images_per_s_of_a_gpu = 100 * 256 / 64 / 4
    assert found.hours == pytest.approx(IMAGES / images_per_s_of_a_gpu / 3600)
    assert (found.known, found.device) == ("", "GPU A") and "100 steps of 256 images on fake" in found.origin


def test_a_run_on_imagenet_itself_is_preferred_and_scaled_by_its_epochs(store):
    half = load_recipe("cbam", [*IMAGENET_CHANGES, "epochs=50"])
    store.add(training_record("resnet101", recipe=half, seconds=3600 * 40, steps=50 * 5004, world=8))
    store.add(training_record("resnet101", dataset="fake", seconds=1, finished=LATER))
    assert cost(store, "resnet101").hours == pytest.approx(2 * 40 * 8, rel=1e-3)


def test_another_precision_is_said_and_another_size_not_taken(store):
    for change in ("precision=float32", "augmentation.size=192"):
        other = load_recipe("cbam", [*IMAGENET_CHANGES, change])
        store.add(training_record("resnet101", dataset="fake", recipe=other, seconds=10, steps=100))
    found = cost(store, "resnet101", asked="GPU A")
    assert found.hours == pytest.approx(IMAGES * 10 / 25_600 / 3600) and found.known == "about"
    assert "precision float32, not bfloat16" in found.origin
    assert cost(store, "resnet101").device == "RTX 3090"  # published, but of the study's precision


def test_a_measured_ratio_of_latency_scales_the_cheaper_networks_hours(store):
    gpu = {"device": "cuda", "device_name": "GPU A", "threads": None}
    store.add(latency_record("aw_resnet101", (3.0, 2.9, 3.1)))  # of a CPU
    assert cost(store, "aw_resnet101").known == "at least"
    store.add(latency_record("aw_resnet101", (1.25, 1.2, 1.3), **gpu))
    plain, found = cost(store, "resnet101"), cost(store, "aw_resnet101")
    assert (found.hours, found.known) == (pytest.approx(1.25 * plain.hours), "about")
    assert "resnet101's x 1.25 (latency on GPU A, batch 1)" in found.origin
    store.add(latency_record("aw_se_resnet101", (1.5, 1.4, 1.6), **gpu))
    assert cost(store, "aw_se_resnet101").known == "at least"  # nothing says how much of it SE is
    store.add(latency_record("se_resnet101", (1.2, 1.1, 1.3), **gpu))
    assert cost(store, "aw_se_resnet101").hours == pytest.approx(cost(store, "se_resnet101").hours * 1.5 / 1.2)


def test_a_ratio_that_is_too_noisy_scales_nothing_and_that_of_the_very_device_comes_first(store):
    store.add(training_record("resnet101", dataset="fake", device="cpu"))
    cpu = {"device": "cpu", "threads": 1}
    store.add(latency_record("aw_resnet101", (1.5, 1.0, 2.0), device_name="CPU B", **cpu))
    assert cost(store, "aw_resnet101", asked="cpu: CPU B").known == "at least"
    store.add(latency_record("aw_resnet101", (1.4, 1.39, 1.41), device_name="Q", batch_size=32, **cpu))
    assert "latency on Q, batch 32" in cost(store, "aw_resnet101", asked="cpu: CPU B").origin
    store.add(latency_record("aw_resnet101", (1.3, 1.29, 1.31), device_name="CPU B", batch_size=8, **cpu))
    assert "latency on CPU B, batch 8" in cost(store, "aw_resnet101", asked="cpu: CPU B").origin


def test_given_numbers_come_first_and_bound_the_networks_above(store):
    store.add(training_record("resnet101", dataset="fake"))
    given = {"images_per_s": {"resnet101": 2000.0}, "gpu_hours": {"aw_resnet101": 31.0}}
    assert cost(store, "resnet101", **given).hours == pytest.approx(IMAGES / 2000 / 3600)
    aw = cost(store, "aw_resnet101", **given)
    assert (aw.hours, aw.known, aw.origin) == (31.0, "", "given with --gpu-hours aw_resnet101")
    assert cost(store, "cbam_resnet101", **given).known == "at least"


def test_once_a_network_is_given_no_other_device_is_in_the_plan(store):
    """Published hours of an RTX 3090 were added to those of "your device"."""
    store.add(training_record("se_resnet101", dataset="fake"))
    with_plain = hours_of(store, images_per_s={"resnet101": 1100.0}).of_study(IMAGENET)
    assert {(found.device, found.hours) for found in with_plain.values()} == {(GIVEN, IMAGES / 1100 / 3600)}
    assert {label for label, found in with_plain.items() if not found.known} == {"resnet101"}
    without = hours_of(store, gpu_hours={"se_resnet101": 60.0}).of_study(IMAGENET)
    assert {label: found.hours for label, found in without.items() if found.hours is not None} == {
        "se_resnet101": 60.0, "aw_se_resnet101": 60.0,
    }  # fmt: skip
    assert without["resnet101"].origin == "--images-per-second resnet101=N"
    assert cost(store, "faster_rcnn_resnet101_fpn", COCO, gpu_hours={"se_resnet101": 60.0}).device == "V100"


def test_hours_of_two_devices_stand_side_by_side():
    def part(name, device, hours, origin=""):
        return Missing(name, 0, 2, 2, {}, RunHours(hours, "", device, origin))

    parts = [part("a", "GPU A", 10.0), part("b", "GPU A", 20.0), part("c", "GPU B", 40.0)]
    runs, hours = total(parts, lambda network: network.next)
    assert (runs, hours.hours) == (6, None)
    assert shown_hours(hours) == "60 GPU-hours on GPU A and 80 GPU-hours on GPU B"
    assert shown_hours(total(parts[:2], lambda network: network.next)[1]) == "60 GPU-hours on GPU A"
    unknown = [*parts, part("d", "", None, "--images-per-second d=N"), part("e", "", None, "--images-per-second e=N")]
    needs = "give --images-per-second d=N --images-per-second e=N"
    assert shown_hours(total(unknown, lambda network: network.next)[1]) == f"hours unknown: {needs}"


@pytest.mark.parametrize(("value", "shown"), [(1.0, ">99%"), (0.999, ">99%"), (0.93, "93%"), (0.0, "<1%")])
def test_no_probability_is_certain(value, shown):
    assert shown_probability(value) == shown


def test_a_detectors_hours_are_of_its_images_whatever_the_batch(store):
    large = load_detection_recipe("detectron2-3x", ["batch_size=32"])
    name = "faster_rcnn_resnet101_fpn"
    store.add(training_record(name, recipe=large, seconds=600, steps=1000, world=2))
    assert cost(store, name, COCO).hours == pytest.approx(600 * 2 / (1000 * 32) * 270_000 * 16 / 3600)
    store.add(training_record(name, engine="torchvision", seconds=1, finished=LATER))
    assert cost(store, name, COCO).hours > 1  # another engine's time is another


def test_the_newest_gpu_is_taken_unless_another_is_asked_for(store):
    store.add(training_record("resnet101", dataset="fake", seconds=10))
    store.add(training_record("aw_resnet101", dataset="fake", seconds=30, device="GPU B", finished=LATER))
    store.add(training_record("resnet101", dataset="fake", seconds=500, device="cpu", finished="2026-03-01T00:00:00Z"))
    assert cost(store, "aw_resnet101").device == "GPU B"
    assert cost(store, "resnet101").device == "GPU A"  # it has no number on B; never none where there is one
    assert cost(store, "aw_resnet101", asked="gpu a").known == "at least"
    assert cost(store, "resnet101", asked="CPU").hours == pytest.approx(IMAGES * 500 / 256_000 / 3600)
    with pytest.raises(UserError, match="--device H100: no training was timed on it; those that have .*GPU B.*V100"):
        hours_of(store, "H100").require_device()


def test_another_setting_of_aw_is_about_the_default_ones(store, tmp_path):
    path = tmp_path / "other.yaml"
    design = yaml.safe_load((STUDIES / "imagenet.yaml").read_text())
    design["name"] = "other"
    design["networks"] = {"full": {"variant": "aw_resnet101", "aw": {"expansion": 1}}}
    design["comparisons"], design["claims"] = [{"variant": "full", "over": "resnet101"}], {}
    path.write_text(yaml.safe_dump(design))
    study = load_study(str(path))
    store.add(training_record("aw_resnet101", dataset="fake", seconds=30))
    found = cost(store, "full", study)
    assert found.known == "about" and found.origin.startswith("with default options: record")
    assert cost(store, "full", study, gpu_hours={"full": 9.0}).hours == 9.0


def test_nothing_is_known_of_what_nobody_trained(store):
    assert cost(store, "resnet20", load_study("digits")).hours is None
