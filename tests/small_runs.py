"""A small classifier on noise, trained by the loop in 12 steps: what survives a fault is compared bit by bit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import awbench
from awbench.data.datasets import ArrayImages, Split
from awbench.recipes.classification import load_recipe
from awbench.tasks.classification import Classification
from awbench.tasks.job import Job
from awbench.tasks.task import Built
from awbench.training.distributed import World
from awbench.training.execution import Execution
from awbench.training.loop import Loop
from awbench.training.numerics import seed_weights
from awbench.variants import ModelOptions, parse_variant

ALONE = World(0, 1, torch.device("cpu"))
STEPS = 12  # 3 epochs of 4
# Words of `train` and `sweep` for a training on digits of a few seconds.
QUICK = ("--set", "epochs=1", "--set", "batch_size=256", "--set", "norm_batch_size=256")


def split(count: int, seed: int) -> Split:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    images = ArrayImages(pixels, generator.integers(0, 10, count))
    return Split(images, 10, images.digest(), f"{count} images of noise")


def make_run(output, *changes, seed=3, splits=None, **execution) -> Run:
    recipe = load_recipe("digits-quick", ["epochs=3", "batch_size=16", "norm_batch_size=8", *changes])
    job = Job(parse_variant("aw_resnet20"), ModelOptions(), "digits", None, recipe, seed)
    task = Classification(job, splits or (split(70, 1), split(30, 2)))
    return Run(task, output, Execution(**{"checkpoint_seconds": 0.0, **execution}))


@dataclass(frozen=True)
class Run:
    task: Classification
    output: Path
    execution: Execution


def train(run, network, world, made_with=None, **changes):
    """Train a network by the loop, as `awbench.experiments.runs.train` does."""
    execution = replace(run.execution, **changes)
    trainable = run.task.trainable(Built(network), world, execution.workers_on(world))
    identity, seed = run.task.identity(), run.task.job.seed
    return Loop(trainable, identity, seed, run.output, execution, world, made_with).run_to_the_end()


def model(name: str = "aw_resnet20") -> torch.nn.Module:
    seed_weights(3)
    return awbench.build(name)


def digest(network: torch.nn.Module) -> str:
    """Of every bit of every parameter and buffer."""
    out = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        out.update(name.encode() + tensor.numpy().tobytes())
    return out.hexdigest()


class Killed(BaseException):
    """Stands for a kill: nothing gets to tidy up before the process is gone."""


def kill_at(step):
    def watch(progress):
        if progress.step == step:
            raise Killed

    return watch
