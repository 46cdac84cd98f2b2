"""`awbench latency` from the command line to records, JSON and tables; and what it refuses."""

from __future__ import annotations

import functools
import json
import re

import pytest
import torch
from sample_records import latency_record

from awbench.detection.engine import Detector
from awbench.recipes.detection import Sampling
from awbench.records import RecordStore
from awbench.report.latency import latency_table

QUICK = ("--budget", "0.2", "--width", "500")


@pytest.fixture(autouse=True)
def any_width(monkeypatch):
    """A quick run on a busy machine is too noisy; the last tests are about that."""
    monkeypatch.setattr("awbench.verdicts.latency._NOISY", float("inf"))


def test_json_has_what_scripts_need_and_records_are_kept(awbench, tmp_path):
    code, out, _ = awbench("latency", "aw_resnet20", "se_resnet20", "--batch-size", "1", "2", *QUICK, "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(row["variant"], row["batch_size"]) for row in rows] == [
        (name, batch) for batch in (1, 2) for name in ("resnet20", "aw_resnet20", "se_resnet20")
    ]
    for row in rows:
        assert row["ci_ms"][0] <= row["latency_ms"] <= row["ci_ms"][1]
        assert row["ratio_ci"][0] <= row["ratio_to_plain"] <= row["ratio_ci"][1]
        assert row["images_per_s"] == pytest.approx(1000 * row["batch_size"] / row["latency_ms"])
        assert (row["device"], row["dtype"], row["over"]) == ("cpu", "float32", "resnet20")
        assert row["peak_memory_bytes"] > 4 * 272_474
    assert len({row["run"] for row in rows}) == 2  # one for each batch size: only these ratios share a run
    assert len(RecordStore(tmp_path / "results").read().of_kind("latency")) == 6
    code, table, _ = awbench("table", "latency")
    assert code == 0 and table.count("| aw_resnet20") == 2 and "batch 2, float32, contiguous, 32 pixels" in table


def test_without_records_the_table_says_what_it_needs(awbench):
    assert "not measured: needs 'awbench latency'" in awbench("table", "latency")[1]


def test_a_second_call_measures_again(awbench, tmp_path):
    for _ in range(2):
        awbench("latency", "resnet20", *QUICK)
    assert len(RecordStore(tmp_path / "results").read().of_kind("latency")) == 2


MINE = """
schema_version: 1
name: mine
title: Mine
question: Does it matter?
purpose: exploratory
dataset: fashion-mnist
metric: top1
recipe: fashion-mnist
networks:
  full: {variant: aw_resnet20, aw: {expansion: 1}, note: the full map}
comparisons: [{variant: full, over: aw_resnet20}]
looks: [3]
matters: 0.2
"""


def test_the_networks_of_a_study_are_timed_in_one_run_as_they_are_built(awbench, tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(MINE)
    monkeypatch.setattr(
        "awbench.measure.timing.disturbance",
        lambda name, values: [f"{name} became 9% slower during the run"] if name == "full" else [],
    )
    code, out, _ = awbench("latency", "--study", str(tmp_path / "mine.yaml"), *QUICK, "--json")
    rows = json.loads(out)
    assert code == 0 and len({row["run"] for row in rows}) == 1
    assert [(row["variant"], row["options"]) for row in rows] == [
        ("resnet20", ""), ("aw_resnet20", ""), ("aw_resnet20", "expansion=1")
    ]  # fmt: skip
    assert {row["image_size"] for row in rows} == {28}, "as the study evaluates"
    table = awbench("table", "latency")[1].splitlines()
    assert ["became 9% slower" in line for line in table if line.startswith("| aw_resnet20")] == [False, True]
    found = awbench("table", "studies", "--study", str(tmp_path / "mine.yaml"), "--where", "study=mine", "--json")[1]
    shown = [row["ratio_to_plain"] for row in json.loads(found)]
    assert shown == [row["ratio_to_plain"] for row in rows[1:]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("resnet20",), "a variant and --study fashion-mnist are given; the study says which networks, and how built"),
        (("--aw-option", "gate=tanh"), "--aw-option and --study fashion-mnist are given"),
        (("--num-classes", "5"), "--num-classes and --study"),
        (("--stride-placement", "v1"), "--stride-placement and --study"),
        (("--engine", "torchvision"), "--engine concerns no variant named"),
        (("--image-size", "0"), "image size 0 is too small"),
    ],
)
def test_a_study_says_what_its_networks_are(awbench, words, message):
    code, out, err = awbench("latency", "--study", "fashion-mnist", *words)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_study_that_does_not_exist(awbench):
    code, _, err = awbench("latency", "--study", "fashion-mnst")
    assert code == 2 and "did you mean fashion-mnist?" in err


