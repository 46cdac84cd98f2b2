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
from awbench.report.figures.complexity import complexity_figure
from awbench.report.figures.figure import new_figure
from awbench.report.figures.latency import latency_figures
from awbench.report.figures.studies import study_figures
from awbench.report.figures.training import training_figures
from awbench.studies import load_study
from awbench.variants import AWOptions, ModelOptions, describe_options, parse_variant
from awbench.verdicts.protocol import default_options

LATENCY = "latency-batch-1-float32-contiguous-224-pixels-2-threads"


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def figures(store):
    return {figure.name: figure for figure in all_figures(store.read(), load_references())}


def test_without_records_there_is_what_publications_say_and_no_empty_axes(store):
    found = figures(store)
    assert list(found) == ["published-imagenet", "published-coco"]
    assert not any("measured here" in text for figure in found.values() for text in figure.data.values())


def test_the_forest_says_what_decides_a_claim(store):
    for run in imagenet_pair(1.0, 4):
        store.add(run)
    texts = list(figures(store)["claims"].data.values())
    (measured,) = [text for text in texts if "runs aw_resnet101" in text]
    assert measured.startswith("+1.00 (") and "gain; as claimed; look 2 of 8, 4 runs each" in measured
    assert "aw_resnet101: 78.30, 78.50, 78.40, 78.30; resnet101: 77.30, 77.40, 77.50, 77.30" in measured


def test_published_gains_are_over_the_plain_network_of_the_same_source(store):
    texts = list(figures(store)["published-imagenet"].data.values())
    (cbam,) = [text for text in texts if text.startswith("cbam_resnet50: 77.34 published by eca_paper")]
    assert cbam.endswith("; +2.14 over resnet50: 75.2 published by eca_paper, secondary")
    claims = [text for text in texts if "claimed by aw_convolution" in text]
    assert claims == [
        "aw_resnet101: +1.00 percentage points over resnet101, claimed by aw_convolution, no numbers known"
    ]
    axes = figures(store)["published-imagenet"].drawing.axes
    assert [panel.get_title(loc="left") for panel in axes] == [f"ResNet-{depth}" for depth in (18, 34, 50, 101, 152)]
    assert "ECA paper" in [label.get_text() for label in axes[2].get_yticklabels()]


def test_trainings_here_are_compared_with_the_plain_network_of_their_own_protocol(store):
    add_top1(store, "resnet50", 76.0, 76.2)
    assert not any("measured here" in text for text in figures(store)["published-imagenet"].data.values()), "alone"
    add_top1(store, "se_resnet50", 77.0)
    short = load_recipe("cbam", ["epochs=1"]).identity()
    add_top1(store, "se_resnet50", 30.0, recipe=short, finished="2026-02-01T00:00:00.000000Z")
    (here,) = [text for text in figures(store)["published-imagenet"].data.values() if "measured here" in text]
    plain = "resnet50: 76.100 measured here, recipe cbam, 100 epochs, 2 run(s), standard deviation 0.141"
    assert here == f"se_resnet50: 77.000 measured here, recipe cbam, 100 epochs, 1 run(s); +0.90 over {plain}"


def test_coco_records_are_in_their_own_figure(store):
    add_ap(store, "faster_rcnn_resnet101_fpn", 42.0)
    add_ap(store, "faster_rcnn_aw_resnet101_fpn", 42.5)
    texts = figures(store)["published-coco"].data.values()
    assert any("; +0.50 over faster_rcnn_resnet101_fpn: 42.000 measured here" in text for text in texts)
    assert any("published by eca_paper" in text for text in texts)


def test_a_pair_below_its_claim_has_its_own_answers_colour(store):
    """SE gains as claimed, which decides the claim; CBAM does not."""
    for run in STATES["as-claimed"]:
        store.add(run)
    axes = figures(store)["claims"].drawing.axes[0]
    labels = [text.get_text() for text in axes.texts if text.get_ha() == "left"]
    colours = {labels[round(line.get_ydata()[0])]: line.get_color() for line in axes.lines if line.get_marker() == "o"}
    assert colours["ImageNet: AW-SE or AW-CBAM"] == STATUS_COLOURS["as claimed"]
    assert colours["AW-SE-ResNet-101"] == STATUS_COLOURS["as claimed"]
    assert colours["AW-CBAM-ResNet-101"] == STATUS_COLOURS["less than claimed"]


