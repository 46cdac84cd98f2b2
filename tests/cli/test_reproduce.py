"""`awbench reproduce` from nothing, again, after changes, and killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from awbench.cli import reproduce
from awbench.records import RecordStore
from awbench.variants import list_variants


@pytest.fixture
def small_grid(monkeypatch):
    """Two networks counted instead of sixty-four, and none trained; the command is the same."""
    small = [v for v in list_variants("classification") if v.name in ("resnet20", "aw_resnet20")]
    monkeypatch.setattr(reproduce, "list_variants", lambda task: small)
    monkeypatch.setattr(reproduce, "PROXY_VARIANTS", ("resnet20",))
    monkeypatch.setattr(reproduce, "PROXY_SEEDS", ())


def tables(results: Path) -> dict[str, bytes]:
    files = [path for path in sorted(results.glob("[tf]*/*")) if not path.name.startswith(".")]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def test_reproduce_writes_every_table_and_figure_and_repeats_nothing(awbench, small_grid, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "PROXY_SEEDS", (0,))
    code, out, err = awbench("reproduce")
    assert code == 0
    assert "4 counted, 0 found" in err
    first = tables(tmp_path / "results")
    assert {"tables/complexity.md", "tables/grid.csv", "tables/claims.tex", "figures/complexity.svg"} <= set(first)
    code, again, err = awbench("reproduce")
    assert (code, again) == (0, out)
    assert "0 counted, 4 found" in err
    assert tables(tmp_path / "results") == first


def test_what_needs_data_or_a_gpu_is_named(awbench, small_grid):
    summary = json.loads(awbench("reproduce", "--json")[1])
    for kind, needs in (("accuracy", "ImageNet"), ("detection", "COCO"), ("claims", "CUDA")):
        assert any(needs in text for text in summary["not_measured"][kind])


def test_a_count_off_from_the_locked_one_is_exit_code_1(awbench, small_grid, monkeypatch):
    from awbench.reference import locked

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
        RecordStore(tmp_path / "killed").load("complexity")  # raises on a broken record
    assert killed >= 10
    assert run(tmp_path / "killed") == 0
    assert tables(tmp_path / "killed") == tables(tmp_path / "whole")
    records = RecordStore(tmp_path / "killed").load("complexity")
    assert len(records) == len({record.key for record in records}) == 128
