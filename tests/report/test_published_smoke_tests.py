"""Tables of the smoke tests: what their studies say, and runs that are not of them."""

from __future__ import annotations

import pytest
from study_records import IMAGENET, as_records, runs_of, study_run

from awbench.records import Quantity
from awbench.reference.load import load_references
from awbench.report.studies import studies_table
from awbench.report.table import select
from awbench.report.tables import TABLES
from awbench.studies import beside, load_study
from awbench.studies.study import STUDIES

DIGITS, DETECTION = load_study("digits"), load_study("digits-detection")
NOT_OF_THE_STUDY = {"environment": {"study": None}}
REFERENCES = load_references()


def digits(*groups):
    return {row["variant"]: row for row in TABLES["proxy"](as_records(*groups), REFERENCES).objects}


def test_a_small_gain_on_digits_is_corrected_floored_and_no_finding():
    """By Welch's t of one pair alone this was +0.65 (+0.25 to +1.05)."""
    found = digits(
        runs_of(DIGITS, "resnet20", [97.77, 97.77, 98.05]), runs_of(DIGITS, "aw_resnet20", [98.33, 98.61, 98.61])
    )
    aw = found["aw_resnet20"]
    assert aw["difference"] == pytest.approx(0.65, abs=1e-3) and aw["over"] == "resnet20"
    assert aw["interval"][0] < 0 < aw["interval"][1] and aw["answer"] == "undecided"
    assert aw["level"] == pytest.approx(1 - 0.05 / 3)
    assert (found["resnet20"]["top1_mean"], found["resnet20"]["difference"]) == (pytest.approx(97.8644, abs=1e-3), None)


def test_equal_runs_do_not_give_an_interval_of_no_width():
    found = digits(runs_of(DIGITS, "resnet20", [98.0] * 3), runs_of(DIGITS, "aw_resnet20", [98.28] * 3))
    low, high = found["aw_resnet20"]["interval"]
    assert high - low > 2 * 100 / 359


def test_runs_that_the_study_did_not_make_are_shown_and_compared_with_nothing():
    found = digits(
        runs_of(DIGITS, "resnet20", [97.0, 97.1, 97.2], **NOT_OF_THE_STUDY),
        runs_of(DIGITS, "aw_resnet20", [98.0, 98.1, 98.2], **NOT_OF_THE_STUDY),
    )
    aw = found["aw_resnet20"]
    assert (aw["top1_mean"], aw["of_the_study"]) == (pytest.approx(98.143, abs=1e-3), False)
    assert (aw["over"], aw["difference"], aw["interval"], aw["answer"]) == (None, None, None, None)
    assert aw["left_aside"] == "not made by the study (awbench study run digits)"
    table = TABLES["proxy"](as_records(runs_of(DIGITS, "resnet20", [97.0], **NOT_OF_THE_STUDY)), REFERENCES)
    assert table.rows[0][-1] == "not of the study: not made by the study (awbench study run digits)"


@pytest.mark.parametrize(
    ("kind", "study"), [("proxy", DIGITS), ("studies", load_study("fashion-mnist"))], ids=["digits", "fashion-mnist"]
)
def test_that_the_sides_were_trained_on_other_processors_stands_beside_the_answer(kind, study):
    """On digits one processor gave +0.65, and another -0.19."""
    for models, said in (("AA", False), ("AB", True)):
        runs = [
            run for label, model in zip(("resnet20", "aw_resnet20"), models, strict=True)
            for run in runs_of(study, label, [93.0, 93.1, 93.2], environment={"training_device": "cpu", "cpu": model})
        ]  # fmt: skip
        table = TABLES[kind](as_records(runs), REFERENCES)
        cells = [row[table.columns.index("beside it")] for row in table.rows if "aw_resnet20" in row]
        assert [("how processors round" in cell) for cell in cells][:1] == [said]
        notes = [note for note in table.footnotes if "how processors round" in note]
        assert [note.startswith("The gain of aw_resnet20: ") for note in notes] == [True] * said


@pytest.mark.parametrize("kind", ["claims", "looks"])
@pytest.mark.parametrize(("models", "said"), [("AA", 0), ("AB", 1)], ids=["same", "other"])
def test_what_answers_rest_on_is_said_below_once_for_all_that_it_is_about(kind, models, said):
    runs = [
        runs_of(IMAGENET, label, [mean, mean + 0.1, mean + 0.2], environment={"training_device": "cpu", "cpu": model})
        for attention in ("se", "cbam")
        for label, mean, model in zip(
            (f"{attention}_resnet101", f"aw_{attention}_resnet101"), (77.0, 78.0), models, strict=True
        )
    ]
    notes = [note for note in TABLES[kind](as_records(*runs), REFERENCES).footnotes if "how processors round" in note]
    start = "The gain of aw_se_resnet101, aw_cbam_resnet101: the runs with the change were made on B, those without"
    assert [note.startswith(start) for note in notes] == [True] * said


