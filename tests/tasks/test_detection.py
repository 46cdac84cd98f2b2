"""Detectors in the loop: exact to resume with both engines, recorded once, evaluated from their own weights."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from detection_engines import ENGINES, needs_detectron2
from small_runs import ALONE, Killed, kill_at

import awbench
from awbench.data.detection_datasets import open_detection_split
from awbench.data.digits_detection import write
from awbench.data.pixels import IMAGENET_RGB
from awbench.detection.engine import Detector, find_engine
from awbench.detection.weights import load_detector_weights
from awbench.errors import Preempted, UserError
from awbench.experiments import runs
from awbench.models.weights import save_weights
from awbench.recipes.detection import load_detection_recipe
from awbench.records import RecordStore, measurement_key
from awbench.tasks import Job, open_task
from awbench.training.checkpoint import Checkpoints
from awbench.training.execution import Execution
from awbench.variants import ModelOptions, parse_variant

STEPS = 4
CHANGES = (
    f"iterations={STEPS}", f"evaluate_every={STEPS}", "batch_size=2", "images_per_part=1", "lr_scaled_by=1",
    "schedule={steps: [3], warmup_iterations: 1}", "input={train: [48, 64], train_max: 96, test: 48, test_max: 96}",
    "sampling={anchors: 32, regions: 16, train_proposals: 50, test_proposals: 20}", "norm=batch",
)  # fmt: skip


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    directory = tmp_path_factory.mktemp("digits") / "set"
    write(directory, train_images=8, val_images=3, width=96, height=64)
    return directory


def job(engine: str, digits, *changes: str, **fields) -> Job:
    recipe = load_detection_recipe("digits-detection", [*CHANGES, *changes])
    variant = parse_variant(fields.pop("variant", "faster_rcnn_aw_resnet18_fpn"))
    return Job(variant, ModelOptions(), "digits-detection", digits, recipe, engine=engine, **fields)


def train_detector(run, store, output=None, **execution):
    return runs.train(run, store, Execution(output=output, **execution))


def evaluate_detector(run, weights, store):
    return runs.evaluate(replace(run, weights=weights), store)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.end_to_end
def test_a_killed_and_resumed_run_ends_with_the_same_bits_and_ap(engine, digits, tmp_path):
    run = job(engine, digits)
    whole, new = train_detector(run, RecordStore(tmp_path / "a"), tmp_path / "whole")
    assert new and whole.value("iterations") == STEPS
    again, new = train_detector(run, RecordStore(tmp_path / "a"), tmp_path / "whole")
    assert not new and again == whole
    for step in (1, 3):
        with pytest.raises(Killed):
            train_detector(
                run, RecordStore(tmp_path / "b"), tmp_path / "killed", resume=True, workers=2, checkpoint_seconds=0,
                on_progress=kill_at(step),
            )  # fmt: skip
    resumed, _ = train_detector(run, RecordStore(tmp_path / "b"), tmp_path / "killed", resume=True, workers=2)
    weights = [(tmp_path / folder / "weights.safetensors").read_bytes() for folder in ("whole", "killed")]
    assert weights[0] == weights[1]
    timed = {"train_time", "train_time_per_iteration"}
    assert {n: q for n, q in whole.values.items() if n not in timed} == {
        name: quantity for name, quantity in resumed.values.items() if name not in timed
    }
    rows = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert {len([name for name in row if name.startswith("loss_")]) for row in rows if "lr" in row} == {4}

    evaluated, new = evaluate_detector(run, tmp_path / "whole" / "weights.safetensors", RecordStore(tmp_path / "a"))
    assert new
    assert [evaluated.values[name] for name in whole.values if "ap" in name] == [
        quantity for name, quantity in whole.values.items() if "ap" in name
    ]


def test_no_image_that_can_be_decoded_is_no_ap_of_0(digits, tmp_path):
    directory = shutil.copytree(digits, tmp_path / "set")
    task = open_task(job("torchvision", directory, skip_bad_images=True))
    for image in task.val.images:
        image.path.write_bytes(b"")
    with pytest.raises(UserError, match=r"not one image could be decoded: .*val2017"):
        task.evaluate(task.build(), ALONE, 0)


def test_another_seed_gives_another_network(digits, tmp_path):
    runs = [job("torchvision", digits, "iterations=1", seed=seed) for seed in (0, 1)]
    for number, run in enumerate(runs):
        train_detector(run, RecordStore(tmp_path / str(number)), tmp_path / f"run{number}")
    weights = [(tmp_path / f"run{number}" / "weights.safetensors").read_bytes() for number in range(2)]
    tensors = [content[content.index(b"}}") :] for content in weights]
    assert tensors[0] != tensors[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_last_good_checkpoint(engine, digits, tmp_path):
    run = job(engine, digits, "optimizer.lr=1e30")
    with pytest.raises(UserError, match=r"step \d+(;|: Predicted boxes) .*a lower learning rate") as error:
        train_detector(run, RecordStore(tmp_path), tmp_path / "run", checkpoint_seconds=0)
    for path in Checkpoints(tmp_path / "run" / "checkpoints").paths():
        state = torch.load(io.BytesIO(path.read_bytes().split(b"\n", 2)[2]), weights_only=True)
        assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert "\n" not in str(error.value) and not list(tmp_path.glob("**/detection/*.json"))


def test_a_run_of_other_settings_is_not_resumed(digits, tmp_path):
    with pytest.raises(Killed):
        train_detector(
            job("torchvision", digits),
            RecordStore(tmp_path),
            tmp_path / "run",
            checkpoint_seconds=0,
            on_progress=kill_at(2),
        )
    other = job("torchvision", digits, "optimizer.lr=0.001")
    with pytest.raises(UserError, match="holds a run with settings = "):
        train_detector(other, RecordStore(tmp_path), tmp_path / "run", resume=True)
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        train_detector(job("torchvision", digits), RecordStore(tmp_path), tmp_path / "run")


def test_sigterm_saves_and_says_resume_me(digits, tmp_path):
    ask = lambda progress: os.kill(os.getpid(), signal.SIGTERM) if progress.step == 2 else None  # noqa: E731
    with pytest.raises(Preempted, match="stopped after step 2 of 4"):
        train_detector(job("torchvision", digits), RecordStore(tmp_path), tmp_path / "run", on_progress=ask)
    assert Checkpoints(tmp_path / "run" / "checkpoints").paths()


def test_an_image_that_cannot_be_decoded_stops_or_is_listed(tmp_path):
    write(tmp_path / "set", train_images=4, val_images=2, width=96, height=64)
    split = open_detection_split("digits-detection", tmp_path / "set", "train")
    broken = next(image for image in split.images if len(image.boxes)).path
    broken.write_bytes(broken.read_bytes()[:200])
    run = job("torchvision", tmp_path / "set")
    for workers in (0, 1):
        with pytest.raises(UserError, match=f"^[^\n]*{broken.name} cannot be decoded .*--skip-bad-images$"):
            train_detector(run, RecordStore(tmp_path), tmp_path / f"run{workers}", workers=workers)
    unseen = open_detection_split("digits-detection", tmp_path / "set", "val").images[0].path
    unseen.write_bytes(b"")
    run = job("torchvision", tmp_path / "set", "batch_size=4", "images_per_part=4", skip_bad_images=True)
    record, _ = train_detector(run, RecordStore(tmp_path), tmp_path / "skipping")
    left_out = [note for note in record.notes if note.startswith("left out: ")]
    assert len(left_out) == 2 and broken.name in left_out[0] and str(unseen) in left_out[1]
    assert (record.value("images"), record.value("images_left_out")) == (2, 1)


@needs_detectron2
def test_weights_of_the_other_engine_are_refused_with_its_name(digits, tmp_path):
    train_detector(job("torchvision", digits, "iterations=1"), RecordStore(tmp_path), tmp_path / "run")
    with pytest.raises(UserError, match="was made with engine torchvision; this detector is detectron2's, use --eng"):
        evaluate_detector(job("detectron2", digits), tmp_path / "run" / "weights.safetensors", RecordStore(tmp_path))


def test_torchvisions_names_of_before_its_0_13_are_read(tmp_path):
    built = Detector(parse_variant("faster_rcnn_resnet18_fpn"), ModelOptions(), (1, 2), IMAGENET_RGB)
    theirs, _ = find_engine("torchvision").build(built)
    old = {
        re.sub(r"blocks\.(\d)\.0\.|conv\.0\.0\.", lambda m: f"blocks.{m[1]}." if m[1] else "conv.", name): tensor
        for name, tensor in theirs.state_dict().items()
    }
    assert {"backbone.fpn.inner_blocks.0.weight", "rpn.head.conv.bias"} <= old.keys()
    torch.save(old, tmp_path / "old.pth")
    ours, body = find_engine("torchvision").build(built)
    load_detector_weights(ours, body, tmp_path / "old.pth")
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in theirs.state_dict().items())


def test_a_precision_that_would_round_boxes_is_refused(digits, tmp_path):
    with pytest.raises(UserError, match="precision bfloat16 with engine torchvision would round boxes"):
        train_detector(job("torchvision", digits, "precision=bfloat16"), RecordStore(tmp_path), tmp_path / "run")


@needs_detectron2
def test_detectron2_trains_in_bfloat16(digits, tmp_path):
    run = job("detectron2", digits, "precision=bfloat16", "iterations=2", "norm=frozen")
    run = replace(
        run, initial_weights=tmp_path / "resnet18.safetensors", variant=parse_variant("faster_rcnn_resnet18_fpn")
    )
    save_weights(awbench.build("resnet18"), tmp_path / "resnet18.safetensors")
    record, _ = train_detector(run, RecordStore(tmp_path), tmp_path / "run")
    assert record.value("iterations") == 2 and "backbone from resnet18.safetensors, layout awbench" in record.notes


def test_a_frozen_backbone_of_random_weights_is_refused(digits, tmp_path):
    with pytest.raises(UserError, match="freezes parts of the backbone, .*ImageNet weights of aw_resnet18 with --init"):
        train_detector(job("torchvision", digits, "freeze_at=1"), RecordStore(tmp_path), tmp_path / "run")


def test_what_only_describes_a_recipe_does_not_change_what_was_measured(digits):
    keys = {
        measurement_key(**open_task(job("torchvision", digits, *change)).identity())
        for change in ((), ("title=another",), ("note=another",), ("evaluate_every=2",))
    }
    assert len(keys) == 1
    other = job("torchvision", digits, "optimizer.lr=0.001")
    assert measurement_key(**open_task(other).identity()) not in keys


def test_an_unknown_engine_is_named():
    with pytest.raises(UserError, match="engine 'detectron' is not known; did you mean detectron2\\?"):
        find_engine("detectron")
