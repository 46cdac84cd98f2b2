"""`awbench study`: a design, its runs, and what becomes of it when it is killed, changed or wrong."""

from __future__ import annotations

import itertools
import json
import os
import socket

import pytest
from study_files import TINY, write_study
from study_kills import kill_at_random, start_study
from study_records import study_run

from awbench.errors import UserError
from awbench.experiments.study import study_job
from awbench.records import Record, Records, RecordStore
from awbench.studies import find_study, list_studies, load_study
from awbench.verdicts.evidence import gather_evidence


def test_the_projects_own_are_listed_and_shown(awbench):
    code, out, _ = awbench("study", "list")
    assert code == 0 and all(name in out for name in list_studies())
    code, out, _ = awbench("study", "show", "imagenet")
    assert code == 0 and "looks at 3, 4, 5, 6, 7, 8, 9, 10 runs each" in out and load_study("imagenet").digest in out
    assert "claim imagenet-combined: up to +0.57, within 0.285 of it it is as claimed" in out


@pytest.mark.end_to_end
def test_runs_are_made_once_and_carry_the_design(awbench, tmp_path):
    study = write_study(tmp_path)
    code, out, _ = awbench("study", "run", study, "--dry-run")
    assert code == 0 and out.count("awbench train") == 2 and f"@{load_study(study).digest}" in out
    code, out, _ = awbench("study", "run", study, "--json")
    done = json.loads(out)
    assert code == 0 and done["made"] == 2 and done["runs"] == {"resnet20": 1, "aw_resnet20": 1}
    runs = tmp_path / "results" / "runs"
    other = runs / "aw_resnet20-digits-digits-quick-seed0-12345678"  # of no recorded run of the study
    killed, living = (f"plan-{socket.gethostname()}-{pid}.json" for pid in (2**22 + 1, os.getpid()))
    for run in (*runs.iterdir(), other):
        (run / "checkpoints").mkdir(parents=True)  # as if it had been killed between its record and its clean-up
        (run / killed).touch(), (run / living).touch()
    code, out, _ = awbench("study", "run", study, "--json")
    assert (code, json.loads(out)["made"]) == (0, 0)
    assert list(runs.glob("*/checkpoints")) == [other / "checkpoints"]
    assert list(runs.glob(f"*/{killed}")) == [other / killed]  # a job in a cluster's queue may be about to read it
    assert len(list(runs.glob(f"*/{living}"))) == 3
    records = Records.read(tmp_path / "results").of_kind("accuracy")
    designs = [record.environment["study"] for record in records]
    assert designs == [{"name": "tiny", "sha256": load_study(study).digest}] * 2
    assert all(record.environment["train_images"] == 1438 for record in records)
    code, out, _ = awbench("study", "status", study)
    assert code == 0 and "look 1 of 1, 1 run each" in out


@pytest.mark.end_to_end
def test_runs_made_without_the_study_or_by_another_design_are_left_aside_and_made_again(awbench, tmp_path):
    study = write_study(tmp_path, comparisons=[{"variant": "se_resnet20", "over": "resnet20"}])
    words = [word for change in TINY["changes"] for word in ("--set", change)]
    code, _, err = awbench("train", "resnet20", *words)
    assert code == 0 and "evidence for no study" in err
    assert "1: not made by the study (awbench study run" in (text := awbench("study", "status", study)[1])
    assert text.endswith("(resnet20 seed 0)\n")
    status = json.loads(awbench("study", "status", study, "--json")[1])
    assert [one["reason"] for one in status["left_aside"]] == [f"not made by the study (awbench study run {study})"]
    assert json.loads(awbench("study", "run", study, "--json")[1])["made"] == 2
    load_study.cache_clear()
    changed = write_study(tmp_path, comparisons=[{"variant": "se_resnet20", "over": "resnet20"}], looks=[1, 2])
    status = json.loads(awbench("study", "status", changed, "--json")[1])
    assert status["runs"] == {"resnet20": 0, "se_resnet20": 0}
    assert sum("the study's design was changed since" in one["reason"] for one in status["left_aside"]) == 2