def test_latency_has_a_figure_for_each_setting_and_no_datum_for_the_plain_network(store):
    for batch in (1, 8):
        store.add(latency_record("resnet50", (1.0, 1.0, 1.0), batch_size=batch))
        store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6), batch_size=batch))
    found = {name: figure for name, figure in figures(store).items() if name.startswith("latency")}
    assert len(found) == 2
    for figure in found.values():
        (text,) = figure.data.values()
        assert text.startswith("aw_resnet50: 1.500 of resnet50 (1.400 to 1.600)")
        (panel,) = figure.drawing.axes
        assert (panel.get_title(loc="left"), [text.get_text() for text in panel.texts]) == ("ResNet-50", ["1.50"])


def test_a_ratio_that_is_too_noisy_is_hollow_and_does_not_set_the_scale(store):
    store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6)))
    store.add(latency_record("se_resnet50", (2.7, 2.1, 9.0)))
    (figure,) = latency_figures(store.read())
    (panel,) = figure.drawing.axes
    assert panel.get_xlim()[1] < 2 and [text.get_text() for text in panel.texts] == ["2.70, too noisy", "1.50"]
    noisy, usable = (marks_at(panel, place) for place in (0, 1))
    assert noisy == {">": "#ffffff"}, "an arrow to where it is, no point at the axis' end"
    assert set(usable) == {"o"} and usable["o"] != "#ffffff"
    assert "arrow: goes on beyond the axis" in legend(figure)
    store.add(latency_record("se_resnet34", (2.0, 0.6, 9.0), batch_size=64))
    assert len(latency_figures(store.read())) == 1, "nothing usable, no figure"


def test_a_noisy_ratio_near_the_others_is_in_its_place(store):
    store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6)))
    store.add(latency_record("se_resnet50", (1.7, 0.6, 9.0)))
    (figure,) = latency_figures(store.read())
    (panel,) = figure.drawing.axes
    assert marks_at(panel, 0) == {"<": "#e69f00", ">": "#e69f00", "o": "#ffffff"}
    assert [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "o"] == [1.7, 1.5]
    assert legend(figure) == ["hollow: too wide an interval to say anything", "arrow: goes on beyond the axis"]


def marks_at(panel, place: int) -> dict[str, str]:
    """Marker -> the colour of its face, of a row."""
    found = [line for line in panel.lines if line.get_marker() in "o<>" and line.get_ydata()[0] == place]
    return {line.get_marker(): line.get_markerfacecolor().lower() for line in found}


def legend(figure) -> list[str]:
    return [text.get_text() for drawn in figure.drawing.legends for text in drawn.get_texts()]


def test_networks_with_other_options_have_a_label_and_a_row_of_their_own(store):
    store.add(latency_record("aw_resnet50", (1.5, 1.4, 1.6)))
    other = describe_options(parse_variant("aw_resnet50"), ModelOptions(aw=AWOptions(gate="tanh")))
    store.add(latency_record("aw_resnet50", (1.2, 1.1, 1.3)).model_copy(update={"options": other}))
    (panel,) = latency_figures(store.read())[0].drawing.axes
    assert {"AW", "AW with gate=tanh"} <= {text.get_text() for text in panel.texts}


def test_what_attention_adds_has_one_axis_of_depths_and_bars_of_one_width(store):
    for name in ("resnet50", "aw_resnet50"):
        store.add(make_record(variant=name, options=default_options(name, ModelOptions())))
    upper, lower = complexity_figure(store.read()).drawing.axes
    assert upper.get_xlim() == lower.get_xlim() == (-1.5, 1.5)
    assert [label.get_text() for label in upper.get_xticklabels()] == ["50"], "no depth that was not counted"
    assert {round(bar.get_width(), 3) for panel in (upper, lower) for bar in panel.patches} == {0.184}


