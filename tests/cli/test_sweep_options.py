"""Ablations: which networks a sweep plans for options with several values; nothing is trained."""

from __future__ import annotations

import pytest

from awbench.cli.main import _parser
from awbench.cli.sweep import _jobs
from awbench.errors import UserError
from awbench.experiments.sweep import plan_runs
from awbench.recipes.classification import load_recipe
from awbench.recipes.detection import load_detection_recipe
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
