"""Tables of detectors from made-up records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_records import make_record, trained

from awbench.recipes import PROTOCOLS
from awbench.recipes.detection import load_detection_recipe
from awbench.records import Quantity, RecordStore
from awbench.records.record import UNITS
from awbench.reference.load import References, load_references
from awbench.report.tables import TABLES
from awbench.variants import ModelOptions, describe_options, parse_variant

SHA256 = "12345678" + "0" * 56
FULL_SIZE = {"test": 800, "test_max": 1333}


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def detection_record(variant: str, ap: float, **changes):
    """A detector trained on COCO as Detectron2's zoo trains, 1x, from MSRA's weights; or with changed settings."""
    placement = changes.pop("stride_placement", "v1")
    recipe = load_detection_recipe(changes.pop("recipe", "detectron2-1x"), changes.pop("recipe_changes", ()))
    backbone = changes.pop("backbone", "caffe2")
    images, train_images = changes.pop("images", 5000), changes.pop("train_images", 118_287)
    return make_record(
        kind="detection",
        variant=variant,
        settings={
            "origin": "trained", "engine": "detectron2", "dataset": "coco", "complete": True,
            "recipe": recipe.identity(), "seed": 0, "protocol": PROTOCOLS["detection"], **changes,
        },
        options=describe_options(
            parse_variant(variant), ModelOptions(stride_placement=placement, num_classes=80)
        ),
        inputs={
            "backbone_weights_sha256": "1" * 64 if backbone else "random", "weights_sha256": SHA256,
            "train_sha256": "1", "val_sha256": "0", "engine_version": "0.6",
        },
        values={
            "box_ap": Quantity(value=ap, unit="AP points"),
            "images": Quantity(value=images, unit="images"),
        },
        notes=["COCO val2017, 5,000 images", *([f"backbone from a.pkl, layout {backbone}"] if backbone else [])],
        environment={**trained(variant, ap, changes.get("seed")), "train_images": train_images},
    )  # fmt: skip


def weights_record(variant: str, ap: float, weights="model_final_f6e8b1.pkl", **changes):
    """Given weights evaluated as the model zoos do."""
    settings = {
        "origin": "weights", "weights": weights, "input": FULL_SIZE, "precision": "float32", "norm": "frozen",
        "sampling": {"test_proposals": None}, **changes,
    }  # fmt: skip
    return detection_record(variant, ap, **settings)


@pytest.fixture
def references():
    """Of the zoo, with the digest of one of its files."""
    found = load_references()
    numbers = [
        replace(number, weights_sha256=SHA256[:8]) if number.weights == "model_final_f6e8b1.pkl" else number
        for number in found.numbers
    ]
    return References(found.sources, tuple(numbers), found.unknown)


def verdicts(store, references) -> dict[tuple[str, str, float], str]:
    table = TABLES["detection"](store.read(), references)
    return {
        (row["source"], row["variant"], row["published"]): row["verdict"]
        for row in table.objects
        if row["metric"] == "box_ap"
    }


R50 = ("detectron2_model_zoo", "faster_rcnn_resnet50_fpn", 37.9)
R101 = ("detectron2_model_zoo", "faster_rcnn_resnet101_fpn", 42.0)


def test_coco_records_stand_beside_the_number_of_their_engine_and_schedule(store, references):
    for seed, ap in enumerate((37.9, 38.0, 38.1)):
        store.add(detection_record("faster_rcnn_resnet50_fpn", ap, seed=seed))
    store.add(weights_record("faster_rcnn_resnet101_fpn", 42.03))
    found = verdicts(store, references)
    assert found[R50].startswith("agrees: +0.100 AP points, within")
    assert found[R101].startswith(
        "agrees: +0.030 AP points, within +-0.100; the same weights: 0.05 for the last printed"
    )
    assert found["detectron2_model_zoo", "faster_rcnn_resnet50_fpn", 40.2] == (
        "not measured: needs 'awbench train faster_rcnn_resnet50_fpn --recipe detectron2-3x --init-weights R-50.pkl "
        "--engine detectron2 --stride-placement v1 --dataset coco --data DIR'"
    )
    assert found["torchvision", "faster_rcnn_resnet50_fpn", 37.0] == (
        "not measured: needs 'awbench eval faster_rcnn_resnet50_fpn --weights FILE --recipe detectron2-1x "
        "--engine torchvision --dataset coco --data DIR'"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"backbone": "awbench"}, "published from MSRA weights, this backbone is an ImageNet training of ours"),
        ({"backbone": "torchvision"}, "published from MSRA weights, this backbone is torchvision"),
        ({"backbone": ""}, "published from MSRA weights, this backbone is from random weights"),
        ({"engine": "torchvision"}, "engine is torchvision, published with detectron2"),
        ({"stride_placement": "v1.5"}, "stride placement is v1.5, published with v1"),
        ({"complete": False}, "not the complete dataset"),
        ({"images": 100}, "evaluated on 100 of 5,000 images"),
        ({"train_images": 1000}, "trained on 1,000 of 118,287 images"),
        ({"recipe_changes": ["iterations=100", "schedule.steps=[50]"]}, "recipe: iterations is 100, not 90000"),
        ({"protocol": 0}, "protocol 0 of the detection code"),
    ],
)
def test_detectors_trained_otherwise_are_not_comparable_and_the_reason_is_said(store, references, changes, reason):
    store.add(detection_record("faster_rcnn_resnet50_fpn", 3.0, **changes))
    verdict = verdicts(store, references)[R50]
    assert verdict.startswith("not comparable: ") and reason in verdict


@pytest.mark.parametrize(
    ("name", "made", "reason"),
    [
        ("pre_training", detection_record, "the source does not state from which weights its backbone started"),
        ("test_input", weights_record, "the source does not state its input"),
        ("norm", weights_record, "the source does not state its norm"),
    ],
)
def test_what_a_source_does_not_state_of_its_detectors_is_not_comparable(store, references, name, made, reason):
    def less_known(number):
        unknown = {name: "unknown"} if number.kind == "detection" else {}
        return replace(number, convention=number.convention.model_copy(update=unknown))

    references = replace(references, numbers=tuple(map(less_known, references.numbers)))
    row = R50 if made is detection_record else R101
    store.add(made(row[1], row[2]))
    assert verdicts(store, references)[row].startswith(f"not comparable: {reason}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engine": "torchvision"}, "engine is torchvision, published with detectron2"),
        ({"input": {"test": 640, "test_max": 1333}}, "input is (640, 1333), published with (800, 1333)"),
        ({"norm": "batch"}, "norm is batch, published with frozen"),
        ({"precision": "bfloat16"}, "evaluated in bfloat16, published in float32"),
        ({"stride_placement": "v1.5"}, "stride placement is v1.5, published with v1"),
        ({"sampling": {"test_proposals": 300}}, "another number of proposals"),
    ],
)
def test_detectors_evaluated_otherwise_are_not_comparable(store, references, changes, reason):
    store.add(weights_record("faster_rcnn_resnet101_fpn", 3.0, **changes))
    assert verdicts(store, references)[R101].startswith(f"not comparable: {reason}")


def test_a_file_whose_digest_nobody_states_is_not_comparable(store):
    """Detectron2's names are ids, not digests."""
    store.add(weights_record("faster_rcnn_resnet101_fpn", 42.0))
    found = verdicts(store, load_references())[R101]
    assert found == "not comparable: the digest of model_final_f6e8b1.pkl is not known"


