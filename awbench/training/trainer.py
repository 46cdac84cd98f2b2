"""The classification training loop: exact to resume, the same result on any number of processes."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from awbench.data.datasets import Dataset, Split
from awbench.data.transforms import evaluation_transform, training_transform
from awbench.data.views import Batch, EvaluationOrder, TrainingOrder, View, derive_seed, make_loader
from awbench.errors import Preempted, UserError
from awbench.measure.accuracy import Accuracy, measure_accuracy
from awbench.training.checkpoint import Checkpoints, demand_same_run
from awbench.training.distributed import World
from awbench.training.metrics import MetricsLog
from awbench.training.norms import RunningStatistics
from awbench.training.recipe import Recipe

LOG_STEPS = 50


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        settings: everything that determines its result, as plain JSON values; a run is only resumed with the same.
        output: folder of its checkpoints and metrics.
        workers: loading processes for each training process; never changes the result.
        checkpoint_seconds: a checkpoint at least this often, and one after every epoch.
        deterministic: only algorithms that give the same bits every time.
    """

    settings: dict[str, Any]
    recipe: Recipe
    dataset: Dataset
    train: Split
    val: Split
    seed: int
    output: Path
    workers: int = 0
    skip_bad_images: bool = False
    checkpoint_seconds: float = 600.0
    deterministic: bool = True
    compile: bool = False


@dataclass
class State:
    """What changes during a run and is saved beside model and optimizer.

    Attributes:
        step: finished steps.
        history: one row an epoch.
        bad_images: messages of images that could not be decoded, each once.
        seconds: of training so far, over all sessions.
        interval: (sum of losses, parts) since the last logged row, of the process that saved.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    bad_images: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after a step: finished and total steps, of images a second and the loss of late."""

    step: int
    steps: int
    steps_per_epoch: int
    images_per_s: float
    loss: float | None


@dataclass(frozen=True)
class Finished:
    """A finished run: its final evaluation, and its state."""

    accuracy: Accuracy
    state: State


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (0-based), by the recipe's schedule alone."""
    schedule, epoch = recipe.schedule, step / steps_per_epoch
    if epoch < schedule.warmup_epochs:
        return recipe.lr * (0.001 + 0.999 * epoch / schedule.warmup_epochs)
    if schedule.name == "step":
        return recipe.lr * schedule.gamma ** int(epoch // schedule.step_epochs)
    span = max(recipe.epochs - schedule.warmup_epochs, 1e-9)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (epoch - schedule.warmup_epochs) / span))