def test_a_run_planned_with_another_design_stops(awbench, tmp_path):
    reference = f"{write_study(tmp_path)}@{'0' * 64}"
    code, _, err = awbench("train", "resnet20", "--study", reference)
    assert code == 2 and "was changed: its design is" in err and err.count("\n") == 1


def test_where_runs_would_not_count_none_is_made(awbench, tmp_path):
    """Those so far were made with another torch; nor is a claim judged that nobody knows."""
    study = write_study(tmp_path, looks=[2])
    other = study_run(load_study(study), "resnet20", 0, 90.0, environment={"torch": "1.13.1"})
    RecordStore(tmp_path / "results").add(other)
    code, out, err = awbench("study", "run", study)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "study tiny: its runs so far have torch 1.13.1, here it is" in err
    pair = {"variant": "aw_resnet20", "over": "resnet20", "claim": "imagenet-r11"}
    design = {"comparisons": [pair], "purpose": "confirmatory", "looks": [2]}
    code, out, err = awbench("study", "status", write_study(tmp_path / "more", **design))
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "study tiny: claim 'imagenet-r11' is in no reference file; did you mean imagenet-r101?" in err


def test_a_run_that_is_there_and_does_not_count_is_not_tried_for_ever(awbench, tmp_path):
    """Not with --runs either, which stops after those that were made."""
    study = write_study(tmp_path, looks=[2])
    assert json.loads(awbench("study", "run", study, "--runs", "1", "--json")[1])["made"] == 1
    path = next((tmp_path / "results" / "records" / "accuracy").iterdir())
    made = Record.from_json(path.read_text(), str(path))
    path.write_text(made.model_copy(update={"notes": ["left out: an image"]}).to_json())
    done = json.loads(awbench("study", "run", study, "--runs", "1", "--json")[1])
    assert done["made"] == 0 and [one["reason"][:8] for one in done["left_aside"]] == ["1 images"]


@pytest.mark.slow
def test_a_study_killed_at_random_ends_as_a_whole_one(tmp_path, root):
    study = write_study(tmp_path, looks=[1, 2], comparisons=[{"variant": "aw_resnet20", "over": "resnet20"}])

    def values(results) -> dict:
        records = Records.read(results).of_kind("accuracy")
        assert len({record.key for record in records}) == len(records) == 4
        return {record.key: record.value("top1") for record in records}

    start_study(study, tmp_path / "whole", root).communicate(timeout=600)
    kill_at_random(study, tmp_path / "killed", root, kills=6, longest=20)
    assert start_study(study, tmp_path / "killed", root).wait(timeout=900) == 0
    assert values(tmp_path / "killed") == values(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "other"}, None),
        ({"datasett": "digits"}, "unknown key 'datasett'; did you mean dataset?"),
        ({"dataset": "digit"}, "dataset 'digit' is not known; did you mean digits?"),
        ({"metric": "box_ap"}, "'box_ap' is not measured on digits; use one of top1, top5"),
        ({"looks": [3, 2]}, "looks [3, 2] do not rise"),
        ({"looks": []}, "looks"),
        ({"looks": [1], "purpose": "confirmatory"}, "looks begin at 1"),
        ({"recipe": "digits-quik"}, "recipe 'digits-quik' does not exist; did you mean digits-quick?"),
        ({"changes": ["epoch=1"]}, "changes: epoch=1: unknown key 'epoch'; did you mean epochs?"),
        ({"changes": ["epochs=x"]}, "changes: epochs=x: epochs: Input should be a valid integer"),
        ({"changes": ["epochs"]}, "changes: 'epochs' is not of the form KEY=VALUE"),
        ({"comparisons": [{"variant": "aw_resnet21", "over": "resnet20"}]}, "aw_resnet21 is not a variant"),
        ({"comparisons": [{"variant": "resnet20", "over": "resnet20"}]}, "is a network over itself"),
        ({"comparisons": [{"variant": "faster_rcnn_resnet18_fpn", "over": "resnet20"}]}, "is for classification"),
        ({"networks": {"extra": {"variant": "resnet20"}}}, "networks.extra is in no comparison"),
        (
            {"networks": {"aw_resnet20": {"variant": "aw_resnet20", "aw": {"gates": "tanh"}}}},
            "AW option 'gates' does not exist; did you mean gate?",
        ),
        ({"networks": {"extra": {"variant": "aw_resnet20"}}, "comparisons": 5}, "comparisons: Input should be"),
        ({"level": 2}, "level"),
        ({"matters": -1}, "matters"),
    ],
)
def test_a_design_that_is_wrong_is_one_line(changes, message, tmp_path, awbench):
    path = write_study(tmp_path, **changes)
    if message is None:
        renamed = tmp_path / "file.yaml"
        renamed.write_text((tmp_path / "other.yaml").read_text())
        path, message = str(renamed), "name is 'other'; it must be the file's, 'file'"
    code, out, err = awbench("study", "show", path)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert err.startswith(f"awbench: {path}: ")


