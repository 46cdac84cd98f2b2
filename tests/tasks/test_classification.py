"""The loop: exact to resume, indifferent to workers, and it loses nothing."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import ALONE, STEPS, Killed, digest, kill_at, make_run, model, train

from awbench.data.datasets import ImageFiles, Split
from awbench.data.views import Batch
from awbench.errors import Preempted, UserError
from awbench.experiments.runs import evaluate
from awbench.models.weights import load_weights
from awbench.recipes.classification import load_recipe
from awbench.records import RecordStore
from awbench.tasks import classification
from awbench.tasks.classification import Classification, TrainableClassifier, learning_rate
from awbench.tasks.task import Built
from awbench.training.checkpoint import KEPT, Checkpoints
from awbench.training.distributed import World


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    network = model()
    finished = train(make_run(tmp_path_factory.mktemp("run")), network, ALONE)
    return digest(network), finished


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("moments", [(1,), (4,), (7, 9), (11,)])
def test_a_killed_and_resumed_run_ends_with_the_same_bits(moments, workers, tmp_path, uninterrupted):
    run = make_run(tmp_path, workers=workers)
    for step in moments:
        with pytest.raises(Killed):
            train(run, model(), ALONE, resume=True, on_progress=kill_at(step))
    network = model()
    finished = train(run, network, ALONE, resume=True)
    expected, whole = uninterrupted
    assert digest(network) == expected
    assert finished.state.history == whole.state.history
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["evaluation"] for row in rows if "evaluation" in row] == [1, 2, 3]


def test_another_seed_gives_other_weights(tmp_path, uninterrupted):
    network = model()
    train(make_run(tmp_path, seed=4), network, ALONE)
    assert digest(network) != uninterrupted[0]


def test_sigterm_saves_and_says_resume_me(tmp_path, uninterrupted):
    run = make_run(tmp_path, checkpoint_seconds=1e9)
    ask = lambda progress: os.kill(os.getpid(), signal.SIGTERM) if progress.step == 6 else None  # noqa: E731
    with pytest.raises(Preempted, match="stopped after step 6 of 12"):
        train(run, model(), ALONE, on_progress=ask)
    network = model()
    train(run, network, ALONE, resume=True)
    assert digest(network) == uninterrupted[0]


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    run = make_run(tmp_path, "optimizer.lr=1e30", "schedule.warmup_epochs=0")
    with pytest.raises(UserError, match=r"not finite (at|after) step \d+; .*a lower learning rate"):
        train(run, model(), ALONE)
    for path in Checkpoints(tmp_path / "checkpoints").paths():
        state = Checkpoints(tmp_path / "checkpoints")._read(path, [])
        assert all(t.isfinite().all() for t in state["model"].values())


def test_only_the_last_few_checkpoints_are_kept(tmp_path):
    train(make_run(tmp_path), model(), ALONE)
    names = [path.name for path in Checkpoints(tmp_path / "checkpoints").paths()]
    assert names == [f"step-{step:09}.pt" for step in range(STEPS - KEPT + 1, STEPS + 1)]


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(tmp_path):
    train(make_run(tmp_path), model(), ALONE)
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        train(make_run(tmp_path), model(), ALONE)
    with pytest.raises(UserError, match="holds a run with settings = "):
        train(make_run(tmp_path, "epochs=4"), model(), ALONE, resume=True)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-20] + bytes(20)])
def test_a_damaged_checkpoint_is_named_with_the_one_before_it(damage, tmp_path):
    run = make_run(tmp_path)
    with pytest.raises(Killed):
        train(run, model(), ALONE, on_progress=kill_at(5))
    paths = Checkpoints(tmp_path / "checkpoints").paths()
    before = [path.read_bytes() for path in paths[:-1]]
    paths[-1].write_bytes(damage(paths[-1].read_bytes()))
    with pytest.raises(UserError, match=rf"{paths[-1].name} is truncated .*resume from {paths[-2].name}"):
        train(run, model(), ALONE, resume=True)
    assert [path.read_bytes() for path in paths[:-1]] == before


def test_a_checkpoint_never_runs_code(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/harmed",))

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"state": Harmful()})
    with pytest.raises(UserError, match="holds more than tensors and plain values"):
        checkpoints.load_newest()
    assert not (tmp_path / "harmed").exists()


def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path, monkeypatch):
    run, sync, calls = make_run(tmp_path), os.fsync, []

    def full_at_last(descriptor):
        calls.append(descriptor)
        if len(calls) > 9:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_last)
    with pytest.raises(OSError, match="No space left"):
        train(run, model(), ALONE)
    monkeypatch.undo()
    step, _ = Checkpoints(tmp_path / "checkpoints").load_newest()
    assert step >= 1
    train(run, model(), ALONE, resume=True)


def test_what_cannot_be_shared_or_filled_is_refused(tmp_path):
    with pytest.raises(UserError, match="batch_size 128 is more than the 70 training images"):
        train(make_run(tmp_path, "batch_size=128"), model(), ALONE)
    with pytest.raises(UserError, match="makes 2 of them, which 3 processes cannot share"):
        train(make_run(tmp_path), model(), World(0, 3, torch.device("cpu")))


def test_running_statistics_of_a_step_are_the_mean_over_its_parts(tmp_path):
    """One step in two parts: each running mean is the mean of what the parts alone would have given."""
    run = make_run(tmp_path, "epochs=1", "batch_size=64", "norm_batch_size=32", "optimizer.lr=1e-12")
    network = model("resnet20")
    train(run, network, ALONE)
    from awbench.data.views import TrainingOrder, View, collate
    from awbench.tasks.transforms import training_transform

    task = run.task
    view = View(task.train.images, training_transform(task.recipe.augmentation), task.job.seed)
    order = TrainingOrder(70, 64, 32, task.job.seed, 0, 1)
    means = []
    for part in order:
        fresh = model("resnet20").train()
        fresh(task.on_device(collate([view[key] for key in part]), ALONE.device).images)
        means.append(fresh.bn1.running_mean)
    torch.testing.assert_close(network.bn1.running_mean, (means[0] + means[1]) / 2)
    assert network.bn1.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("changes", "step", "expected"),
    [
        (["schedule.name=step", "schedule.step_epochs=1", "schedule.warmup_epochs=0"], 0, 0.1),
        (["schedule.name=step", "schedule.step_epochs=1", "schedule.warmup_epochs=0"], 10, 0.01),
        (["schedule.name=step", "schedule.step_epochs=1", "schedule.warmup_epochs=0"], 25, 0.001),
        (["schedule.warmup_epochs=2"], 0, 0.0001),
        (["schedule.warmup_epochs=2"], 10, 0.05005),
        (["schedule.warmup_epochs=0"], 15, 0.05),
        (["schedule.warmup_epochs=0", "batch_size=128"], 15, 0.1),
    ],
)
def test_the_learning_rate_follows_the_recipe(changes, step, expected):
    recipe = load_recipe("digits-quick", ["epochs=3", *changes])
    assert math.isclose(learning_rate(recipe, step, 10), expected, rel_tol=1e-6)


def test_mixed_precision_trains(tmp_path):
    finished = train(make_run(tmp_path, "precision=bfloat16", "epochs=1"), model("resnet20"), ALONE)
    assert finished.result.images == 30


def test_a_kill_during_an_evaluation_loses_no_training(tmp_path, uninterrupted, monkeypatch):
    """The network is saved before it is evaluated; the resumed run begins with that evaluation."""
    run = make_run(tmp_path, checkpoint_seconds=1e9)

    def killed(self):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(TrainableClassifier, "evaluate", killed)
        train(run, model(), ALONE)
    assert [path.name for path in Checkpoints(tmp_path / "checkpoints").paths()] == ["step-000000004.pt"]
    network = model()
    finished = train(run, network, ALONE, resume=True)
    expected, whole = uninterrupted
    assert digest(network) == expected and finished.state.history == whole.state.history


def test_adamw_trains_and_resumes_with_the_same_bits(tmp_path):
    changes = ("optimizer={name: adamw, lr: 0.001, weight_decay: 0.05}",)
    whole, resumed = model("resnet20"), model("resnet20")
    train(make_run(tmp_path / "whole", *changes), whole, ALONE)
    with pytest.raises(Killed):
        train(make_run(tmp_path / "killed", *changes), model("resnet20"), ALONE, on_progress=kill_at(7))
    train(make_run(tmp_path / "killed", *changes), resumed, ALONE, resume=True)
    assert digest(resumed) == digest(whole) != digest(model("resnet20"))


def test_plain_and_averaged_weights_of_one_file_are_two_results(tmp_path):
    network = model()
    averaged = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    torch.save({"model": network.state_dict(), "model_ema": averaged}, tmp_path / "both.pth")
    run = make_run(tmp_path)
    records = [
        evaluate(replace(run.task.job, weights=tmp_path / "both.pth", averaged=ema), RecordStore(tmp_path))[0]
        for ema in (False, True)
    ]
    assert records[0].key != records[1].key
    assert any("the plain ones were read, --ema reads these" in note for note in records[0].notes)
    assert any("its averaged (EMA) weights, under 'model_ema', were read" in note for note in records[1].notes)
    assert records[1].value("loss") == pytest.approx(math.log(10))  # of a network of zeros
    for weights in (None, "IMAGENET1K_V1"):
        with pytest.raises(UserError, match="--ema reads the averaged weights of a checkpoint; give its file"):
            Classification(replace(run.task.job, weights=weights, averaged=True), run.task.splits).identity(
                Built(network, load_weights(network, tmp_path / "both.pth"))
            )


def test_no_image_that_can_be_decoded_is_an_error(tmp_path):
    (tmp_path / "a.JPEG").touch()
    task = make_run(tmp_path).task
    bad = replace(task.val, images=ImageFiles([(str(tmp_path / "a.JPEG"), 0)] * 3))
    task = Classification(replace(task.job, skip_bad_images=True), (task.train, bad))
    with pytest.raises(UserError, match=r"not one image could be decoded: .*a.JPEG"):
        task.evaluate(Built(model()), ALONE, 0)


@pytest.mark.parametrize("channels_last", [False, True])
def test_joined_micro_batches_lie_as_the_loop_is_told(channels_last, tmp_path):
    run = make_run(tmp_path, f"channels_last={str(channels_last).lower()}")
    trainable = run.task.trainable(Built(model()), ALONE, 0)
    first, second = itertools.islice(trainable.batches(0), 2)
    joined = trainable.join([first, second])
    places = (slice(0, None, 2), slice(1, None, 2)) if trainable.interleaved else (slice(0, 8), slice(8, 16))
    assert trainable.interleaved is not channels_last
    for batch, place in zip((first, second), places, strict=True):
        assert torch.equal(joined.labels[place], batch.labels)
        assert torch.equal(joined.images[place], run.task.on_device(batch, ALONE.device).images)
    assert trainable.join([first, Batch(second.images[:2], second.labels[:2])]) is None


def jpeg_split(folder, count):
    folder.mkdir()
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg", progressive=index % 5 == 0)
    images = ImageFiles([(str(folder / f"{index}.jpg"), index % 10) for index in range(count)])
    return Split(images, 10, str(folder), f"{count} files")


def test_a_training_decoded_on_the_device_is_one_decoded_before_it_and_another_record(tmp_path, monkeypatch):
    """On a CPU, whose decoder of batches is that of single images."""
    splits = jpeg_split(tmp_path / "train", 16), jpeg_split(tmp_path / "val", 10)
    found = {}
    for decoder in ("torchvision", "nvjpeg"):
        run = make_run(tmp_path / decoder, "epochs=1", f"decoder={decoder}", splits=splits)
        network = model("resnet20")
        if decoder == "nvjpeg":
            with pytest.raises(UserError, match="decoder=nvjpeg needs a GPU, not cpu"):
                train(run, network, ALONE)
            monkeypatch.setattr(classification, "require_gpu", lambda device: None)
        result = train(run, network, ALONE).result
        found[decoder] = digest(network), run.task.values(result), run.task.identity()["settings"]["recipe"]["decoder"]
    assert found["nvjpeg"][0] == found["torchvision"][0]
    assert found["nvjpeg"][1].pop("images_decoded_on_cpu").value == 2
    assert found["nvjpeg"][1] == found["torchvision"][1]
    assert [decoder for *_, decoder in found.values()] == ["torchvision", "nvjpeg"]


@pytest.mark.parametrize("decoder", ["torchvision", "nvjpeg"])
def test_a_decoder_is_for_files(tmp_path, decoder):
    with pytest.raises(UserError, match=f"decoder={decoder} is for images in files, and 70 images of noise are not"):
        make_run(tmp_path, f"decoder={decoder}")


def test_an_evaluations_large_batches_wait_one_by_one(tmp_path, monkeypatch):
    """In /dev/shm, which containers have 64 MB of; the small ones of a training four by four."""
    asked, loader = [], torch.utils.data.DataLoader

    def noting(*args, **named):
        asked.append((named["num_workers"], named["prefetch_factor"]))
        return loader(*args, **{**named, "num_workers": 0, "prefetch_factor": None, "timeout": 0})

    run = make_run(tmp_path, "epochs=1")
    monkeypatch.setattr(torch.utils.data, "DataLoader", noting)
    run.task.evaluate(Built(model("resnet20")), ALONE, 2)
    next(run.task.trainable(Built(model("resnet20")), ALONE, 2).batches(0))
    assert asked == [(2, 1), (2, 4)]
