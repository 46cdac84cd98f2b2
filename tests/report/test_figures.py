"""Pictures from made-up records: what each mark says is what the records hold."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from sample_records import add_ap, add_top1, aw_speed_record, latency_record, make_record

from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.figures import all_pictures
from awbench.report.figures.training import training_pictures
from awbench.training.recipe import load_recipe


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def pictures(store):
    return {picture.name: picture for picture in all_pictures(store, load_references())}


def test_without_records_there_is_the_picture_of_claims_alone(store):
    (name,) = pictures(store)
    marks = list(pictures(store)[name].marks.values())
    assert name == "claims" and len(marks) == 4
    assert all("not measured: needs" in words for words in marks)


def test_the_forest_says_what_decides_a_claim(store):
    add_top1(store, "resnet101", 77.3, 77.4, 77.5)
    add_top1(store, "aw_resnet101", 78.3, 78.4, 78.5)
    marks = list(pictures(store)["claims"].marks.values())
    (measured,) = [words for words in marks if "runs aw_resnet101" in words]
    assert measured.startswith("+1.00 (+0.77 to +1.23); reproduced; spread of these runs")
    assert "aw_resnet101: 78.30, 78.40, 78.50; resnet101: 77.30, 77.40, 77.50" in measured


def test_published_and_measured_accuracy_stand_at_the_counted_operations(store):
    add_top1(store, "resnet50", 76.0, 76.2)
    assert "accuracy" not in pictures(store)  # nothing was counted
    store.add(make_record())
    marks = pictures(store)["accuracy"].marks.values()
    assert any(words.startswith("resnet50: 76.13 published by torchvision (IMAGENET1K_V1)") for words in marks)
    (here,) = [words for words in marks if "measured here" in words]
    assert here == "resnet50: 76.100 measured here, recipe cbam, 2 run(s), standard deviation 0.141; 4.089 GMAC"


def test_coco_records_have_their_own_picture(store):
    counts = make_record(
        variant="faster_rcnn_resnet101_fpn",
        options={"stride_placement": "v1.5", "num_classes": 80},
        settings={"engine": "detectron2", "image_size": [800, 1088], "proposals": 1000, "cross_check": False},
    )
    store.add(counts)
    add_ap(store, "faster_rcnn_resnet101_fpn", 42.0)
    marks = pictures(store)["average-precision"].marks.values()
    assert any("42.000 measured here" in words for words in marks)
    assert any("42 published by detectron2_model_zoo" in words for words in marks)


def test_latency_has_a_picture_a_setting_and_no_mark_for_the_plain_network(store):
    for batch in (1, 8):
        store.add(latency_record("resnet50", (1.0, 1.0, 1.0), batch_size=batch))
        store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6), batch_size=batch))
    found = {name: picture for name, picture in pictures(store).items() if name.startswith("latency")}
    assert len(found) == 2
    for picture in found.values():
        (words,) = picture.marks.values()
        assert words.startswith("aw_resnet50: 1.500 of resnet50 (1.400 to 1.600)")


def test_aw_speed_has_a_picture_a_setting_and_says_what_auto_chose(store):
    for count, batch in enumerate((8, 64, 8)):
        for method, ratio in (("plain", None), ("grouped", 4.0), ("auto", 1.25), ("se", 0.1)):
            store.add(aw_speed_record(method, ratio, run=str(count), batch_size=batch))
    found = {name: picture for name, picture in pictures(store).items() if name.startswith("aw-speed")}
    assert list(found) == ["aw-speed-1", "aw-speed-2"]  # the newest run of each of two settings
    for picture in found.values():
        auto, grouped = sorted(picture.marks.values())
        assert grouped.startswith("grouped at 16x6x6: 4.000 of plain (4.000 to 4.000), 4.00 ms; 2026-01-01")
        assert auto.startswith("auto (direct) at 16x6x6: 1.250 of plain (1.250 to 1.250), 1.25 ms; ")
    assert "batch 8, float32" in found["aw-speed-1"].caption


def test_training_curves_are_of_recorded_runs_and_survive_a_cut_line(store):
    add_top1(store, "resnet101", 77.4)
    (record,) = store.load("accuracy")
    assert training_pictures(store) == []
    folder = store.results / "runs" / f"resnet101-imagenet-cbam-seed0-{record.key[:8]}"
    folder.mkdir(parents=True)
    rows = [{"step": 50, "loss": 6.9, "lr": 0.1}, {"step": 100, "loss": 5.0, "top1_percent": 12.5}]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 150, "lo'
    (folder / "metrics.jsonl").write_text("not json\n" + text)
    (other := store.results / "runs/resnet101-imagenet-cbam-seed1-00000000").mkdir()
    (other / "metrics.jsonl").write_text(text.replace("5.0", "4.0"))  # not recorded yet
    (picture,) = training_pictures(store)
    assert re.fullmatch("training-imagenet-cbam-resnet101-[0-9a-f]{6}", picture.name)
    assert list(picture.marks.values()) == [
        "resnet101, seed 0: loss 5 at step 100",
        "resnet101, seed 0: top1_percent 12.5 at step 100",
    ]


def test_files_are_the_same_bytes_for_the_same_records_and_carry_their_words(store):
    store.add(latency_record("resnet50", (1.0, 1.0, 1.0), device_name="<a> & b"))
    store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6), device_name="<a> & b"))
    for format, magic in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        first, second = (pictures(store)["latency-1"].to_bytes(format) for _ in range(2))
        assert first == second and first.startswith(magic)
    picture = pictures(store)["latency-1"]
    for svg in (picture.to_bytes("svg").decode(), picture.to_inline_svg()):
        titles = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]
        assert titles == list(picture.marks.values())


def test_a_changed_recipe_is_another_point_though_it_keeps_its_name(store):
    counts = make_record(variant="resnet101")
    store.add(counts)
    add_top1(store, "resnet101", 78.0, 78.2)
    short = load_recipe("cbam", ["epochs=1"]).identity()
    add_top1(store, "resnet101", 30.0, 30.2, recipe=short, finished="2026-02-01T00:00:00.000000Z")
    marks = [words for words in pictures(store)["accuracy"].marks.values() if "measured here" in words]
    assert [words.split()[1] for words in marks] == ["78.100", "30.100"]


def test_a_recipe_called_anything_is_a_plain_file_name(store, tmp_path):
    recipe = load_recipe("cbam").identity() | {"name": "../../evil $x^{$ <b>"}
    add_top1(store, "resnet101", 77.4, recipe=recipe)
    (record,) = store.load("accuracy")
    folder = store.results / "runs" / f"resnet101-imagenet-x-seed0-{record.key[:8]}"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    (picture,) = training_pictures(store)
    assert re.fullmatch("[A-Za-z0-9-]+", picture.name)
    assert picture.to_bytes("png")