def test_settings_that_differ_from_the_default_are_networks_of_a_study(tmp_path):
    study = load_study(
        write_study(
            tmp_path,
            networks={"aw_tanh": {"variant": "aw_resnet20", "aw": {"gate": "tanh"}}},
            comparisons=[{"variant": "aw_tanh", "over": "aw_resnet20"}],
        )
    )
    assert study.labels == ("aw_resnet20", "aw_tanh")
    assert study.options_of("aw_tanh").aw.gate == "tanh" and study.options_of("aw_resnet20").aw.gate == "sigmoid"
    assert study.variant_of("aw_tanh").name == "aw_resnet20"


def test_titles_do_not_change_the_design_and_looks_do(tmp_path):
    digests = []
    for number, changes in enumerate([{}, {"title": "Another"}, {"looks": [1, 2]}, {"changes": ["epochs=2"]}]):
        digests.append(load_study(write_study(tmp_path / str(number), **changes)).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_unknown_studies_are_suggested():
    with pytest.raises(UserError, match="study 'imagnet' does not exist; did you mean imagenet?"):
        load_study("imagnet")


CHOICES = load_study("fashion-mnist-choices")


def test_a_note_is_no_part_of_a_networks_options(awbench, tmp_path):
    for note, shown in (("as it is", "mine (aw_resnet20; as it is): seeds"), ("", "mine (aw_resnet20): seeds")):
        network = {"variant": "aw_resnet20", "note": note}
        pair = {"variant": "mine", "over": "resnet20"}
        path = write_study(tmp_path / (note or "none"), networks={"mine": network}, comparisons=[pair])
        assert shown in awbench("study", "show", path)[1]


def test_a_report_says_the_answer_of_the_study_that_it_is_asked_for(awbench, tmp_path):
    path = write_study(tmp_path, looks=[2], purpose="exploratory", matters=0.5)
    code, out, _ = awbench("report", "--study", path)
    assert code == 0 and out.startswith(
        "Whether AW-ResNet-20 is better than ResNet-20 on scikit-learn digits is not known"
    )
    assert "AW-ResNet-20 is better" not in awbench("report")[1]
    assert len(json.loads(awbench("report", "--study", path, "--json")[1])["answers"]["tiny"]) == 1


def test_the_folder_of_records_is_no_results_folder(awbench, tmp_path):
    (tmp_path / "results" / "records").mkdir(parents=True)
    code, out, err = awbench("study", "status", "digits", "--results", "results/records")
    assert (code, out) == (2, "") and "holds the records themselves; give the results folder above it, results" in err


def test_settings_of_aw_are_planned_run_and_named_apart(awbench):
    code, out, _ = awbench("study", "list")
    assert code == 0 and "fashion-mnist-choices  exploratory" in out
    code, out, _ = awbench("study", "show", "fashion-mnist-choices")
    assert code == 0 and "no-norm (aw_resnet20, norm=False; a bias after each" in out
    assert "(exploratory)" in out and "runs of study fashion-mnist count too" in out
    code, out, _ = awbench("study", "status", "fashion-mnist-choices")
    assert code == 0 and "(exploratory;" in out and out.count("no run counts yet") == 7
    jobs = [study_job(CHOICES, label, 0, None) for label in CHOICES.labels]
    options = [" ".join(_aw_options(job.train_argv())) for job in jobs]
    assert options == [
        "", "expansion=16", "expansion=1", "reduction=4",
        "gate=tanh", "norm=false", "pool_size=global", "residual=false",
    ]  # fmt: skip
    assert len({job.name for job in jobs}) == 8 and jobs[4].name == "aw_resnet20 gate=tanh fashion-mnist seed 0"


def _aw_options(argv):
    return [value for word, value in itertools.pairwise(argv) if word == "--aw-option"]


def test_each_choice_is_another_network_but_which_convolutions_are_aw():
    """ResNet-20's blocks have 3x3 convolutions alone, so the study leaves that choice out."""
    import awbench

    def layers(**options):
        modules = awbench.build("aw_resnet20", aw_options=options).modules()
        return [str(module) for module in modules if type(module).__name__ == "AWConv2d"]

    networks = [layers(**dict(network.aw)) for network in CHOICES.networks.values()]
    assert len(set(map(str, [layers(), *networks]))) == 8
    assert layers(convolutions="all") == layers()


def test_notes_on_networks_do_not_change_the_design(tmp_path):
    digests = [
        load_study(
            write_study(
                tmp_path / note,
                networks={"aw": {"variant": "aw_resnet20", "aw": {"gate": gate}, "note": note}},
                comparisons=[{"variant": "aw", "over": "resnet20"}],
            )
        ).digest
        for note, gate in (("one", "tanh"), ("two", "tanh"), ("three", "hardsigmoid"))
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": "digit"}, "study 'digit' does not exist; did you mean digits?"),
        ({"shares": "imagenet"}, "shares is 'imagenet', which has none of its networks"),
        ({"shares": "digits", "changes": ["epochs=1"]}, "none of its networks with its recipe on digits"),
        (
            {
                "shares": "digits",
                "changes": None,
                "comparisons": [{"variant": "aw_eca_resnet20", "over": "eca_resnet20"}],
            },
            "which has none of its networks",
        ),
    ],
)
def test_runs_are_shared_with_a_study_of_the_same_networks_alone(changes, message, tmp_path, awbench):
    path = write_study(tmp_path, **changes)
    code, out, err = awbench("study", "show", path)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err
    shared = write_study(tmp_path / "right", shares="digits", changes=None)
    assert awbench("study", "show", shared)[0] == 0


