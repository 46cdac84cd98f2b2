"""Tables of detectors from made-up records."""

from __future__ import annotations

import pytest
from sample_records import make_record

from awbench.recipes import PROTOCOLS
from awbench.recipes.datasets import DATASET_FACTS
from awbench.recipes.detection import load_detection_recipe
from awbench.records import Quantity, RecordStore
from awbench.records.record import UNITS
from awbench.reference.load import load_references
from awbench.report.tables import TABLES
from awbench.variants import ModelOptions, describe_options, parse_variant

FULL_SIZE = {"test": 800, "test_max": 1333}


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def detection_record(
    variant: str, ap: float, *, engine="torchvision", recipe="shapes-quick", seed=0, backbone="random", **settings
):
    return make_record(
        kind="detection",
        variant=variant,
        settings={
            "origin": "trained",
            "engine": engine,
            "dataset": "shapes",
            "complete": True,
            "recipe": load_detection_recipe(recipe).identity(),
            "seed": seed,
            "protocol": PROTOCOLS["detection"],
            **settings,
        },
        options=describe_options(parse_variant(variant), ModelOptions(num_classes=6)),
        inputs={
            "val_sha256": DATASET_FACTS["shapes"].val_sha256,
            "backbone_weights_sha256": backbone,
            "weights_sha256": "0" * 64,
        },
        values={
            "box_ap": Quantity(value=ap, unit="AP points"),
            "ap50": Quantity(value=2 * ap, unit="AP points"),
            "train_time_per_iteration": Quantity(value=0.5, unit="s/iteration"),
        },
        notes=["COCO val2017, 5,000 images"],
    )


def rows(store, kind):
    return {(row["variant"], row.get("engine")): row for row in TABLES[kind](store.read(), load_references()).objects}


def test_the_shapes_table_says_what_aw_adds_within_an_engine(store):
    for seed, (plain, aw) in enumerate([(10.0, 12.0), (11.0, 12.5), (9.0, 14.0)]):
        store.add(detection_record("faster_rcnn_resnet18_fpn", plain, seed=seed))
        store.add(detection_record("faster_rcnn_aw_resnet18_fpn", aw, seed=seed))
    store.add(detection_record("faster_rcnn_aw_resnet18_fpn", 50.0, engine="detectron2"))
    store.add(detection_record("faster_rcnn_resnet18_fpn", 90.0, recipe="detectron2-1x"))  # no proxy run
    found = rows(store, "shapes")
    aw = found["faster_rcnn_aw_resnet18_fpn", "torchvision"]
    assert (aw["runs"], aw["over"], aw["difference"]) == (
        3,
        "faster_rcnn_resnet18_fpn",
        pytest.approx(2.8333, abs=1e-4),
    )
    assert aw["interval"][0] < 2.83 < aw["interval"][1]
    assert found["faster_rcnn_resnet18_fpn", "torchvision"]["box_ap"] == pytest.approx(10.0)
    other = found["faster_rcnn_aw_resnet18_fpn", "detectron2"]
    assert (other["runs"], other["difference"], other["ap75"]) == (1, None, None)


def test_coco_records_stand_beside_the_number_of_their_engine_and_schedule(store):
    coco = {"dataset": "coco", "backbone": "1" * 64}
    store.add(detection_record("faster_rcnn_resnet50_fpn", 38.0, engine="detectron2", recipe="detectron2-1x", **coco))
    for changes in (  # none of these is the published setting
        {"complete": False}, {"backbone": "random"}, {"protocol": 0},
        {"recipe": "detectron2-3x", "engine": "torchvision"},
        {"origin": "weights", "weights": "mine.safetensors", "input": FULL_SIZE},
    ):  # fmt: skip
        wrong = {"engine": "detectron2", "recipe": "detectron2-1x", "seed": 7, **coco, **changes}
        store.add(detection_record("faster_rcnn_resnet50_fpn", 3.0, **wrong))
    store.add(
        detection_record(
            "faster_rcnn_resnet101_fpn",
            42.03,
            engine="detectron2",
            origin="weights",
            input=FULL_SIZE,
            weights="model_final_f6e8b1.pkl",
            **coco,
        )
    )
    table = TABLES["detection"](store.read(), load_references())
    shown = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    measured = {
        (row["source"], row["variant"], row["published"]): cells["measured"] or cells["verdict"]
        for row, cells in zip(table.objects, shown, strict=True)
        if row["metric"] == "box_ap"
    }
    (zoo_weights,) = [row for row in table.objects if row["published"] == 42.0]
    assert (zoo_weights["measured"], zoo_weights["runs"], zoo_weights["origin"]) == (42.03, 1, "weights")
    assert zoo_weights["verdict"].startswith("agrees: +0.030 AP points, within +-0.050; the same weights")
    zoo = "detectron2_model_zoo"
    assert measured[zoo, "faster_rcnn_resnet50_fpn", 37.9] == "38.00 AP points, 1 trained here, spread unknown"
    assert measured[zoo, "faster_rcnn_resnet50_fpn", 40.2].startswith(
        "not measured: needs Detectron2 (make detectron2)"
    )
    assert measured[zoo, "faster_rcnn_resnet101_fpn", 42.0].startswith("42.03 AP points, these weights, COCO val2017")
    assert measured["torchvision", "faster_rcnn_resnet50_fpn", 37.0].startswith("not measured: needs COCO")


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
    assert (compared["measured"], compared["verdict"]) == (41_755_286, "equal to all printed digits")