def test_detectors_tell_data_network_and_post_processing_apart(awbench, monkeypatch):
    few = functools.partial(Detector, sampling=Sampling(test_proposals=20))
    monkeypatch.setattr("awbench.detection.latency.Detector", few)
    monkeypatch.setattr("awbench.detection.latency.SHORTER_SIDE", 64)
    words = ("faster_rcnn_aw_resnet18_fpn", "--engine", "torchvision", *QUICK, "--json")
    rows = json.loads(awbench("latency", *words)[1])
    assert [row["variant"] for row in rows] == ["faster_rcnn_resnet18_fpn", "faster_rcnn_aw_resnet18_fpn"]
    for row in rows:
        assert row["engine"] == "torchvision" and row["image_size"] == "640x480"
        assert row["latency_ms"] > row["data_ms"] > row["post_processing_ms"] > 0
        assert row["images_per_s"] == pytest.approx(1000 / row["latency_ms"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch-size", "0"), "batch size 0 is not a number of images; use 1 or more"),
        (("--batch-size", "4", "-1"), "batch size -1"),
        (("--dtype", "float8_e5m2"), "dtype float8_e5m2 does not work on cpu"),
        (("--dtype", "int8"), "dtype 'int8' is not a floating-point dtype"),
        (("--layout", "nhwc"), "layout 'nhwc' is not known; use contiguous or channels_last"),
        (("--cuda-graph",), "a CUDA graph needs a CUDA device"),
        (("--width", "0"), "--width 0"),
        (("--budget", "-3"), "--budget -3"),
        (("--width", "nan"), "--width nan"),
        (("--threads", "0"), "--threads 0"),
        (("--aw-strategy", "grouped2"), "did you mean grouped?"),
        (("--device", "tpu"), "device 'tpu' is not known; use auto, cpu or cuda"),
        (("--image-size", "3"), "image size 3 is too small for resnet20"),
        (("--engine", "torchvision"), "--engine concerns no variant named"),
        (("--aw-option", "gate=tanh"), "--aw-option gate=tanh concerns no variant named"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(awbench, words, message):
    code, out, err = awbench("latency", "resnet20", *words)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_where_there_is_none(awbench):
    code, _, err = awbench("latency", "resnet20", "--device", "cuda")
    assert code == 2 and err == "awbench: device cuda is not available on this machine; use --device cpu\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch-size", "2"), "batch size 2 is not possible for detectors"),
        (("--dtype", "bfloat16"), "dtype bfloat16 is not possible for detectors"),
        (("--compile",), "compile True is not possible for detectors"),
    ],
)
def test_detectors_are_timed_as_they_are(awbench, words, message):
    code, _, err = awbench("latency", "faster_rcnn_resnet18_fpn", "--engine", "torchvision", *words)
    assert code == 2 and message in err


def test_where_every_ratio_is_too_noisy_it_is_marked_and_the_exit_code_is_3(awbench, monkeypatch):
    monkeypatch.setattr("awbench.verdicts.latency._NOISY", 0.0)
    code, out, err = awbench("latency", "aw_resnet20", *QUICK)
    assert code == 3 and "no ratio is usable" in err
    plain, aw = [line for line in out.splitlines() if "resnet20 " in line and line.startswith("|")]
    assert "too noisy" in aw and "too noisy" not in plain
    assert awbench("latency", "resnet20", *QUICK)[0] == 0  # nothing was asked of a ratio
    assert "Exit code 3" in awbench("latency", "--help")[1]


def test_a_note_is_said_once_below_the_rows_that_it_is_about(awbench, monkeypatch):
    note = "resnet20 became 68% slower during the run: a throttling processor, or changing load?"
    monkeypatch.setattr("awbench.measure.timing.disturbance", lambda name, values: [note] if name == "resnet20" else [])
    ends_at_a_check = ("--budget", "60", "--width", "500")  # which 0.2 s of a busy machine may not come to
    code, out, err = awbench("latency", "aw_resnet20", *ends_at_a_check)
    assert code == 0 and (out + err).count(note) == 1
    plain, aw = [line for line in out.splitlines() if "resnet20 " in line and line.startswith("|")]
    assert "| became 68% slower" in plain and "slower" not in aw
    assert note not in awbench("table", "latency", "--where", "variant=resnet18")[1]
    assert re.search(r"timing 1 network: \d+ rounds, .* wide, asked 500.0%, at most \S+ s left \(--budget\)", err)


def test_a_ratio_is_too_noisy_from_a_quarter_of_it_on(monkeypatch):
    monkeypatch.undo()
    records = [
        latency_record("aw_resnet20", ratio) for ratio in ((1.039, 0.663, 1.477), (1.0, 0.9, 1.1), (2.0, 1.8, 2.2))
    ]
    table = latency_table(records)
    assert [row[table.columns.index("verdict")] for row in table.rows] == ["too noisy", "", ""]
    assert all("verdict" not in found for found in table.objects)  # programs have the interval