def test_a_study_shares_the_runs_of_a_file_beside_it(tmp_path, monkeypatch):
    """Wherever it is read from, as its backbones are; of a seed that both have the run that came first counts."""
    write_study(tmp_path, name="other", looks=[3])
    study = load_study(write_study(tmp_path, name="mine", shares="other.yaml", looks=[3]))
    monkeypatch.chdir(tmp_path.parent)
    other = load_study(str(tmp_path / "other.yaml"))
    assert study.designs == {"mine": study.digest, "other": other.digest}
    shared = [study_run(other, "resnet20", seed, 90.0 + seed) for seed in range(2)]
    own = study_run(study, "resnet20", 0, 95.0, environment={"weights_sha256": "own"})
    runs = gather_evidence(study, Records([*shared, own])).runs["resnet20"]
    assert list(runs) == shared


def test_networks_that_are_the_same_are_one_line(tmp_path, awbench):
    """The runs of both would be one's, and the other would wait for its own for ever."""
    networks = {"mine": {"variant": "aw_resnet20", "aw": {"gate": "sigmoid"}}}
    path = write_study(tmp_path, networks=networks, comparisons=[{"variant": "mine", "over": "aw_resnet20"}])
    code, out, err = awbench("study", "show", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "aw_resnet20 and mine are the same network, aw_resnet20 with the same options" in err


def test_a_study_in_a_folder_with_an_at_sign_is_found_again(tmp_path):
    """Its runs were given `--study` with what stands before the sign."""
    study = load_study(write_study(tmp_path / "me@lab"))
    assert find_study(study.reference) is study and find_study(study.argument) is study
    with pytest.raises(UserError, match="was changed: its design is"):
        find_study(f"{study.argument}@{'0' * 64}")
