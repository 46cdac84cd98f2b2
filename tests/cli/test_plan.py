"""`awbench plan`: what it prints, and that its commands are ones the command line takes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from claim_files import claim, write_claims
from sample_records import training_record

from awbench.cli.main import _parser
from awbench.planning.protocols import default_protocol
from awbench.recipes.classification import load_recipe
from awbench.records import RecordStore
from awbench.variants import parse_variant


@pytest.fixture(autouse=True)
def no_folders(monkeypatch):
    monkeypatch.delenv("AWBENCH_BACKBONES", raising=False)


def as_json(awbench, *words):
    code, out, err = awbench("plan", "--json", *words)
    assert (code, err) == (0, "")
    return json.loads(out)


def every_command(found):
    for step in found["claims"]:
        yield from step["commands"]
    yield from (cost["measure"] for cost in found["costs"] if cost["measure"])


def parse_command(command):
    words = shlex.split(command)
    assert words[0] == "awbench"
    args = _parser().parse_args(words[1:])
    for name in args.variant if isinstance(args.variant, list) else [args.variant]:
        parse_variant(name)
    return args


def test_on_a_fresh_machine_it_says_what_is_unknown_and_how_to_find_out(awbench):
    code, out, err = awbench("plan")
    assert (code, err) == (0, "")
    for id in ("imagenet-r101", "imagenet-combined", "coco-r101-fpn", "coco-combined"):
        assert f"{id}: " in out
    assert "reproduced with probability 0.8" in out
    assert "1. imagenet-r101: 20 runs, GPU-hours unknown (of aw_resnet101, resnet101)" in out
    assert "3. coco-r101-fpn: 4 runs, at least 686.4 GPU-hours on V100, a pilot: then run 'awbench plan' again" in out
    assert ">= 171.6 GPU-hours (plain network's; attention is not free)" in out
    assert "first an ImageNet run of each of resnet101, aw_resnet101, made by an earlier step" in out
    assert "is itself an estimate with 2 degrees of freedom" in out
    assert "assumed" not in out.lower().replace("assume a standard", "")


def test_json_is_alone_on_stdout_and_unknown_is_null(awbench):
    found = as_json(awbench)
    assert [step["id"] for step in found["claims"]][:2] == ["imagenet-r101", "imagenet-combined"]
    first, _, detector, _ = found["claims"]
    assert first["unknown"] == ["aw_resnet101", "resnet101"]
    assert (first["hours"], first["at_least_hours"]) == (None, None)
    assert detector["hours"] is None and detector["at_least_hours"] == pytest.approx(686.4)
    assert found["claims"][2]["pairs"][0]["deviation"] is None and found["claims"][2]["pilot"]
    assert {cost["hours"] for cost in found["costs"] if cost["dataset"] == "imagenet"} == {None}
    assert all(cost["hours"] is None or cost["origin"] for cost in found["costs"])
    assert found["budget"] is None


@pytest.mark.parametrize("words", [(), ("--depth", "50"), ("--power", "0.99", "--deviation", "box_ap=0.3")], ids=str)
def test_every_command_is_one_that_the_command_line_takes(awbench, words):
    commands = list(every_command(as_json(awbench, *words)))
    text = awbench("plan", *words)[1]
    assert len(commands) > 10 and all(command in text for command in commands)
    for command in commands:
        parse_command(command)


def test_the_commands_train_as_awbench_reproduce_does(awbench):
    found = as_json(awbench)
    sweep = parse_command(found["claims"][0]["commands"][0])
    protocol = default_protocol("imagenet")
    (recipe,) = sweep.recipes
    assert (sweep.variant, sweep.dataset) == (["resnet101", "aw_resnet101"], "imagenet")
    assert load_recipe(recipe, sweep.changes).identity() == protocol.identity
    measure = parse_command(next(cost["measure"] for cost in found["costs"] if cost["network"] == "aw_resnet101"))
    measured = load_recipe(measure.recipe, measure.changes)
    assert (measure.dataset, measured.precision, measured.batch_size) == ("fake", "bfloat16", 256)


def test_what_the_printed_measurement_records_is_what_the_next_plan_counts(awbench):
    found = as_json(awbench)
    store = RecordStore(Path("results"))
    for cost in found["costs"]:
        if cost["dataset"] == "imagenet":
            args = parse_command(cost["measure"])
            recipe = load_recipe(args.recipe, args.changes)
            store.add(training_record(args.variant, 0.1, dataset=args.dataset, recipe=recipe, seconds=30, steps=100))
    found = as_json(awbench, "--budget", "100000000h")
    assert found["device"] == "GPU A"
    assert [row["id"] for row in found["budget"]["answers"]] == ["imagenet-r101", "imagenet-combined"]
    assert found["claims"][0]["hours"] == pytest.approx(20 * 100 * 1_281_167 * 30 / 100 / 256 / 3600)


def test_runs_that_are_there_and_other_folders_are_in_the_commands(awbench, tmp_path):
    store = RecordStore(tmp_path / "my results")
    changed = load_recipe("cbam", ["schedule.gamma=0.2", "epochs=90"])
    for seed, value in enumerate((77.0, 77.5)):
        store.add(training_record("resnet101", value, seed, recipe=changed))
        store.add(training_record("aw_resnet101", value + 1, seed, recipe=changed))
    name = "faster_rcnn_resnet101_fpn"
    store.add(training_record(name, 42.0, engine="torchvision", world=4, seconds=500))
    found = as_json(awbench, "--results", store.results)
    first = next(step for step in found["claims"] if step["id"] == "imagenet-r101")
    for command in first["commands"]:
        args = parse_command(command)
        assert args.results == store.results and min(args.seeds) == 2
        assert load_recipe(args.recipes[0], args.changes).identity() == changed.identity()
    detector = next(step for step in found["claims"] if step["id"] == "coco-r101-fpn")
    parsed = [parse_command(command) for command in detector["commands"]]
    of_plain = next(args for args in parsed if args.variant == [name])
    assert (of_plain.engine, of_plain.processes, of_plain.seeds) == ("torchvision", 4, [1])


def test_a_claim_on_cifar_has_commands_too(awbench, tmp_path):
    folder = write_claims(tmp_path / "refs", claim("eca", "eca", "plain", 0.5, dataset="CIFAR-10 test"))
    parsed = [parse_command(command) for command in every_command(as_json(awbench, "--references", folder))]
    assert {args.dataset for args in parsed} == {"cifar10"}
    assert {getattr(args, "recipe", None) or args.recipes[0] for args in parsed} == {"cifar"}


def test_weights_that_are_given_need_no_imagenet_run(awbench, tmp_path, monkeypatch):
    of_ap = {"metric": "box_ap", "unit": "AP points", "dataset": "COCO val2017"}
    names = ("faster_rcnn_aw_resnet50_fpn", "faster_rcnn_resnet50_fpn")
    folder = write_claims(tmp_path / "refs", claim("ap", *names, **of_ap))
    (step,) = as_json(awbench, "--references", folder)["claims"]
    assert "resnet50 aw_resnet50" in step["commands"][0] and step["runs"] == 6
    assert parse_command(step["commands"][0]).dataset == "imagenet"  # before what needs it
    (tmp_path / "resnet50.pth").touch()
    (tmp_path / "aw_resnet50.safetensors").touch()
    monkeypatch.setenv("AWBENCH_BACKBONES", str(tmp_path))
    (step,) = as_json(awbench, "--references", folder)["claims"]
    assert step["runs"] == 4 and step["unknown"] == []


def test_a_budget_says_what_it_buys_and_what_it_does_not(awbench):
    code, out, _ = awbench("plan", "--deviation", "box_ap=0.2", "--budget", "5000h")
    assert code == 0 and "5000 GPU-hours on V100:" in out and "answer no claim" in out
    assert "not bought: coco-combined: does not fit, it needs at least 19,219.2 GPU-hours on V100" in out
    assert "not bought: imagenet-r101: cannot be budgeted until its cost is measured: GPU-hours unknown" in out
    assert "0.2 (assumed)" in out and "no runs and no reference support it" in out
    store = RecordStore(Path("results"))
    for name in ("resnet101", "aw_resnet101"):
        store.add(training_record(name, 0.1, dataset="fake", seconds=30, steps=100))
    enough = 20 * 100 * 1_281_167 * 30 / 100 / 256 / 3600
    for hours, bought in ((enough + 1, ["imagenet-r101"]), (enough - 1, [])):
        budget = as_json(awbench, "--budget", str(hours))["budget"]
        assert [row["id"] for row in budget["answers"]] == bought
        assert budget["left"] == pytest.approx(1 if bought else enough - 1)
    text = awbench("plan", "--budget", f"{(enough + 1) / 24}d")[1]
    assert "answers imagenet-r101" in text and "left: 1.0 GPU-hours" in text


def test_a_pilot_is_called_a_pilot(awbench):
    store = RecordStore(Path("results"))
    for prefix in ("", "aw_"):
        store.add(training_record(f"{prefix}resnet101", 0.1, dataset="fake"))
        store.add(training_record(f"faster_rcnn_{prefix}resnet101_fpn", 42.0, dataset="shapes", complete=False))
        store.add(training_record(f"faster_rcnn_{prefix}resnet101_fpn", 42.0, complete=False))
    out = awbench("plan", "--budget", "100000000")[1]
    assert "begins coco-r101-fpn with a pilot, which does not answer it" in out
    assert "answers coco" not in out


def test_when_every_claim_is_settled_there_is_nothing_to_plan(awbench, tmp_path):
    folder = write_claims(tmp_path / "refs", claim("one", "aw_resnet50", "resnet50"))
    store = RecordStore(Path("results"))
    for seed, noise in enumerate((-0.05, 0.0, 0.05)):
        store.add(training_record("resnet50", 76 + noise, seed))
        store.add(training_record("aw_resnet50", 77 + noise, seed))
    assert awbench("plan", "--references", folder) == (0, "every claim is settled: nothing to run\n", "")
    assert as_json(awbench, "--references", folder, "--budget", "5")["claims"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "many"), "--budget many is not a number of hours above 0, e.g. 500h or 2d"),
        (("--budget=-5h",), "--budget -5h is not a number of hours above 0"),
        (("--budget", "0"), "is not a number of hours above 0"),
        (("--budget", "nan"), "--budget nan is not"),
        (("--budget", "infh"), "--budget infh is not"),
        (("--power", "1"), "--power 1 is not a probability between 0 and 1"),
        (("--power", "0"), "--power 0 is not"),
        (("--power", "nan"), "--power nan is not"),
        (("--power", "high"), "--power high is not"),
        (("--deviation", "boxap=0.2"), "--deviation boxap: no such metric; did you mean box_ap?"),
        (("--deviation", "top1_error=0.2"), "no such metric; did you mean top1?"),
        (("--deviation", "box_ap"), "is not of the form METRIC=VALUE"),
        (("--deviation", "box_ap=0"), "'0' is not a standard deviation above 0"),
        (("--deviation", "box_ap=-1"), "'-1' is not a standard deviation above 0"),
        (("--deviation", "box_ap=nan"), "'nan' is not a standard deviation above 0"),
        (("--device", "H100"), "--device H100: no training was timed on it; those that have measurements: V100"),
        (
            ("--depth", "34"),
            "--depth 34 is not offered for claim coco-combined on COCO val2017; use one of 18, 50, 101",
        ),
        (("--depth", "51"), "--depth 51 is not offered"),
        (("--depth", "deep"), "invalid int value"),
        (("--references", "nowhere"), "no reference files in nowhere"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_exit_code_2(awbench, words, message):
    for json_too in ((), ("--json",)):
        code, out, err = awbench("plan", *words, *json_too)
        assert (code, out) == (2, "")
        assert message in err and len(err.splitlines()) == 1


def test_the_help_teaches_by_example(awbench):
    code, out, _ = awbench("plan", "--help")
    assert code == 0
    examples = [line.split("  ")[1] for line in out.splitlines() if line.startswith("  awbench plan")]
    assert len(examples) >= 4
    for example in examples:
        _parser().parse_args(shlex.split(example)[1:])
