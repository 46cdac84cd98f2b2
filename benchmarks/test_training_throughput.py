"""The training loop against the bare step, and the data path against the bare transforms: ratios within one run.

Each test alternates the two, so that what else the machine does hits both; the ratio is in the
benchmark's extra info and printed. On a GPU the same tests run there.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import awbench
from awbench.attention.aw_convolution import set_strategy
from awbench.data.datasets import ArrayImages, Split
from awbench.kernels.strategies import AUTO
from awbench.measure.accuracy import Accuracy
from awbench.recipes.classification import load_recipe
from awbench.tasks.classification import Classification, TrainableClassifier
from awbench.tasks.job import Job
from awbench.tasks.task import Built
from awbench.training.distributed import World
from awbench.training.execution import Execution
from awbench.training.loop import Loop
from awbench.variants import ModelOptions, parse_variant

ROUNDS, STEPS = 7, 6


def alternate(first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float, float]:
    """(median seconds of the first, of the second, median ratio second/first), interleaved after a warm-up."""
    first(), second()
    pairs = []
    for _ in range(ROUNDS):
        times = []
        for run in (first, second):
            started = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        pairs.append(times)
    columns = list(zip(*pairs, strict=True))
    return statistics.median(columns[0]), statistics.median(columns[1]), statistics.median(b / a for a, b in pairs)


@pytest.mark.benchmark(group="training loop")
@pytest.mark.parametrize("name", ["resnet18", "aw_resnet18"])
def test_loop_overhead(benchmark, name, device, noise, sgd_steps, tmp_path, monkeypatch, capsys):
    """Our loop, its logging, show_progress and checks included, over the same steps without it."""
    count, size = (256, 224) if device.type == "cuda" else (16, 96)
    batch = noise(count, size)
    recipe = load_recipe("cbam", [f"batch_size={count}", f"norm_batch_size={count}", "epochs=1", "optimizer.lr=1e-6"])
    images = ArrayImages(np.zeros((count * STEPS, 8, 8, 3), np.uint8), np.zeros(count * STEPS, np.int64))
    split = Split(images, 1000, "", "")
    monkeypatch.setattr(TrainableClassifier, "batches", lambda self, first_step: itertools.repeat(batch))
    monkeypatch.setattr(TrainableClassifier, "evaluate", lambda self: Accuracy(1, 1, 1, 0.0))
    monkeypatch.setattr(Loop, "_save", lambda self: None)
    model = awbench.build(name).to(device)
    set_strategy(model, AUTO)  # as `awbench train` does
    runs = itertools.count()

    def loop() -> None:
        job = Job(parse_variant(name), ModelOptions(), "imagenet", None, recipe)
        task, world = Classification(job, (split, split)), World(0, 1, device)
        execution = Execution(deterministic=False)
        with torch.enable_grad():
            trainable = task.trainable(Built(model), world, 0)
            Loop(trainable, {}, 0, tmp_path / str(next(runs)), execution, world).run_to_the_end()

    bare = sgd_steps(model, batch, STEPS)
    plain, ours, ratio = alternate(bare, loop)
    benchmark.extra_info.update(images_per_s=count * STEPS / ours, bare_images_per_s=count * STEPS / plain, ratio=ratio)
    benchmark.pedantic(loop, rounds=2)
    with capsys.disabled():
        print(f"\n{name} on {device}: loop / bare step = {ratio:.3f}")


@pytest.mark.benchmark(group="training step against timm")
def test_step_against_timm(benchmark, device, noise, sgd_steps, capsys):
    """The same network and settings, timm's model and optimizer."""
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    from timm.optim import create_optimizer_v2

    count, size = (256, 224) if device.type == "cuda" else (16, 96)
    batch = noise(count, size)
    theirs_model = timm.create_model("resnet18").to(device)
    optimizer = create_optimizer_v2(theirs_model, "momentum", lr=1e-3, weight_decay=1e-4, momentum=0.9)

    def theirs() -> None:
        with torch.enable_grad():
            for _ in range(STEPS):
                optimizer.zero_grad()
                F.cross_entropy(theirs_model(batch.images), batch.labels).backward()
                optimizer.step()

    ours = sgd_steps(awbench.build("resnet18").to(device), batch, STEPS)
    _, seconds, ratio = alternate(theirs, ours)
    benchmark.extra_info.update(images_per_s=count * STEPS / seconds, ratio=ratio)
    benchmark.pedantic(ours, rounds=2)
    with capsys.disabled():
        print(f"\nresnet18 on {device}: our step / timm's step = {ratio:.3f}")
