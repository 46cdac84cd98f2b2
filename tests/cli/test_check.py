"""`awbench check`: exit codes, JUnit, Markdown and JSON, on a small grid."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from sample_records import latency_record

from awbench.cli import grid
from awbench.gate import bands, locked, proxies
from awbench.records import RecordStore
from awbench.variants import list_variants

NAMES = ("resnet18", "aw_resnet18", "faster_rcnn_resnet18_fpn")


@pytest.fixture
def gate(awbench, monkeypatch, tmp_path):
    """The command on three networks; `gate.rows` are their locked counts, and can be changed."""
    small = [variant for variant in list_variants() if variant.name in NAMES]
    monkeypatch.setattr(grid, "list_variants", lambda task: [v for v in small if v.task == task])
    monkeypatch.setattr("awbench.detection.engine.has_detectron2", lambda: False)
    rows = [row for row in locked.load_locked() if row.variant in NAMES]
    monkeypatch.setattr(locked, "load_locked", lambda: rows)
    monkeypatch.setattr(proxies, "load_locked_runs", lambda: [])
    one = [band for band in bands.load_bands() if band.variant == "aw_resnet18" and band.device == "cpu"]
    monkeypatch.setattr(bands, "load_bands", lambda: one)
    monkeypatch.setattr("awbench.cli.check.device_name", lambda: "cpu")

    def run(*words):
        return awbench("check", *words)

    run.rows, run.store = rows, RecordStore(tmp_path / "results")
    return run


def test_it_passes_on_a_clean_tree(gate):
    code, out, err = gate()
    assert code == 0 and err.startswith("first every network is counted: about 1 minute on")
    assert "exact counts" in out and "5" in out
    assert "1 exact counts not measured: needs detectron2 (" in out and "--require KIND makes it required" in out


def test_one_changed_count_is_exit_code_1_and_named_everywhere(gate, tmp_path):
    gate.rows[0] = gate.rows[0].model_copy(update={"params": gate.rows[0].params + 1})
    code, out, _ = gate("--junit", tmp_path / "check.xml", "--markdown", tmp_path / "check.md")
    assert code == 1 and "params is 11,689,512, locked 11,689,513" in out
    (failure,) = ElementTree.parse(tmp_path / "check.xml").iter("failure")
    assert "locked 11,689,513" in failure.attrib["message"]
    markdown = (tmp_path / "check.md").read_text()
    assert markdown.startswith("### awbench check: **fail**") and "locked 11,689,513" in markdown
    document = json.loads(gate("--json")[1])
    assert document["exit_code"] == 1
    assert [check["name"] for check in document["checks"] if check["fails"]] == ["resnet18 (v1, 224)"]


def test_a_required_record_that_is_missing_is_exit_code_3(gate, tmp_path):
    assert gate()[0] == 0
    code, out, _ = gate("--require", "latency", "--junit", tmp_path / "check.xml")
    assert code == 3 and "not measured: aw_resnet18, batch 1" in out
    assert len(list(ElementTree.parse(tmp_path / "check.xml").iter("failure"))) == 1
    gate.store.add(latency_record("aw_resnet18", (1.5, 1.45, 1.55)))
    assert gate("--require", "latency")[0] == 0
    assert gate("--require", "accuracy")[0] == 3


def test_a_ratio_out_of_its_band_is_exit_code_1(gate):
    gate.store.add(latency_record("aw_resnet18", (30.0, 29.0, 31.0)))
    code, out, _ = gate()
    assert code == 1 and "fail: aw_resnet18, batch 1" in out and "30.000 (29.000 to 31.000)" in out


def test_measure_times_what_has_a_band_and_no_record_once(gate, monkeypatch):
    monkeypatch.setattr("awbench.cli.check._BUDGET_SECONDS", 0.2)
    monkeypatch.setattr("awbench.gate.bands._WIDEST", 1e9)  # what other load on the machine made wide is no matter
    assert "latency of 1 networks measured" in gate("--measure")[2]
    assert "latency of 1 networks found" in gate("--measure")[2]
    assert sorted(record.variant for record in gate.store.read().of_kind("latency")) == ["aw_resnet18", "resnet18"]


def test_junit_counts_what_it_lists(gate, tmp_path):
    gate("--junit", tmp_path / "check.xml")
    for suite in ElementTree.parse(tmp_path / "check.xml").iter("testsuite"):
        cases = list(suite.iter("testcase"))
        assert int(suite.attrib["tests"]) == len(cases)
        assert int(suite.attrib["skipped"]) == len(list(suite.iter("skipped")))
        assert int(suite.attrib["failures"]) == len(list(suite.iter("failure")))


def test_an_unknown_kind_is_one_line(gate):
    code, out, err = gate("--require", "latencies")
    assert (code, out) == (2, "") and "did you mean latency?" in err and err.count("\n") == 1
