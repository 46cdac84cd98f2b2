"""`awbench aw-speed` from the command line to records, JSON and its table; and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from awbench.kernels import STRATEGIES
from awbench.measure import aw_speed
from awbench.measure.aw_speed import Rates, Shape, SpeedSettings, measure_shape
from awbench.measure.timing import TimingGoal
from awbench.records import RecordStore

QUICK = ("--budget", "0.2", "--width", "500")
SHAPES = (Shape(16, 6), Shape(32, 4), Shape(16, 6, 2))
METHODS = ["plain", *(name for name in STRATEGIES if name != "fused"), "auto", "aw_layer", "se", "cbam"]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(aw_speed, "RESNET50_SHAPES", SHAPES)


def test_json_has_every_method_at_every_shape_of_one_run_and_the_table_comes_from_the_records(
    awbench, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWBENCH_AW_STRATEGY", "tapwise")  # what "auto" then executes, on every machine
    code, out, err = awbench("aw-speed", "--batch-size", "2", "--backward", *QUICK, "--json")
    rows = json.loads(out)
    assert code == 0
    assert "timing 3 shapes, forward and backward" in err
    for direction in ("forward", "forward and backward"):
        of = [row for row in rows if row["direction"] == direction]
        assert [(row["shape"], row["method"]) for row in of] == [
            (shape, method)
            for shape in ("16x6x6", "32x4x4", "16x6x6, stride 2", "sum of 2, stride 1")
            for method in METHODS
        ]
        assert len({row["run"] for row in of}) == 1
        by = {(row["shape"], row["method"]): row for row in of}
        for (shape, method), row in by.items():
            assert row["time_ms"] > 0 and "expansion" not in row
            if shape.startswith("sum"):
                parts = [by[of_shape, method]["time_ms"] for of_shape in ("16x6x6", "32x4x4")]
                assert row["time_ms"] == pytest.approx(sum(parts))
                assert row["ratio_to_plain"] == pytest.approx(row["time_ms"] / by[shape, "plain"]["time_ms"])
                continue
            assert row["ratio_to_grouped"] == pytest.approx(
                row["ratio_to_plain"] / by[shape, "grouped"]["ratio_to_plain"]
            )
            assert row["peak_memory_bytes"] > 0
            assert row["times_the_larger_floor"] is None  # no GPU's rates were measured
        assert by["32x4x4", "auto"]["executed_as"]["forward"] == "tapwise"
        assert ("backward" in by["32x4x4", "auto"]["executed_as"]) == (direction != "forward")
    assert len(RecordStore(tmp_path / "results").read().of_kind("aw_speed")) == 2 * 3 * len(METHODS)
    code, out, _ = awbench("table", "aw-speed", "--json")
    assert json.loads(out) == rows
    code, out, _ = awbench("table", "aw-speed")
    assert code == 0 and "| auto (tapwise)" in out and "forward and backward, batch 2, float32, contiguous, " in out


def test_the_table_has_the_newest_run_of_a_setting(awbench):
    for batch in ("1", "2", "1"):
        awbench("aw-speed", "--batch-size", batch, *QUICK)
    rows = json.loads(awbench("table", "aw-speed", "--json")[1])
    assert len({row["run"] for row in rows}) == 2
    assert len(rows) == 2 * 4 * len(METHODS)


def test_without_records_the_table_says_what_it_needs(awbench):
    assert "not measured: needs 'awbench aw-speed'" in awbench("table", "aw-speed")[1]


@pytest.mark.parametrize("e", [None, 4, 1])
def test_every_method_computes_what_it_says(e):
    """Strategies give the convolution with the given map; else their times would compare different work."""
    shape, settings = Shape(8, 6, 2), SpeedSettings(batch_size=2, dtype="float64", expansion=e)
    made = aw_speed.make_tensors(shape, settings)
    with torch.no_grad():
        results = {name: aw_speed.make_call(name, shape, made, settings)[0]() for name in (*STRATEGIES, "plain", "se")
                   if name != "fused"}  # fmt: skip
    assert made.A.shape == (2, 8, 8 // (e or 8), 3, 3)
    factors = (1 + made.A).repeat_interleave(e or 8, dim=2)
    exact = torch.cat([F.conv2d(made.I[n, None], factors[n] * made.K, None, 2, 1) for n in range(2)])
    assert results.pop("plain").shape == exact.shape == made.O.shape
    assert results.pop("se").shape == made.I.shape
    for result in results.values():
        torch.testing.assert_close(result, exact)


def test_a_map_in_channels_last_is_laid_out_as_a_network_makes_it():
    """The fused kernel takes it so, and would time a copy of another."""
    settings = SpeedSettings(batch_size=2, layout="channels_last", expansion=4)
    A = aw_speed.make_tensors(Shape(64, 4), settings).A
    layer = aw_speed.LAYERS[aw_speed.AW_LAYER](Shape(64, 4), 4).to(memory_format=torch.channels_last)
    I = torch.randn(2, 64, 4, 4).to(memory_format=torch.channels_last)
    assert A.stride() == layer.attention(I).stride() == (64 * 16 * 9, 16, 1, 3 * 1024, 1024)


def test_another_e_is_another_setting(awbench):
    rows = json.loads(awbench("aw-speed", "--batch-size", "1", "--expansion", "1", *QUICK, "--json")[1])
    assert {row["expansion"] for row in rows} == {1}
    assert "batch 1, float32, contiguous, e = 1, " in awbench("table", "aw-speed")[1]


def test_the_floors_of_a_gpu_are_arithmetic():
    settings = SpeedSettings(batch_size=4)
    measured = measure_shape(Shape(8, 10), settings, TimingGoal(budget=0.01), Rates(1e6, 1e9))
    moved = 4 * (2 * 4 * 8 * 100 + 8 * 8 * 9)
    assert measured.floors == {
        "bytes": pytest.approx(moved / 1e6),
        "operations": pytest.approx(2 * 4 * 8 * 8 * 9 * 100 / 1e9),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch-size", "0"), "batch size 0 is not a number of images; use 1 or more"),
        (("--dtype", "int8"), "dtype 'int8' is not a floating-point dtype"),
        (("--layout", "nhwc"), "layout 'nhwc' is not known; use contiguous or channels_last"),
        (("--expansion", "3"), "expansion 3 does not divide the channels of every shape; use a divisor of 16"),
        (("--expansion", "0"), "expansion 0 does not divide the channels of every shape; use a divisor of 16"),
        (("--width", "nan"), "--width nan"),
        (("--budget", "inf"), "--budget inf"),
        (("--threads", "0"), "--threads 0"),
        (("--device", "tpu"), "device 'tpu' is not known; use auto, cpu or cuda"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(awbench, words, message):
    code, out, err = awbench("aw-speed", *words)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
