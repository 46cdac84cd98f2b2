"""`awbench reproduce` from nothing, again, after changes, and killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from study_files import write_study

from awbench.cli import grid, reproduce
from awbench.errors import UserError
from awbench.records import RecordStore
from awbench.variants import list_variants

# Seconds are in them, which no two runs share.
TIMED = re.compile("tables/(latency|digits-detection)[.]|figures/latency|report.html")


@pytest.fixture
def small_grid(monkeypatch):
    """Two networks and a detector counted instead of all, and none trained; the command is the same."""
    names = ("resnet20", "aw_resnet20", "faster_rcnn_resnet18_fpn")
    small = [variant for variant in list_variants() if variant.name in names]
    monkeypatch.setattr(grid, "list_variants", lambda task: [v for v in small if v.task == task])
    monkeypatch.setattr(grid, "LATENCY_ARCHITECTURES", ("resnet20",))
    monkeypatch.setattr(grid, "LATENCY_SECONDS", 0.5)
    monkeypatch.setattr(reproduce, "STUDIES", ())


def tables(results: Path) -> dict[str, bytes]:
    made = [*results.glob("[tf]*/*"), *results.glob("report.html")]
    files = [path for path in sorted(made) if not path.name.startswith(".")]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


@pytest.mark.end_to_end
def test_reproduce_writes_every_table_and_figure_and_repeats_nothing(awbench, small_grid, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "STUDIES", (write_study(tmp_path, looks=[1, 2]),))  # of smoke tests the first look
    code, out, err = awbench("reproduce")
    assert code == 0 and "2 runs made, 2 count" in err
    assert "4 counted, 0 found" in err and "latency: 2 timed, 0 found" in err
    assert "of resnet20 (" in out
    assert out.splitlines()[-1] == "Page: results/report.html" and len(out.splitlines()) < 60
    assert [line[:8] for line in err.splitlines() if line.startswith("[")] == [f"[{i} of 4]" for i in range(1, 5)]
    assert "4 phases, about " in err.splitlines()[0] and "GB in results" in err.splitlines()[0]
    (trained,) = [line for line in err.splitlines() if line.startswith("trained: aw_resnet20")]
    assert re.search(r"top-1 \d+\.\d\d %, \d+ s \(\d of 2", trained)
    first = tables(tmp_path / "results")
    assert {
        "tables/complexity.md",
        "tables/grid.csv",
        "tables/detectors.html",
        "tables/digits-detection.json",
        "tables/claims.tex",
        "report.html",
    } <= set(first)
    code, again, err = awbench("reproduce")
    assert (code, again) == (0, out)
    assert "0 counted, 4 found" in err and "latency: 0 timed, 2 found" in err
    assert tables(tmp_path / "results") == first


def test_what_needs_data_or_a_gpu_is_named(awbench, small_grid):
    summary = json.loads(awbench("reproduce", "--json")[1])
    for kind, needs in (
        ("accuracy", "--dataset imagenet"),
        ("detection", "--dataset coco"),
        ("claims", "study run imagenet"),
    ):
        assert any(needs in text for text in summary["not_measured"][kind])


def test_a_count_off_from_the_locked_one_is_exit_code_1(awbench, small_grid, monkeypatch):
    from awbench.gate import locked

    wrong = [row.model_copy(update={"params": 1}) for row in locked.load_locked() if row.variant == "aw_resnet20"]
    monkeypatch.setattr(locked, "load_locked", lambda: wrong)
    code, _, err = awbench("reproduce")
    assert code == 1
    assert "aw_resnet20 (v1.5, 32): params is 274,776, locked 1" in err


@pytest.mark.slow
def test_twenty_kills_at_random_moments_then_complete_and_identical(tmp_path, root):
    command = [sys.executable, "-m", "awbench", "reproduce", "--results"]

    def run(results: Path, seconds: float | None = None) -> int | None:
        process = subprocess.Popen(
            [*command, str(results)],
            cwd=root,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None
        return process.returncode

    assert run(tmp_path / "whole") == 0
    random.seed(time.time_ns())
    killed = 0
    for _ in range(20):
        killed += run(tmp_path / "killed", random.uniform(0.5, 9.0)) is None
        RecordStore(tmp_path / "killed").read().of_kind("complexity")  # raises on a broken record
    assert killed >= 10
    assert run(tmp_path / "killed") == 0
    killed_tables, whole_tables = (
        {name: content for name, content in tables(tmp_path / folder).items() if not TIMED.match(name)}
        for folder in ("killed", "whole")
    )
    assert killed_tables == whole_tables
    records = RecordStore(tmp_path / "killed").read().of_kind("complexity")
    assert len(records) == len({record.key for record in records}) >= 128 + 40


def test_a_folder_of_the_environment_that_is_none_is_said_before_anything_is_trained(awbench, monkeypatch):
    for name in ("AWBENCH_IMAGENET", "AWBENCH_COCO"):
        monkeypatch.setenv(name, "nowhere")
        code, _, err = awbench("reproduce")
        assert code == 2 and f"{name}=nowhere is not a folder" in err and err.count("\n") == 1
        monkeypatch.delenv(name)


def test_a_stage_that_fails_does_not_cost_the_tables(awbench, small_grid, tmp_path, monkeypatch):
    def fail(name, store, references):
        raise UserError("no room for the digits")

    monkeypatch.setattr(reproduce, "STUDIES", ("digits-detection",))
    monkeypatch.setattr(reproduce, "carry_out", fail)
    code, out, _ = awbench("reproduce")
    assert code == 2 and "failed: digits-detection: no room for the digits" in out
    assert "tables/complexity.md" in tables(tmp_path / "results")


def test_a_line_of_the_summary_names_its_columns_wherever_they_stand():
    from awbench.report.table import Column, Table, Unmeasured

    columns = [
        Column("variant", lambda row: row[0]),
        Column("new", lambda row: "x"),
        Column("runs", lambda row: row[1]),
    ]
    rows = [("resnet20", "3"), ("se_resnet20", ""), Unmeasured({"variant": "digits", "runs": "not measured"}, {})]
    expected = ["resnet20, runs 3", "se_resnet20", "digits, runs not measured"]
    assert reproduce.lines_of(Table("t", columns, rows), "variant", "runs") == expected
