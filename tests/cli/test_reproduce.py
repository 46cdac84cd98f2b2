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
from sample_records import make_record

from awbench.cli import grid, reproduce
from awbench.errors import UserError
from awbench.records import Quantity, RecordStore
from awbench.training.job import PROTOCOL
from awbench.training.recipe import load_recipe
from awbench.variants import ModelOptions, describe_options, list_variants, parse_variant

# Seconds are in them, which no two runs share.
TIMED = re.compile("tables/(speed|shapes)[.]|figures/latency|report.html")


@pytest.fixture
def small_grid(monkeypatch):
    """Two networks and a detector counted instead of all, and none trained; the command is the same."""
    names = ("resnet20", "aw_resnet20", "faster_rcnn_resnet18_fpn")
    small = [variant for variant in list_variants() if variant.name in names]
    monkeypatch.setattr(grid, "list_variants", lambda task: [v for v in small if v.task == task])
    monkeypatch.setattr(grid, "LATENCY_ARCHITECTURES", ("resnet20",))
    monkeypatch.setattr(grid, "LATENCY_SECONDS", 0.5)
    monkeypatch.setattr(reproduce, "PROXY_VARIANTS", ("resnet20",))
    monkeypatch.setattr(reproduce, "PROXY_SEEDS", ())
    monkeypatch.setattr(reproduce, "SHAPES_SEEDS", ())


def tables(results: Path) -> dict[str, bytes]:
    made = [*results.glob("[tf]*/*"), *results.glob("report.html")]
    files = [path for path in sorted(made) if not path.name.startswith(".")]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def test_reproduce_writes_every_table_and_figure_and_repeats_nothing(awbench, small_grid, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "PROXY_SEEDS", (0,))
    code, out, err = awbench("reproduce")
    assert code == 0
    assert "4 counted, 0 found" in err and "latency: 2 timed, 0 found" in err
    assert "of resnet20 (" in out
    first = tables(tmp_path / "results")
    assert {
        "tables/complexity.md",
        "tables/grid.csv",
        "tables/detectors.html",
        "tables/shapes.json",
        "tables/claims.tex",
        "figures/claims.svg",
        "report.html",
    } <= set(first)
    code, again, err = awbench("reproduce")
    assert (code, again) == (0, out)
    assert "0 counted, 4 found" in err and "latency: 0 timed, 2 found" in err
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
    killed_tables, whole_tables = (
        {name: content for name, content in tables(tmp_path / folder).items() if not TIMED.match(name)}
        for folder in ("killed", "whole")
    )
    assert killed_tables == whole_tables
    records = RecordStore(tmp_path / "killed").load("complexity")
    assert len(records) == len({record.key for record in records}) >= 128 + 40


def test_coco_runs_begin_from_the_imagenet_weights_of_their_backbone(tmp_path, monkeypatch):
    store = RecordStore(tmp_path / "results")
    recipe = load_recipe(reproduce.IMAGENET_RECIPE, reproduce.IMAGENET_CHANGES)
    short = recipe.model_copy(update={"epochs": 1})
    for seed, used in ((1, recipe), (0, recipe), (-1, short)):
        settings = {"origin": "trained", "dataset": "imagenet", "seed": seed, "protocol": PROTOCOL}
        record = make_record(
            kind="accuracy",
            variant="aw_resnet101",
            options=describe_options(parse_variant("aw_resnet101"), ModelOptions()),
            settings={**settings, "recipe": used.identity()},
            values={"images": Quantity(value=50_000, unit="images")},
        )
        store.add(record)
        run = tmp_path / "results" / "runs" / f"aw_resnet101-imagenet-cbam-seed{seed}-{record.key[:8]}"
        run.mkdir(parents=True)
        (run / "weights.safetensors").write_bytes(b"")
    names = ["resnet101", "aw_resnet101", "se_resnet101"]
    found = reproduce.backbone_weights(store, names)
    assert list(found) == ["aw_resnet101"] and "seed0" in str(found["aw_resnet101"])
    folder = tmp_path / "backbones"
    folder.mkdir()
    for name in ("resnet101.pth", "resnet101.pkl", "aw_resnet101.safetensors", "other.pth"):
        (folder / name).write_bytes(b"")
    monkeypatch.setenv("AWBENCH_BACKBONES", str(folder))
    found = reproduce.backbone_weights(store, names)
    assert {name: path.name for name, path in found.items()} == {
        "resnet101": "resnet101.pth",
        "aw_resnet101": "aw_resnet101.safetensors",
    }


def test_a_folder_of_the_environment_that_is_none_is_said_before_anything_is_trained(awbench, monkeypatch):
    for name in ("AWBENCH_IMAGENET", "AWBENCH_COCO", "AWBENCH_BACKBONES"):
        monkeypatch.setenv(name, "nowhere")
        code, _, err = awbench("reproduce")
        assert code == 2 and f"{name}=nowhere is not a folder" in err and err.count("\n") == 1
        monkeypatch.delenv(name)


def test_a_stage_that_fails_does_not_cost_the_tables(awbench, small_grid, tmp_path, monkeypatch):
    def fail(store):
        raise UserError("no room for the shapes")

    fail.__name__ = "train_shapes"
    monkeypatch.setattr(reproduce, "train_shapes", fail)
    code, out, _ = awbench("reproduce")
    assert code == 2 and "failed: shapes: no room for the shapes" in out
    assert "tables/complexity.md" in tables(tmp_path / "results")
