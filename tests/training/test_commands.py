"""`awbench train` and `awbench eval` from the command line."""

from __future__ import annotations

import json
import logging
import os
import re
import socket

import pytest
from small_runs import QUICK

from awbench.experiments.leftovers import private_file
from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.tables import TABLES


@pytest.fixture
def trained(awbench, tmp_path):
    code, out, _ = awbench("train", "aw_resnet20", *QUICK, "--json", "--output", "run")
    assert code == 0
    return json.loads(out)


def test_train_records_accuracy_with_its_error_and_what_was_in_force(trained, awbench, tmp_path):
    (record,) = RecordStore(tmp_path / "results").read().of_kind("accuracy")
    p = trained["top1"] / 100
    assert record.value("top1_standard_error") == pytest.approx(100 * (p * (1 - p) / 359) ** 0.5)
    assert record.settings.recipe.epochs == 1
    assert record.settings.json_object["recipe"]["lr_scaled_by"] == 4.0
    assert record.settings.json_object["evaluation"] == {"resize": 0, "crop": 8, "interpolation": "bilinear"}
    assert any("proxy" in note for note in record.notes)
    code, _, err = awbench("train", "aw_resnet20", *QUICK, "--output", "run")
    assert code == 0
    assert "not trained again" in err


def test_a_finished_run_keeps_its_weights_and_no_checkpoints_unless_asked(awbench, tmp_path):
    assert awbench("train", "resnet20", *QUICK, "--keep-checkpoints")[0] == 0
    (run,) = (tmp_path / "results/runs").iterdir()
    for name in ("plan", "end"):  # of a sweep that was killed
        (run / f"{name}-{socket.gethostname()}-{2**22 + 1}.json").touch()  # more than a Linux system has
        private_file(run, name).touch()  # of one that lives
    assert any((run / "checkpoints").iterdir())
    assert awbench("train", "resnet20", *QUICK, "--keep-checkpoints")[0] == 0
    assert (run / "checkpoints").exists()
    assert awbench("train", "resnet20", *QUICK)[0] == 0  # found; of a run that was killed after it had been recorded
    assert {path.name for path in run.iterdir()} == {
        ".lock", "metrics.jsonl", "tensorboard", "weights.safetensors",
        *(private_file(run, name).name for name in ("plan", "end")),
    }  # fmt: skip


def test_eval_of_the_trained_weights_gives_the_same_numbers(trained, awbench):
    code, out, _ = awbench("eval", "aw_resnet20", "--weights", "run/weights.safetensors", "--json")
    evaluated = json.loads(out)
    assert code == 0
    assert {k: evaluated[k] for k in ("top1", "top5", "images")} == {k: trained[k] for k in ("top1", "top5", "images")}