def test_a_look_that_is_still_to_come_is_said():
    records = as_records(runs_of(DIGITS, "resnet20", [97.0]), runs_of(DIGITS, "aw_resnet20", [98.0]))
    plain, aw = TABLES["proxy"](records, REFERENCES).rows
    assert (aw[-1], aw[6]) == ("too early: 1 and 1 runs, the first look is at 3 of each", "")
    assert (plain[-1], plain[5]) == ("1 run", "")


@pytest.mark.parametrize(
    ("kind", "study"), [("proxy", DIGITS), ("digits-detection", DETECTION)], ids=["digits", "detectors"]
)
def test_a_gain_is_the_difference_of_the_means_beside_it(kind, study):
    """Of detectors two means are beside it, of AP and of AP50."""
    label, over = study.comparisons[0].variant, study.comparisons[0].over
    detector = {"values": {"box_ap": Quantity(value=50.0, unit="AP points")}, "engine": "torchvision"}
    changes = detector if kind == "digits-detection" else {}
    backbones = [
        run
        for name in (("resnet18", "aw_resnet18") if study.backbones else ())
        for run in runs_of(study.backbone_study, name, [95.0] * 3)
    ]
    plain = runs_of(study, over, [97.0, 97.2, 97.4], **changes)
    table = TABLES[kind](as_records(backbones, plain, runs_of(study, label, [96.0, 96.4, 96.8], **changes)), REFERENCES)
    rows = {row["variant"]: row for row in table.objects}
    mean, title = {"top1": ("top1_mean", "top-1"), "ap50": ("ap50", "AP50")}[rows[label]["metric"]]
    assert rows[label]["difference"] == pytest.approx(-8 / 3 / 359 * 100 if kind == "proxy" else -0.8)
    assert rows[label]["difference"] == pytest.approx(rows[label][mean] - rows[over][mean])
    assert f"AW adds to {title} (interval)" in table.columns and f"the mean of {title} less" in table.notes[1]


def test_a_gain_over_other_runs_than_the_mean_of_the_baseline_says_so(tmp_path):
    """Two pairs at different looks have one baseline, whose mean is shown once."""
    text = (STUDIES / "fashion-mnist-choices.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("fashion-mnist-choices", "mine").replace("[3]", "[3, 5]"))
    study = load_study(str(tmp_path / "mine.yaml"))
    few, many = [93.0, 93.1, 93.2], [93.0, 93.1, 93.2, 93.3, 93.4]

    def said(*sides):
        records = as_records(*(runs_of(study, *side) for side in sides))
        with beside([str(tmp_path / "mine.yaml")]):
            notes = studies_table(records, REFERENCES).footnotes
        return [note for note in notes if note.startswith("The gain of")]

    assert said(("aw_resnet20", many), ("e16", many), ("e1", many)) == []
    assert said(("aw_resnet20", many), ("e16", many), ("e1", few)) == [
        "The gain of e1 is over the first 3 runs of aw_resnet20, whose mean is shown over 5."
    ]


def test_the_tables_say_that_they_are_smoke_tests():
    for kind in ("proxy", "digits-detection"):
        table = TABLES[kind](as_records(), REFERENCES)
        assert "smoke test" in table.title and "no evidence on ImageNet or COCO" in table.notes[0]
        assert f"awbench study run {'digits' if kind == 'proxy' else 'digits-detection'}" in table.rows[0][2]


def detector_run(label, ap50, engine="torchvision"):
    return study_run(DETECTION, label, 0, ap50, engine=engine)


def test_detectors_are_compared_within_an_engine_alone():
    records = as_records(
        [study_run(DETECTION.backbone_study, label, 0, 95.0) for label in ("resnet18", "aw_resnet18")],
        [detector_run("faster_rcnn_resnet18_fpn", 10.0), detector_run("faster_rcnn_aw_resnet18_fpn", 12.0)],
        [detector_run("faster_rcnn_aw_resnet18_fpn", 50.0, "detectron2")],
    )
    found = {(row["variant"], row["engine"]): row for row in TABLES["digits-detection"](records, REFERENCES).objects}
    assert found["faster_rcnn_aw_resnet18_fpn", "torchvision"]["ap50"] == 12.0
    other = found["faster_rcnn_aw_resnet18_fpn", "detectron2"]
    assert (other["runs"], other["ap50"], other["difference"]) == (1, 50.0, None)
    assert found["faster_rcnn_aw_resnet18_fpn", "torchvision"]["interval"] is None  # one run each
    assert all(row["of_the_study"] for row in found.values())  # with the backbones that they began from


def test_only_the_studies_of_the_rows_that_are_shown_are_told_of():
    table = studies_table(as_records(), REFERENCES)
    assert any(note.startswith("fashion-mnist-choices (") for note in table.footnotes)
    shown = select(table, where=[("study", "fashion-mnist")]).footnotes
    assert [note.partition(" (")[0] for note in shown if "exploratory" in note or "confirmatory" in note] == [
        "fashion-mnist"
    ]