def test_a_study_says_what_its_marks_mean(store):
    for label, values in (
        ("resnet20", [93.0, 93.1, 92.9]), ("aw_resnet20", [93.1, 93.2, 93.0]),
        ("se_resnet20", [93.0, 93.4]), ("aw_se_resnet20", [90.0, 97.0]),
    ):  # fmt: skip
        for run in runs_of(load_study("fashion-mnist"), label, values):
            store.add(run)
    (figure,) = study_figures(store.read())
    assert legend(figure)[0] == "less than the 0.2 points that matter"


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
        "resnet101, 1 run(s): top-1 12.5 at step 100",
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
        "resnet101, evaluation.resize=232, 1 run(s): loss 9 at step 2,000",
        "resnet101, evaluation.resize=256, 3 run(s): loss 6 (5 to 7) at step 2,000",
        "se_resnet101, 1 run(s): loss 8 at step 2,000",
    ]
    loss_axes = figure.drawing.axes[0]
    assert all(len(line.get_xdata()) <= 300 for line in loss_axes.lines)
    assert len(loss_axes.collections) == 1  # the band


def test_figures_of_one_recipe_with_other_changes_have_other_titles(store):
    for changes in ([], ["epochs=2"], ["epochs=2", "optimizer.lr=0.05"]):
        stated = {"recipe": {"name": "cbam", "changes": changes}}
        add_top1(store, "resnet101", 77.0, recipe=load_recipe("cbam", changes).identity(), environment=stated)
    add_top1(store, "resnet101", 77.0, recipe=load_recipe("cbam", ["optimizer.lr=0.5"]).identity())  # states none
    for record in store.read().of_kind("accuracy"):
        add_run(store, record, {"step": 1, "loss": 1.0})
    titles = {figure.title.partition("recipe ")[2] for figure in training_figures(store.read())}
    assert titles == {
        "cbam, optimizer.lr=0.1", "cbam epochs=2", "cbam epochs=2 optimizer.lr=0.05", "cbam, optimizer.lr=0.5",
    }  # fmt: skip


def test_a_network_with_other_options_is_another_line_with_its_own_label(store):
    for gate in ("sigmoid", "tanh"):
        options = describe_options(parse_variant("aw_resnet101"), ModelOptions(aw=AWOptions(gate=gate)))
        add_top1(store, "aw_resnet101", 77.0, options=options)
    add_top1(store, "aw_resnet101", 77.0, evaluation={"resize": 232, "crop": 224})
    for record in store.read().of_kind("accuracy"):
        add_run(store, record, {"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5})
    (figure,) = training_figures(store.read())
    assert sorted(legend(figure)) == ["AW with gate=tanh", "AW, evaluation.resize=232", "AW, evaluation.resize=256"]
    lines = figure.drawing.axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 3
    assert any(text.startswith("aw_resnet101 with gate=tanh, 1 run(s)") for text in figure.data.values())


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
        first, second = (figures(store)[LATENCY].to_bytes(format) for _ in range(2))
        assert first == second and first.startswith(magic)
    figure = figures(store)[LATENCY]
    for svg in (figure.to_bytes("svg").decode(), figure.to_inline_svg()):
        titles = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]
        assert titles == list(figure.data.values())


def test_a_run_on_fewer_images_than_the_dataset_has_is_said(store):
    for name, value in (("resnet101", 30.0), ("se_resnet101", 31.0)):
        for run in runs_of(IMAGENET, name, [value], environment={"train_images": 1000}):
            store.add(run)
    (text,) = [text for text in figures(store)["published-imagenet"].data.values() if "measured here" in text]
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


def test_text_of_a_record_that_no_xml_may_hold_is_shown_as_its_code():
    acting = "gate=\x1b[31m\x00"
    with new_figure("odd", acting, acting, 2) as figure:
        (bar,) = figure.drawing.subplots().bar([acting], [1.0], label=acting)
        figure.describe(bar, acting)
        figure.add_labels({acting: bar})
    for svg in (figure.to_bytes("svg").decode(), figure.to_inline_svg()):
        assert not set(svg) & {"\x1b", "\x00"} and r"gate=\x1b[31m\x00" in "".join(
            ElementTree.fromstring(svg.encode()).itertext()
        )