def test_a_run_of_another_recipe_does_not_enter_the_proxy_table(trained, tmp_path):
    table = TABLES["proxy"](RecordStore(tmp_path / "results").read(), load_references())
    assert table.rows[0][0] == "digits"  # not measured


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "resnet20", "--recipe", "digits-quik"), "did you mean digits-quick?"),
        (("train", "resnet20", "--set", "epoch=3"), "unknown key 'epoch'; did you mean epochs?"),
        (("train", "resnet20", "--dataset", "imagenet", "--data", "nowhere"), "nowhere is not a folder"),
        (("train", "resnet20", "--device", "cuda"), "device cuda is not available"),
        (("train", "resnet20", "--device", "gpu"), "use auto, cpu or cuda"),
        (("train", "resnet20", "--num-classes", "7"), "digits has 10 classes"),
        (("train", "resnet20", "--workers", "-1"), "--workers -1 is negative"),
        (("train", "aw_resnet20", "--aw-strategy", "fast"), "strategy 'fast' does not exist"),
        (("train", "resnet20", "--init-weights", "none.pt"), "none.pt"),
        (("train", "faster_rcnn_resnet18_fpn", "--recipe", "cbam"), "recipe 'cbam' does not exist"),
        (("train", "faster_rcnn_resnet18_fpn", "--compile"), "--compile is for classifiers"),
        (("train", "faster_rcnn_resnet18_fpn", "--joined", "2"), "--joined is for classifiers"),
        (("train", "resnet20", "--joined", "0"), "--joined 0 is no number of micro-batches; use 1 or more"),
        (("train", "resnet20", "--joined", "2", "--compile"), "--joined is not for --compile"),
        (("train", "faster_rcnn_resnet18_fpn", "--engine", "mmdet"), "engine 'mmdet' is not known"),
        (("train", "faster_rcnn_resnet18_fpn", "--dataset", "coco"), "freezes parts of the backbone"),
        (
            ("train", "faster_rcnn_resnet18_fpn", "--dataset", "coco", "--set", "norm=batch", "--set", "freeze_at=0"),
            "needs its files",
        ),
        (("eval", "resnet20", "--weights", "none.pt", "--workers", "-1"), "--workers -1 is negative"),
        (("train", "faster_rcnn_resnet18_fpn", "--set", "iterations=["), "iterations=[, line 2: not valid YAML"),
        (
            ("train", "faster_rcnn_resnet18_fpn", "--set", "iteration=2"),
            "unknown key 'iteration'; did you mean iterations?",
        ),
        (("train", "resnet20", "--engine", "torchvision"), "--engine torchvision is for detectors"),
        (("eval", "faster_rcnn_resnet18_fpn", "--weights", "none.pt", "--engine", "torchvision"), "none.pt"),
        (("eval", "resnet20", "--weights", "none.pt"), "none.pt"),
        (("eval", "resnet20"), "the following arguments are required: --weights"),
    ],
)
def test_bad_input_is_one_line(words, message, awbench):
    code, out, err = awbench(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_weights_of_another_variant_or_another_number_of_classes(trained, awbench):
    for words, message in (
        (("resnet20",), "aw_resnet20"),
        (("aw_resnet20", "--num-classes", "7"), "digits has 10 classes"),
    ):
        code, out, err = awbench("eval", *words, "--weights", "run/weights.safetensors")
        assert (code, out) == (2, "")
        assert message in err


@pytest.mark.parametrize("option", ["--init-weights", "--plan"])
def test_a_fifo_is_not_waited_for(awbench, option, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    code, out, err = awbench("train", "resnet20", option, "fifo")
    assert (code, out) == (2, "") and err.endswith("fifo cannot be read: it is not a regular file\n")


def test_a_training_says_where_it_is_what_each_epoch_found_and_where_its_weights_are(awbench):
    code, _, err = awbench("train", "resnet20", *QUICK, "--set", "epochs=2", "--output", "run")
    lines = err.splitlines()
    assert code == 0 and lines[2:4] == ["run folder: run", "curves: tensorboard --logdir run/tensorboard"]
    epochs = [line for line in lines if "epoch" in line]
    assert [re.search(r"epoch \d of \d: top-1 \d+\.\d\d %, loss \d", line) is not None for line in epochs] == [True] * 2
    assert epochs[0].endswith(" left") and "weights: run/weights.safetensors" in lines[-2:]


def test_quiet_is_quiet_and_verbose_says_how_it_was_executed(awbench, monkeypatch):
    assert awbench("train", "aw_resnet20", *QUICK, "-q")[2] == ""
    code, _, err = awbench("train", "resnet51", "-q")
    assert code == 2 and err.startswith("awbench: resnet51 is not a variant")  # an error is not progress
    for flag, said in (("-v", True), ("-q", False)):
        awbench("list", flag)
        assert logging.getLogger("awbench.kernels").isEnabledFor(logging.INFO) is said
    awbench("list")
    assert not logging.getLogger("awbench.kernels").isEnabledFor(logging.INFO)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("train", "resnet20", "--epochs", "3"), "; did you mean --set epochs=EPOCHS? see 'awbench train --help'"),
        (("train", "resnet20", "--lr=0.1"), "; did you mean --set optimizer.lr=LR? see 'awbench train --help'"),
        (("train", "resnet20", "--recpie", "cifar"), "; did you mean --recipe? see 'awbench train --help'"),
        (("study", "run", "digits", "--paralel", "2"), "; did you mean --parallel? see 'awbench study run --help'"),
        (("train", "resnet20", "more"), "unrecognized arguments: more; see 'awbench train --help'"),
        (("trian", "resnet20"), "; did you mean train? see 'awbench --help'"),
    ],
)
def test_an_unknown_option_names_the_nearest_and_the_commands_own_help(words, hint, awbench):
    code, out, err = awbench(*words)
    assert (code, out) == (2, "") and err.endswith(f"{hint}\n") and err.count("\n") == 1
