"""`awbench plan`: what it prints, and that its commands are ones the command line takes."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest
import yaml
from claim_files import claim, write_claims
from sample_records import training_record
from study_records import IMAGENET, runs_of

from awbench.cli.main import _parser
from awbench.recipes import load_detection_recipe, load_recipe
from awbench.records import Records, RecordStore
from awbench.studies import load_study
from awbench.studies.study import STUDIES
from awbench.verdicts.evidence import gather_evidence


def as_json(awbench, *words):
    code, out, err = awbench("plan", "--json", *words)
    assert (code, err) == (0, "")
    return json.loads(out)


def first_line(awbench, *words):
    code, out, err = awbench("plan", *words)
    assert (code, err) == (0, "")
    return out.splitlines()[0]


def parse_command(command):
    words = shlex.split(command)
    assert words[0] == "awbench"
    return _parser().parse_args(words[1:])


def timings(found):
    networks = [one for study in found["studies"] for one in study["networks"]]
    return [one["timing_command"] for one in networks if one["timing_command"]]


def add_all(store, *groups):
    for record in (record for group in groups for record in group):
        store.add(record)


def test_the_answer_is_the_first_line(awbench):
    line = first_line(awbench, "--study", "imagenet", "--deviation", "top1=0.1")
    assert line.startswith("imagenet: 6 networks, about 3")
    for part in (
        "(at most 60), at least 1,6",
        "GPU-hours on RTX 3090",
        "the headline claim, if true, is decided with >99% probability after about 4.0 runs of each network",
    ):
        assert part in line


def test_low_middle_and_high_deviations_are_shown(awbench):
    out = awbench("plan")[1]
    assert "deviation between runs of a network (top1): 0.06 / 0.09 / 0.18, from 19 published recipes" in out
    found = as_json(awbench)["studies"][0]
    levels = [row["level"] for row in found["by_deviation"] if row["what"] == "runs to make"]
    assert levels == ["low", "middle", "high"]
    runs = [row["if_true"] for row in found["by_deviation"] if row["what"] == "runs to make"]
    assert runs == sorted(runs) and runs[1] == pytest.approx(found["expected"]["runs"])


def test_coco_says_what_its_backbones_cost(awbench, tmp_path):
    line = first_line(awbench, "--study", "coco")
    assert "its backbones are the runs of study imagenet with the same seeds" in line
    assert "on V100" in line and "on RTX 3090" in line
    commands = "awbench study run imagenet --data IMAGENET_DIR\n    awbench study run coco --data COCO_DIR"
    assert commands in awbench("plan")[1]
    noise = [0.1 * (seed % 3) for seed in range(10)]
    store = RecordStore(tmp_path / "all")
    add_all(store, *(runs_of(IMAGENET, label, [77.0 + n for n in noise]) for label in IMAGENET.labels))
    assert "its backbones are there already" in first_line(awbench, "--study", "coco", "--results", store.results)


def test_every_command_is_one_that_the_command_line_takes(awbench):
    Path("my results").mkdir()
    found = as_json(awbench, "--results", "my results")
    commands = [study["command"] for study in found["studies"]] + timings(found)
    assert len(commands) > 8
    for command in commands:
        assert parse_command(command).results == Path("my results")
    out = awbench("plan", "--results", "my results")[1]
    assert all(command in out for command in commands)


def test_a_timing_run_is_never_evidence_and_is_what_the_next_plan_counts(awbench):
    found = as_json(awbench, "--study", "imagenet")
    store = RecordStore(Path("results"))
    for command in timings(found):
        args = parse_command(command)
        recipe = load_recipe(args.recipe, args.changes)
        store.add(training_record(args.variant, 0.1, dataset=args.dataset, recipe=recipe, seconds=30, steps=100))
    assert not any(gather_evidence(IMAGENET, Records.read(Path("results"))).runs.values())
    after = as_json(awbench, "--study", "imagenet")["studies"][0]["networks"]
    timed = next(one for one in after if one["network"] == "aw_resnet101")
    assert timed["hours_of_a_run"]["hours"] == pytest.approx(100 * 1_281_167 * 30 / 100 / 256 / 3600)
    assert timed["hours_of_a_run"]["device"] == "GPU A" and timed["timing_command"] is None


def test_a_timing_run_is_short(awbench):
    imagenet, coco = ([parse_command(c) for c in timings({"studies": [s]})] for s in as_json(awbench)["studies"])
    assert {args.dataset for args in imagenet} == {"fake"}  # which needs no data and has five steps an epoch
    assert {load_recipe(args.recipe, args.changes).epochs for args in imagenet} == {20}
    assert {load_detection_recipe(args.recipe, args.changes).iterations for args in coco} == {300}


def test_a_budget_is_answered_first(awbench):
    given = [word for label in IMAGENET.labels for word in ("--gpu-hours", f"{label}=10")]
    out = awbench("plan", "--study", "imagenet", "--budget", "12.5d", *given)[1].splitlines()
    assert out[0].startswith("300 hours: imagenet up to 5 runs of each network, 300 hours if none ends earlier")
    assert "imagenet-r101, if true, is decided by then with >99%" in out[0] and "60 hours more" in out[0]
    assert out[1].strip() == "left: 0 hours"
    budget = as_json(awbench, "--study", "imagenet", "--budget", "300h", *given)["budget"]
    assert (budget["left"], budget["studies"][0]["runs_of_each"]) == (0, 5)
    assert "no look; the next look needs" in first_line(awbench, "--study", "imagenet", "--budget", "5")


def test_given_speeds_are_said_to_be_given(awbench):
    out = awbench("plan", "--images-per-second", "resnet101=2000", "--gpu-hours", "aw_resnet101=20.5")[1]
    assert "aw_resnet101: 20.5 GPU-hours on your device, given with --gpu-hours aw_resnet101" in out
    assert "resnet101: 17.8 GPU-hours on your device, given with --images-per-second resnet101=2000" in out


def test_an_answered_study_has_nothing_to_run(awbench, tmp_path):
    design = yaml.safe_load((STUDIES / "imagenet.yaml").read_text())
    claims = {"imagenet-r101": design["claims"]["imagenet-r101"]}
    design |= {"name": "one", "comparisons": design["comparisons"][:1], "claims": claims}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(design))
    path = str(tmp_path / "one.yaml")
    fresh = as_json(awbench, "--study", path)["studies"][0]
    assert fresh["command"] == f"awbench study run {path} --data IMAGENET_DIR" and fresh["largest"]["runs"] == 20
    study = load_study(path)
    plain, treated = [77.0, 77.1, 77.05], [80.0, 80.1, 80.05]
    add_all(RecordStore(Path("results")), runs_of(study, "resnet101", plain), runs_of(study, "aw_resnet101", treated))
    assert first_line(awbench, "--study", path) == "one: nothing to run (answered)"


def test_claims_without_a_study_are_listed(awbench, tmp_path):
    folder = write_claims(tmp_path / "refs", claim("lonely", "aw_resnet50", "resnet50"))
    out = awbench("plan", "--only-references", folder)[1]
    assert "lonely: no study answers it: write one (docs/verdicts.md in the source)" in out
    assert out.startswith("every claim that a study is about is answered")
    assert as_json(awbench, "--only-references", folder)["without_study"] == ["lonely"]


def test_of_an_unknown_deviation_the_largest_number_is_planned(awbench, tmp_path):
    design = yaml.safe_load((STUDIES / "imagenet.yaml").read_text())
    pairs = [{key: value for key, value in one.items() if key != "claim"} for one in design["comparisons"]]
    five = design | {"name": "five", "metric": "top5", "comparisons": pairs, "claims": {}, "matters": 0.5}
    (tmp_path / "five.yaml").write_text(yaml.safe_dump(five))
    path = str(tmp_path / "five.yaml")
    out = awbench("plan", "--study", path)[1]
    assert "at most 60 runs" in out and "assume it with --deviation top5=VALUE" in out


def test_a_smoke_test_is_planned_whole(awbench):
    out = awbench("plan", "--study", "digits")[1]
    assert out.startswith("digits: 6 networks, at most 18 runs, hours unknown: nothing was measured or published\n")
    assert "--deviation" not in out and "to time it: awbench train resnet20 --recipe digits-quick" in out


@pytest.mark.slow
def test_five_thousand_records_are_planned_about_as_fast_as_they_are_read(awbench, tmp_path):
    store = RecordStore(tmp_path / "many")
    for seed in range(2500):
        store.add(training_record("resnet101", 77.0, seed))
        store.add(training_record("faster_rcnn_resnet101_fpn", 42.0, seed))
    start = time.process_time()
    Records.read(store.results)
    bare, start = time.process_time() - start, time.process_time()
    awbench("plan", "--results", store.results)
    assert time.process_time() - start < 10 * bare + 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "many"), "--budget many is not a number of hours above 0, e.g. 500h or 2d"),
        (("--budget=-5h",), "--budget -5h is not a number of hours above 0"),
        (("--budget", "0"), "is not a number of hours above 0"),
        (("--budget", "nan"), "--budget nan is not"),
        (("--budget", "infh"), "--budget infh is not"),
        (("--deviation", "top1=1e200"), "'1e200' is not a number of 0.000001 to 100"),
        (("--images-per-second", "resnet101=1e-305"), "'1e-305' is not a number of 0.000001 to 1,000,000"),
        (("--deviation", "boxap=0.2"), "--deviation boxap: no such metric; did you mean box_ap?"),
        (("--deviation", "top1_error=0.2"), "no such metric; did you mean top1?"),
        (("--deviation", "box_ap"), "is not of the form KEY=VALUE"),
        (("--deviation", "box_ap=0"), "'0' is not a number of 0.000001 to 100"),
        (("--deviation", "box_ap=nan"), "'nan' is not a number of 0.000001 to 100"),
        (("--gpu-hours", "resnet11=5"), "--gpu-hours resnet11: no such network; did you mean resnet1"),
        (("--images-per-second", "resnet101=-1"), "'-1' is not a number of 0.000001 to 1,000,000"),
        (("--study", "imagnet"), "study 'imagnet' does not exist; did you mean imagenet?"),
        (("--device", "H100"), "--device H100: no training was timed on it; those that have numbers: V100, RTX 3090"),
        (("--only-references", "nowhere"), "no reference files in nowhere"),
        (("--power", "0.8"), "unrecognized arguments"),
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
    assert len(examples) >= 6
    for example in examples:
        _parser().parse_args(shlex.split(example)[1:])


def test_a_study_given_by_its_file_has_the_claims_of_its_name(awbench, tmp_path):
    """A copy of a project's study is the same design; its questions were gone."""
    copy = tmp_path / "imagenet.yaml"
    copy.write_text((STUDIES / "imagenet.yaml").read_text())
    by_name, by_file = (as_json(awbench, "--study", study)["studies"] for study in ("imagenet", str(copy)))
    assert [one["by_deviation"] for one in by_name] == [one["by_deviation"] for one in by_file]
    assert "imagenet-r101: runs of each" in str(by_file[0]["by_deviation"])


def test_backbones_in_a_file_beside_the_study_are_planned_from_anywhere(awbench, tmp_path):
    for name, changes in (("coco", {"backbones": "own.yaml"}), ("imagenet", {"name": "own"})):
        design = yaml.safe_load((STUDIES / f"{name}.yaml").read_text()) | changes
        (tmp_path / f"{design['name']}.yaml").write_text(yaml.safe_dump(design))
    code, out, err = awbench("plan", "--study", tmp_path / "coco.yaml")
    assert (code, err) == (0, "") and f"awbench study run {tmp_path / 'own.yaml'} --data" in out


def test_hours_that_nobody_knows_are_not_too_many(awbench):
    _, out, _ = awbench("plan", "--study", "fashion-mnist", "--deviation", "top1=0.1")
    (unknown, *_) = (line for line in out.splitlines() if "their hours" in line)
    assert "unknown" in unknown and "too many" not in unknown
