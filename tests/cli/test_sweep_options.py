"""Ablations: which networks a sweep plans for options with several values; nothing is trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from sample_records import training_record

from awbench.cli.main import _parser
from awbench.cli.sweep import _jobs
from awbench.errors import UserError
from awbench.experiments.sweep import SweepResult, plan_runs
from awbench.recipes.classification import load_recipe
from awbench.recipes.detection import load_detection_recipe
from awbench.records import RecordStore
from awbench.report.runs import runs_table
from awbench.tasks import Job
from awbench.variants import make_options, parse_variant


def planned(*words: str) -> list[str]:
    """Names of the runs that a sweep would make, without their recipe and seed."""
    jobs = _jobs(_parser().parse_args(["sweep", *words]))
    return [job.name.partition(" digits-quick")[0] for job in jobs]


def test_an_option_with_several_values_is_a_network_for_each():
    assert planned("aw_resnet20", "--aw-option", "expansion=1", "--aw-option", "expansion=16") == [
        "aw_resnet20 expansion=1", "aw_resnet20 expansion=16",
    ]  # fmt: skip


def test_several_options_are_every_combination():
    words = ("--aw-option", "expansion=1", "--aw-option", "expansion=none", "--aw-option", "gate=tanh")
    assert planned(
        "aw_se_resnet20", *words, "--attention-option", "reduction=8", "--attention-option", "reduction=4"
    ) == [f"aw_se_resnet20 reduction={r} {e}gate=tanh" for e in ("expansion=1 ", "") for r in (8, 4)]


def test_an_option_concerns_the_variants_that_have_what_it_is_about():
    words = ("--aw-option", "gate=tanh", "--aw-option", "gate=sigmoid")
    assert planned("resnet20", "aw_resnet20", "se_resnet20", *words) == [
        "resnet20", "aw_resnet20 gate=tanh", "aw_resnet20", "se_resnet20",
    ]  # fmt: skip
    with pytest.raises(UserError, match="concerns no variant named"):
        planned("resnet20", *words)


def test_an_option_that_does_not_exist_is_named_before_anything_is_planned():
    with pytest.raises(UserError, match="'expnsion' does not exist; did you mean expansion"):
        planned("aw_resnet20", "--aw-option", "expnsion=1")


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("aw_resnet20", {"aw_options": {"expansion": 7}}),
        ("faster_rcnn_aw_resnet18_fpn", {"aw_options": {"expansion": 7}}),
        ("se_resnet20", {"attention_options": {"reduction": 0}}),
    ],
)
def test_a_network_that_cannot_be_built_is_found_before_the_first_run(variant, options, tmp_path):
    dataset = "digits-detection" if variant.startswith("faster") else "digits"
    recipe = load_recipe("digits-quick") if dataset == "digits" else load_detection_recipe("digits-detection")
    job = Job(parse_variant(variant), make_options(**options), dataset, None, recipe, 0)
    with pytest.raises(UserError, match=f"^{variant} .*=.*: .*"):
        plan_runs([job], tmp_path)
    assert not list(tmp_path.iterdir())


def test_patterns_initial_weights_and_placement_are_in_every_job(tmp_path):
    weights = tmp_path / "w.pth"
    args = _parser().parse_args(
        ["sweep", "aw_*resnet20", "--init-weights", str(weights), "--stride-placement", "v1", "--seeds", "0", "1"]
    )
    jobs = _jobs(args)
    assert [job.variant.name for job in jobs[:4]] == [
        "aw_resnet20", "aw_se_resnet20", "aw_cbam_resnet20", "aw_eca_resnet20",
    ]  # fmt: skip
    assert {(job.initial_weights, job.options.stride_placement) for job in jobs} == {(weights.resolve(), "v1")}
    assert [job.seed for job in jobs] == [0] * 4 + [1] * 4


@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.parametrize("variant", ["aw_resnet50", "resnext50_32x4d"])
def test_an_imagenet_network_is_not_trained_on_digits_unasked(awbench, command, variant):
    recipe = "--recipe" if command == "train" else "--recipes"  # one that does not exist: nothing is ever trained here
    code, out, err = awbench(command, variant, recipe, "nowhere")
    assert (code, out) == (2, "")
    assert f"{variant} is a network for ImageNet" in err and "--dataset digits" in err


def test_initial_weights_and_backbones_are_not_both_given(tmp_path):
    with pytest.raises(UserError, match="one of --init-weights and --backbones"):
        planned("faster_rcnn_resnet18_fpn", "--init-weights", "w.pth", "--backbones", str(tmp_path))


def test_a_value_that_is_none_is_said_with_its_option_before_anything_is_made(awbench, tmp_path):
    for command in (("train",), ("complexity",), ("sweep",)):
        code, out, err = awbench(*command, "aw_resnet20", "--aw-option", "gate=relu")
        assert (code, out) == (2, "")
        assert err == "awbench: --aw-option gate=relu: gate is 'relu'. Known: sigmoid, hardsigmoid, tanh.\n"
    for option in (("--aw-option", "expansion=7"), ("--attention-option", "reduction=0")):
        assert awbench("train", "aw_se_resnet20", *option)[0] == 2
    assert not list(tmp_path.rglob("runs/*"))


def test_a_default_that_a_sweep_states_is_in_its_table(awbench, monkeypatch):
    """Of the two gates the row of sigmoid had no option."""
    store = RecordStore(Path("results"))
    for gate in ("sigmoid", "tanh"):
        record = training_record("aw_resnet20", dataset="digits")
        record.options["aw"]["gate"] = gate
        store.add(record)
    keys = {record.key for record in store.read().of_kind("accuracy")}
    assert len(keys) == 2
    tables = [runs_table(store.read(), stated=stated) for stated in ((), ("gate",))]
    column = tables[0].columns.index("options")
    assert [["gate=sigmoid" in row[column] for row in table.rows] for table in tables] == [[False] * 2, [True, False]]
    monkeypatch.setattr("awbench.experiments.sweep.plan_runs", lambda *_: [SimpleNamespace(key=key) for key in keys])
    monkeypatch.setattr("awbench.experiments.sweep.run_sweep", lambda *_: SweepResult())
    out = awbench("sweep", "aw_resnet20", "--aw-option", "gate=sigmoid", "--aw-option", "gate=tanh")[1]
    assert "gate=sigmoid" in out and "gate=tanh" in out


def test_a_failed_run_is_said_once_and_with_q_too(awbench, monkeypatch):
    def fails(runs, store, parallel, processes, on_progress):
        on_progress("failed: one: no data")
        return SweepResult(failed={"one": "no data"})

    monkeypatch.setattr("awbench.experiments.sweep.run_sweep", fails)
    for loudness in ((), ("-q",)):
        code, out, err = awbench("sweep", "resnet20", *loudness)
        assert code == 2 and (out + err).count("no data") == 1