def train(
    run: Run,
    model: nn.Module,
    world: World,
    resume: bool = False,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Finished:
    """Train to the end of the recipe, from the start or from the newest checkpoint.

    Args:
        run: what to train.
        model: freshly initialised, the same on every process.
        world: the processes that share the run.
        resume: go on from the newest checkpoint, if there is one.
        watch: called on the main process after each step.

    Raises:
        UserError: the output folder holds another run, or this one and `resume` is false; the
            loss is not finite; an image cannot be decoded; the batch cannot be shared.
        Preempted: SIGTERM came; the run is saved.
        OSError: a checkpoint could not be written; the earlier ones are intact.
    """
    return _Trainer(run, model, world, watch).run_to_the_end(resume)


class _Trainer:
    def __init__(self, run: Run, model: nn.Module, world: World, watch: Callable[[Progress], None]) -> None:
        recipe = run.recipe
        self.run, self.world, self.watch = run, world, watch
        self.steps_per_epoch = len(run.train.images) // recipe.batch_size
        if self.steps_per_epoch == 0:
            raise UserError(
                f"batch_size {recipe.batch_size} is more than the {len(run.train.images)} training images; "
                f"use --set batch_size={len(run.train.images)} or less"
            )
        self.parts = recipe.batch_size // recipe.norm_batch_size
        if self.parts < world.size:
            raise UserError(
                f"batch_size {recipe.batch_size} in parts of norm_batch_size {recipe.norm_batch_size} makes "
                f"{self.parts} parts, which {world.size} processes cannot share; use fewer processes or a smaller "
                "norm_batch_size"
            )
        self.steps = recipe.epochs * self.steps_per_epoch
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.model = model.to(world.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=recipe.lr,
            momentum=recipe.optimizer.momentum,
            weight_decay=recipe.optimizer.weight_decay,
            nesterov=recipe.optimizer.nesterov,
        )
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=recipe.precision == "float16")
        self.checkpoints = Checkpoints(run.output / "checkpoints")
        self.statistics = RunningStatistics(self.model, self.parts, world)
        self.state = State()
        self.stop_asked = False
        # On a GPU, looking at a loss or asking the others waits for the device: not every step.
        self.look_every = 1 if world.device.type == "cpu" else 8

    def run_to_the_end(self, resume: bool) -> Finished:
        with _deterministic(self.run.deterministic), self._stop_on_sigterm():
            self._restore(resume)
            self.log = MetricsLog(self.run.output, self.state.step) if self.world.is_main else None
            try:
                accuracy = self._train()
            finally:
                if self.log:
                    self.log.close()
            return Finished(accuracy, self.state)

    def _restore(self, resume: bool) -> None:
        found = self.checkpoints.load_newest() if resume else None
        if not resume and self.checkpoints.paths():
            raise UserError(
                f"{self.run.output} already holds a run; add --resume to go on with it, or give another --output"
            )
        if found is None:
            return
        step, saved = found
        demand_same_run(saved["settings"], self.run.settings, self.run.output)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.state = State(**json.loads(saved["state"]))
        assert self.state.step == step, "a checkpoint's name and content agree"

    def _save(self) -> None:
        """Rank 0 alone writes: it holds everything. A network that is not finite is never written."""
        if not self.world.is_main:
            return
        for name, parameter in self.model.named_parameters():
            if not parameter.isfinite().all():
                raise UserError(self._not_finite(f"{name} is not finite after step {self.state.step}"))
        self.checkpoints.save(
            self.state.step,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "state": json.dumps(asdict(self.state)),
                "settings": json.dumps(self.run.settings),
            },
        )

    def _not_finite(self, what: str) -> str:
        kept = self.checkpoints.paths()
        rest = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was written yet"
        return f"{what}; {rest}; a lower learning rate (--set optimizer.lr=...) or a warm-up may help"

    def _train(self) -> Accuracy:
        parallel = self._parallel()
        batches = iter(self._batches())
        carried = self.state.interval if self.world.is_main else (0.0, 0.0)
        interval_loss = torch.tensor(carried, dtype=torch.float64, device=self.world.device)  # sum, parts
        first_bad = torch.full((), -1, dtype=torch.int64, device=self.world.device)
        started = saved = logged = time.monotonic()
        logged_step, seconds_before, accuracy, late_loss = self.state.step, self.state.seconds, None, None
        while self.state.step < self.steps:
            step = self.state.step
            self.model.train()
            loss = self._step(parallel, batches, step)
            interval_loss += torch.stack([loss, torch.ones_like(loss)])
            first_bad = torch.where((first_bad < 0) & ~loss.isfinite(), step, first_bad)
            self.state.step += 1
            self.state.seconds = seconds_before + time.monotonic() - started
            look = self.state.step % self.look_every == 0 or self.state.step == self.steps
            if look and int(first_bad) >= 0:
                raise UserError(self._not_finite(f"the loss is not finite at step {int(first_bad) + 1}"))
            epoch_ends = self.state.step % self.steps_per_epoch == 0
            if self.state.step % LOG_STEPS == 0 or epoch_ends:
                totals = self.world.sum(interval_loss.clone())
                interval_loss.zero_()
                late_loss = float(totals[0] / totals[1])
                now = time.monotonic()
                speed = (self.state.step - logged_step) * self.run.recipe.batch_size / max(now - logged, 1e-9)
                logged, logged_step = now, self.state.step
                self._record_interval(step, late_loss, speed)
            if self.world.is_main:
                elapsed = max(time.monotonic() - logged, 1e-9)
                recent = (self.state.step - logged_step) * self.run.recipe.batch_size / elapsed
                self.watch(Progress(self.state.step, self.steps, self.steps_per_epoch, recent, late_loss))
            if epoch_ends:
                accuracy = self._evaluate()
                self._record_epoch(accuracy, late_loss)
            stop = look and self.world.any(self.stop_asked)
            if epoch_ends or stop or time.monotonic() - saved > self.run.checkpoint_seconds:
                self.state.interval = (float(interval_loss[0]), float(interval_loss[1]))
                self._save()
                saved = time.monotonic()
            if stop and self.state.step < self.steps:
                self.world.barrier()
                raise Preempted(f"stopped after step {self.state.step} of {self.steps}; saved in {self.run.output}")
        return accuracy if accuracy is not None else self._evaluate()

    def _parallel(self) -> nn.Module:
        model: Any = self.model
        if self.world.size > 1:
            device_ids = [self.world.device.index] if self.world.device.type == "cuda" else None
            model = nn.parallel.DistributedDataParallel(model, device_ids=device_ids, broadcast_buffers=False)
        compiled: Any = torch.compile(model) if self.run.compile else model
        return compiled

    def _batches(self) -> torch.utils.data.DataLoader[Batch]:
        """All parts of all remaining steps, of this process."""
        run = self.run
        order = TrainingOrder(
            length=len(run.train.images),
            batch_size=run.recipe.batch_size,
            norm_batch_size=run.recipe.norm_batch_size,
            seed=run.seed,
            first_step=self.state.step,
            last_step=self.steps,
            rank=self.world.rank,
            world_size=self.world.size,
        )
        transform = training_transform(run.recipe.augmentation, run.dataset)
        view = View(run.train.images, transform, run.seed, run.skip_bad_images)
        return make_loader(view, order, run.workers, pin_memory=self.world.device.type == "cuda")

    def _step(self, parallel: nn.Module, batches: Iterator[Batch], step: int) -> Tensor:
        """One optimizer step; returns the mean loss of this process's parts, on the device, float64."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.run.recipe, step, self.steps_per_epoch)
        self.optimizer.zero_grad(set_to_none=True)
        self.statistics.begin()
        own = len(range(self.world.rank, self.parts, self.world.size))
        total = torch.zeros((), dtype=torch.float64, device=self.world.device)
        for part in range(own):
            batch = next(batches)
            self._note_bad(batch.bad)
            last = part == own - 1
            # DDP averages over processes; a step's gradient is the mean over its parts.
            scale = self.world.size / self.parts
            quiet: Any = contextlib.nullcontext()
            if self.world.size > 1 and not last:
                quiet = parallel.no_sync()  # type: ignore[operator]  # DistributedDataParallel's
            with quiet:
                loss = self._loss(parallel, batch)
                self.scaler.scale(loss * scale).backward()
            total += loss.detach()
            self.statistics.next_part()
        self.statistics.finish()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total / own

    def _loss(self, parallel: nn.Module, batch: Batch) -> Tensor:
        if len(batch.labels) < 2:
            raise UserError("a part of a batch has fewer than two images that can be decoded; repair the files")
        device = self.world.device
        images = batch.images.to(device, non_blocking=True, memory_format=self.layout)
        labels = batch.labels.to(device, non_blocking=True)
        with autocast(self.run.recipe, device):
            logits = parallel(images)
            return F.cross_entropy(logits.float(), labels, label_smoothing=self.run.recipe.label_smoothing)

    def _note_bad(self, bad: tuple[str, ...]) -> None:
        self.state.bad_images += [message for message in bad if message not in self.state.bad_images]

    def _evaluate(self) -> Accuracy:
        return evaluate(self.model, self.run.val, self.run.dataset, self.run.recipe, self.world, self.run.workers,
                        self.run.skip_bad_images)  # fmt: skip

    def _record_interval(self, step: int, loss: float, images_per_s: float) -> None:
        if self.log:
            lr = learning_rate(self.run.recipe, step, self.steps_per_epoch)
            self.log.write(self.state.step, {"loss": loss, "lr": lr, "images_per_s": images_per_s})

    def _record_epoch(self, accuracy: Accuracy, train_loss: float | None) -> None:
        row = {
            "epoch": self.state.step // self.steps_per_epoch,
            "train_loss": train_loss if train_loss is not None else math.nan,
            "val_loss": accuracy.loss,
            "top1_percent": accuracy.top1_percent,
            "top5_percent": accuracy.top5_percent,
        }
        self.state.history.append(row)
        if self.log:
            self.log.write(self.state.step, row)

    @contextlib.contextmanager
    def _stop_on_sigterm(self) -> Iterator[None]:
        """A cluster's preemption: finish the step, save, leave."""

        def ask(signum: int, frame: Any) -> None:
            self.stop_asked = True

        previous = signal.signal(signal.SIGTERM, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)


def autocast(recipe: Recipe, device: torch.device) -> Any:
    """The forward pass's precision."""
    if recipe.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, recipe.precision))


def evaluate(
    model: nn.Module,
    split: Split,
    dataset: Dataset,
    recipe: Recipe,
    world: World,
    workers: int = 0,
    skip_bad_images: bool = False,
) -> Accuracy:
    """Accuracy on a split by the recipe's evaluation transform, each image once over all processes."""
    order = EvaluationOrder(len(split.images), recipe.batch_size, world.rank, world.size)
    view = View(split.images, evaluation_transform(recipe.evaluation, dataset), 0, skip_bad_images)
    loader = make_loader(view, order, workers, pin_memory=world.device.type == "cuda")
    return measure_accuracy(model, loader, world, autocast(recipe, world.device), recipe.channels_last)


def seed_weights(seed: int) -> None:
    """Fresh weights derive from the run's seed alone."""
    torch.manual_seed(derive_seed("weights", seed))


@contextlib.contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Only deterministic algorithms inside, at full speed for memory that is written anyway."""
    memory: Any = torch.utils.deterministic
    before, filled = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(wanted)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filled
