"""Figures from made-up records: the text of each datum is what the records hold."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from page_records import STATES
from sample_records import add_ap, add_top1, aw_speed_record, latency_record, make_record
from study_records import IMAGENET, imagenet_pair, runs_of

from awbench.recipes.classification import load_recipe
from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.figures import all_figures
from awbench.report.figures.claims import STATUS_COLOURS
from awbench.report.figures.training import training_figures
from awbench.variants import STRIDE_PLACEMENTS


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def figures(store):
    return {figure.name: figure for figure in all_figures(store.read(), load_references())}


def test_without_records_there_is_the_figure_of_claims_alone(store):
    (name,) = figures(store)
    texts = list(figures(store)[name].data.values())
    assert name == "claims" and len(texts) == 4
    assert all("not measured: needs 'awbench study run" in text for text in texts)


def test_the_forest_says_what_decides_a_claim(store):
    for run in imagenet_pair(1.0, 4):
        store.add(run)
    texts = list(figures(store)["claims"].data.values())
    (measured,) = [text for text in texts if "runs aw_resnet101" in text]
    assert measured.startswith("+1.00 (") and "gain; as claimed; look 2 of 8, 4 runs each" in measured
    assert "aw_resnet101: 78.30, 78.50, 78.40, 78.30; resnet101: 77.30, 77.40, 77.50, 77.30" in measured


def test_published_and_measured_accuracy_stand_at_the_counted_operations(store):
    add_top1(store, "resnet50", 76.0, 76.2)
    assert "accuracy" not in figures(store)  # nothing was counted
    store.add(make_record())
    texts = figures(store)["accuracy"].data.values()
    assert any(text.startswith("resnet50: 76.13 published by torchvision (IMAGENET1K_V1)") for text in texts)
    (here,) = [text for text in texts if "measured here" in text]
    runs = "resnet50: 76.100 measured here, recipe cbam, 100 epochs, 2 run(s), standard deviation 0.141"
    assert here == f"{runs}; 4.089 GMAC, 0.0 M elementwise multiplications"


def test_coco_records_have_their_own_figure(store):
    """What was published stands at the operations of its own stride placement."""
    for placement in STRIDE_PLACEMENTS:
        counts = make_record(
            variant="faster_rcnn_resnet101_fpn",
            options={"stride_placement": placement, "num_classes": 80},
            settings={"engine": "detectron2", "image_size": [800, 1088], "proposals": 1000, "cross_check": False},
        )
        store.add(counts)
    add_ap(store, "faster_rcnn_resnet101_fpn", 42.0)
    texts = figures(store)["average-precision"].data.values()
    assert any("42.000 measured here" in text for text in texts)
    assert any("42 published by detectron2_model_zoo" in text for text in texts)


def test_a_pair_below_its_claim_has_its_own_answers_colour(store):
    """SE gains as claimed, which decides the claim; CBAM does not."""
    for run in STATES["as-claimed"]:
        store.add(run)
    axes = figures(store)["claims"].drawing.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    colours = {labels[round(line.get_ydata()[0])]: line.get_color() for line in axes.lines if line.get_marker() == "o"}
    assert colours["imagenet-combined\ngain; as claimed"] == STATUS_COLOURS["as claimed"]
    assert colours["aw_se_resnet101\ngain; as claimed"] == STATUS_COLOURS["as claimed"]
    assert colours["aw_cbam_resnet101\ngain undecided; less than claimed"] == STATUS_COLOURS["less than claimed"]


def test_latency_has_a_figure_for_each_setting_and_no_datum_for_the_plain_network(store):
    for batch in (1, 8):
        store.add(latency_record("resnet50", (1.0, 1.0, 1.0), batch_size=batch))
        store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6), batch_size=batch))
    found = {name: figure for name, figure in figures(store).items() if name.startswith("latency")}
    assert len(found) == 2
    for figure in found.values():
        (text,) = figure.data.values()
        assert text.startswith("aw_resnet50: 1.500 of resnet50 (1.400 to 1.600)")


def test_aw_speed_has_a_figure_for_each_setting_and_says_what_auto_chose(store):
    for count, batch in enumerate((8, 64, 8)):
        for method, ratio in (("plain", None), ("grouped", 4.0), ("auto", 1.25), ("se", 0.1)):
            store.add(aw_speed_record(method, ratio, run=str(count), batch_size=batch))
    found = {name: figure for name, figure in figures(store).items() if name.startswith("aw-speed")}
    assert list(found) == ["aw-speed-1", "aw-speed-2"]  # the newest run of each of two settings
    for figure in found.values():
        auto, grouped = sorted(figure.data.values())
        assert grouped.startswith("grouped at 16x6x6: 4.000 of plain (4.000 to 4.000), 4.00 ms; 2026-01-01")
        assert auto.startswith("auto (direct) at 16x6x6: 1.250 of plain (1.250 to 1.250), 1.25 ms; ")
    assert "batch 8, float32" in found["aw-speed-1"].caption


def test_training_curves_are_of_recorded_runs_and_survive_a_cut_line(store):
    add_top1(store, "resnet101", 77.4)
    (record,) = store.read().of_kind("accuracy")
    assert training_figures(store.read()) == []
    folder = store.results / "runs" / f"resnet101-imagenet-cbam-seed0-{record.key[:8]}"
    folder.mkdir(parents=True)
    rows = [{"step": 50, "loss": 6.9, "lr": 0.1}, {"step": 100, "loss": 5.0, "top1_percent": 12.5}]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 150, "lo'
    (folder / "metrics.jsonl").write_text("not json\n" + text)
    (other := store.results / "runs/resnet101-imagenet-cbam-seed1-00000000").mkdir()
    (other / "metrics.jsonl").write_text(text.replace("5.0", "4.0"))  # not recorded yet
    (figure,) = training_figures(store.read())
    assert re.fullmatch("training-imagenet-cbam-101-[0-9a-f]{6}", figure.name)
    assert list(figure.data.values()) == [
        "resnet101, 1 run(s): loss 5 at step 100",
        "resnet101, 1 run(s): top1_percent 12.5 at step 100",
    ]


def add_run(store, record, *rows):
    folder = store.results / "runs" / f"{record.variant}-of-any-name-{record.key[:8]}"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_runs_with_other_seeds_are_one_curve_with_the_band_that_they_span(store):
    add_top1(store, "resnet101", 77.3, 77.4, 77.5)
    add_top1(store, "se_resnet101", 77.4)
    add_top1(store, "resnet101", 77.0, evaluation={"resize": 232, "crop": 224})  # never averaged with the others
    for number, record in enumerate(store.read().of_kind("accuracy")):
        add_run(store, record, *({"step": step, "loss": 5.0 + number} for step in range(1, 2001)))
    (figure,) = training_figures(store.read())
    assert sorted(figure.data.values()) == [
        "resnet101, 1 run(s): loss 9 at step 2,000",
        "resnet101, 3 run(s): loss 6 (5 to 7) at step 2,000",
        "se_resnet101, 1 run(s): loss 8 at step 2,000",
    ]
    loss_axes = figure.drawing.axes[0]
    assert all(len(line.get_xdata()) <= 300 for line in loss_axes.lines)
    assert len(loss_axes.collections) == 1  # the band


def test_however_many_recipes_were_trained_the_latest_have_a_figure(store):
    for day in range(1, 29):
        recipe = load_recipe("cbam", [f"epochs={day}"]).identity() | {"name": f"recipe{day:02d}"}
        add_top1(store, "resnet101", 77.4, recipe=recipe, finished=f"2026-01-{day:02d}T00:00:00Z")
    for record in store.read().of_kind("accuracy"):
        add_run(store, record, {"step": 1, "loss": 1.0})
    names = {figure.name.split("-")[2] for figure in training_figures(store.read())}
    assert names == {f"recipe{day:02d}" for day in range(5, 29)}


def test_files_are_the_same_bytes_for_the_same_records_and_carry_their_data(store):
    store.add(latency_record("resnet50", (1.0, 1.0, 1.0), device_name="<a> & b"))
    store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6), device_name="<a> & b"))
    for format, magic in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        first, second = (figures(store)["latency-1"].to_bytes(format) for _ in range(2))
        assert first == second and first.startswith(magic)
    figure = figures(store)["latency-1"]
    for svg in (figure.to_bytes("svg").decode(), figure.to_inline_svg()):
        titles = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]
        assert titles == list(figure.data.values())


def test_a_changed_recipe_is_another_point_though_it_keeps_its_name(store):
    counts = make_record(variant="resnet101")
    store.add(counts)
    add_top1(store, "resnet101", 78.0, 78.2)
    short = load_recipe("cbam", ["epochs=1"]).identity()
    add_top1(store, "resnet101", 30.0, 30.2, recipe=short, finished="2026-02-01T00:00:00.000000Z")
    texts = [text for text in figures(store)["accuracy"].data.values() if "measured here" in text]
    assert [text.split(", 2 run(s)")[0] for text in texts] == [
        "resnet101: 78.100 measured here, recipe cbam, 100 epochs",
        "resnet101: 30.100 measured here, recipe cbam, 1 epochs",
    ]


def test_a_run_on_fewer_images_than_the_dataset_has_is_said(store):
    store.add(make_record(variant="resnet101"))
    for run in runs_of(IMAGENET, "resnet101", [30.0], environment={"train_images": 1000}):
        store.add(run)
    (text,) = [text for text in figures(store)["accuracy"].data.values() if "measured here" in text]
    assert "recipe cbam, 100 epochs, on 1,000 of 1,281,167 training images, 1 run(s)" in text


def test_a_recipe_called_anything_is_a_plain_file_name(store, tmp_path):
    recipe = load_recipe("cbam").identity() | {"name": "../../evil $x^{$ <b>"}
    add_top1(store, "resnet101", 77.4, recipe=recipe)
    (record,) = store.read().of_kind("accuracy")
    folder = store.results / "runs" / f"resnet101-imagenet-x-seed0-{record.key[:8]}"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    (figure,) = training_figures(store.read())
    assert re.fullmatch("[A-Za-z0-9-]+", figure.name)
    assert figure.to_bytes("png")