def test_another_file_of_that_name_is_not_comparable(store, references):
    record = weights_record("faster_rcnn_resnet101_fpn", 3.0)
    store.add(record.model_copy(update={"inputs": {"weights_sha256": "2" * 64}}))
    found = verdicts(store, references)[R101]
    assert found == "not comparable: model_final_f6e8b1.pkl has sha256 22222222, the published file 12345678"


def rows(store, kind):
    return {(row["variant"], row.get("engine")): row for row in TABLES[kind](store.read(), load_references()).objects}


def test_the_detectors_table_shows_counts_of_either_engine(store):
    values = {"params": 41_755_286, "trainable_params": 41_532_886, "macs": 177 * 10**9, "aw_kernel_forming": 0}
    store.add(
        make_record(
            variant="faster_rcnn_resnet50_fpn",
            options={"stride_placement": "v1.5", "num_classes": 80},
            settings={"engine": "torchvision", "image_size": [800, 1088], "proposals": 1000, "cross_check": False},
            values={name: Quantity(value=value, unit=UNITS.get(name, "elements")) for name, value in values.items()},
        )
    )
    found = rows(store, "detectors")
    assert found["faster_rcnn_resnet50_fpn", "torchvision"]["params"] == 41_755_286
    assert found["faster_rcnn_resnet50_fpn", "detectron2"]["needs"].startswith(
        "not measured: needs 'awbench complexity"
    )
    (compared,) = (
        row
        for row in TABLES["complexity"](store.read(), load_references()).objects
        if (row["source"], row["variant"], row["metric"]) == ("torchvision", "faster_rcnn_resnet50_fpn", "params")
    )
    assert (compared["measured"], compared["verdict"]) == (41_755_286, "matches all published digits")
