"""The training loop: exact to resume, the same result on any number of processes.

What is trained, a classifier or a detector, is a `Trainable`; what every run must survive is here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Generic

import torch
from torch import Tensor, nn

from awbench.data.datasets import ImageDecodeError
from awbench.data.loader import LoaderError
from awbench.data.views import derive_seed
from awbench.errors import Preempted, Stopped, UserError
from awbench.records.environment import cpu_name
from awbench.system import on_stop_signals
from awbench.training.checkpoint import Checkpoints, require_same_code, require_same_run
from awbench.training.distributed import World, is_lost_peer
from awbench.training.execution import Execution, Progress
from awbench.training.metrics import MetricsLog
from awbench.training.norms import RunningStatistics
from awbench.training.numerics import autocast, deterministic
from awbench.training.optimizers import load_optimizer
from awbench.training.trainable import BatchT, Finished, ResultT, State, Trainable

_LOG = logging.getLogger(__name__)

LOG_STEPS = 50
_PEER_SECONDS = 2.0


class Loop(Generic[BatchT, ResultT]):
    """Trains to the end, from the start or from the newest checkpoint.

    Args:
        task: what to train.
        identity: everything that determines its result, as plain JSON values; a run is only resumed with the same.
        seed: of weights, order, augmentation and sampling.
        output: folder of its checkpoints and metrics.
        execution: how; its device is the world's.
        world: the processes that share it.
        made_with: what computes it, by name, such as the code's digest; a run is only resumed with the same.
    """

    def __init__(
        self,
        task: Trainable[BatchT, ResultT],
        identity: dict[str, Any],
        seed: int,
        output: Path,
        execution: Execution,
        world: World,
        made_with: Mapping[str, str] | None = None,
    ) -> None:
        self.task, self.identity, self.seed, self.output = task, identity, seed, output
        self.made_with = dict(made_with or {})
        self.execution, self.world = execution, world
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=task.precision == "float16")
        self.checkpoints = Checkpoints(output / "checkpoints")
        self.statistics = RunningStatistics(task.model, task.micro_batches, world)
        self.joined = execution.joined or (1 if execution.compile else task.joined)
        self.state = State()
        self.loss_names: list[str] = []
        self.told_images = 0  # of `State.bad_images`, that all processes know
        self.interval = torch.zeros(0)  # sums of the loss terms since the last logged row, and their number
        self.stop_asked_by = 0  # number of the signal
        self.evaluating = False
        self.images_per_s = 0.0
        self.whole = True  # the network is the one after `state.step` steps, not between two
        # On a GPU, looking at a loss or asking the others waits for the device: not every step.
        self.look_every = 1 if world.device.type == "cpu" else 8

    def run_to_the_end(self) -> Finished[ResultT]:
        """Train.

        Raises:
            UserError: the output folder holds another run, or this one and it is not to be resumed; the
                loss is not finite; an image cannot be decoded; loading processes or another process of the run failed.
            Preempted: SIGTERM, Ctrl-C or a hang-up came; the run is saved.
            OSError: a checkpoint could not be written; the earlier ones are intact.
        """
        exact = self.execution.deterministic
        exact = self.world.device.type == "cpu" if exact is None else exact
        with deterministic(exact, self.task.same_shapes), self._stop_on_signals():
            self._restore()
            state = self.state
            if (machine := self._machine()) not in state.machines[-1:]:
                state.machines.append(machine)
            self.log = MetricsLog(self.output, state.step, state.evaluated) if self.world.is_main else None
            try:
                result = self._train()
            except Stopped:  # during an evaluation, before which the run was saved
                raise self._preempted() from None
            except (LoaderError, ImageDecodeError, RuntimeError) as error:
                if (told := self._saved_after(error)) is error:
                    raise
                raise told from None
            finally:
                if self.log:
                    self.log.close()
            return Finished(result, self.state)

    def _restore(self) -> None:
        found = self.checkpoints.load_newest() if self.execution.resume else None
        if not self.execution.resume and self.checkpoints.paths():
            raise UserError(f"{self.output} already holds a run; add --resume to continue it, or give another --output")
        if found is None:
            if self.execution.resume and self.world.is_main:
                _LOG.info("no checkpoint of this run in %s: it starts at step 0", self.checkpoints.directory)
            return
        step, saved = found
        with self.checkpoints.plain_errors(step):
            settings, state = json.loads(saved["settings"]), State.from_json(saved["state"])
            made_with = json.loads(saved.get("made_with", "{}"))  # earlier versions did not keep it
            for what in (settings, made_with):
                if not isinstance(what, dict):
                    raise TypeError(f"settings are {type(what).__name__}")
            if not (0 <= state.evaluated <= state.step == step <= self.task.steps):
                raise ValueError(f"step {state.step} of {self.task.steps}, evaluated after {state.evaluated}")
        require_same_run(settings, self.identity, self.output)
        require_same_code(made_with, self.made_with, self.output)
        with self.checkpoints.plain_errors(step):
            self.task.model.load_state_dict(saved["model"])
            load_optimizer(self.task.optimizer, saved["optimizer"])
            self.scaler.load_state_dict(saved["scaler"])
        self.state = state
        if self.world.is_main:
            _LOG.info("resumed after step %d of %d", step, self.task.steps)

    def _save(self) -> None:
        """Rank 0 alone writes: it holds everything. A network that is not finite is never written."""
        if not self.world.is_main:
            return
        self.state.interval = self.interval.tolist()
        for name, parameter in self.task.model.named_parameters():
            if not parameter.isfinite().all():
                raise UserError(self._not_finite(f"{name} is not finite after step {self.state.step}"))
        self.checkpoints.save(
            self.state.step,
            {
                "model": self.task.model.state_dict(),
                "optimizer": self.task.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "state": json.dumps(asdict(self.state)),
                "settings": json.dumps(self.identity),
                "made_with": json.dumps(self.made_with),
            },
        )

    def _machine(self) -> str:
        device = self.world.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()

    def _not_finite(self, what: str) -> str:
        kept = self.checkpoints.paths()
        rest = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was written yet"
        return f"{what}; {rest}; a lower learning rate (--set optimizer.lr=...) or a warm-up may help"

    def _train(self) -> ResultT:
        task, world = self.task, self.world
        parallel = self._parallel()
        batches = task.batches(self.state.step)
        carried = torch.tensor(self.state.interval, dtype=torch.float64, device=world.device)
        self.interval = carried if world.is_main else torch.zeros_like(carried)
        self.told_images = len(self.state.bad_images)
        first_bad = torch.full((), -1, dtype=torch.int64, device=world.device)
        started = saved = logged = time.monotonic()
        logged_step, seconds_before, result, state = self.state.step, self.state.seconds, None, self.state
        while True:
            if self._evaluation_is_due():
                paused = time.monotonic()
                if world.any(bool(self.stop_asked_by)):
                    raise self._preempted()
                result = self._evaluate()
                self._record(result)
                self._save()
                saved = time.monotonic()
                started += saved - paused
            if state.step == task.steps:
                return result if result is not None else self._evaluate()
            step = state.step
            task.model.train()
            terms = self._step(parallel, batches, step)
            self.interval = self.interval + terms if len(self.interval) else terms
            first_bad = torch.where((first_bad < 0) & ~terms.isfinite().all(), step, first_bad)
            state.step += 1
            self.whole = True
            state.seconds = seconds_before + time.monotonic() - started
            if world.is_main:
                elapsed = max(time.monotonic() - logged, 1e-9)
                self.images_per_s = (state.step - logged_step) * task.images_per_step / elapsed
                self._tell(state.late_loss)
            stop, save, news, bad = 0, 0, 0, -1
            if state.step % self.look_every == 0 or self._evaluation_is_due():
                save = time.monotonic() - saved > self.execution.checkpoint_seconds
                news = len(state.bad_images) > self.told_images
                stop, save, news, bad = world.largest(bool(self.stop_asked_by), save, news, int(first_bad))
            if news:
                state.bad_images = list(dict.fromkeys(world.gather(state.bad_images)))
                self.told_images = len(state.bad_images)
            if bad >= 0:  # on whichever process: all end here, none in a collective
                raise UserError(self._not_finite(f"the loss is not finite at step {bad + 1}"))
            if state.step % LOG_STEPS == 0 or self._evaluation_is_due():
                *sums, number = world.sum(self.interval.clone()).tolist()
                self.interval.zero_()
                means = {name: value / number for name, value in zip(self.loss_names, sums, strict=True)}
                state.late_loss = sum(means.values())
                now = time.monotonic()
                speed = (state.step - logged_step) * task.images_per_step / max(now - logged, 1e-9)
                logged, logged_step = now, state.step
                if self.log:
                    shown = {"loss": state.late_loss, **means, "lr": task.learning_rate(step), "images_per_s": speed}
                    self.log.write(state.step, shown)
            # Before an evaluation too: it may take longer than a cluster leaves between asking and killing.
            if stop or save or self._evaluation_is_due():
                paused = time.monotonic()
                self._give_interval_to_main()
                self._save()
                saved = time.monotonic()
                started += saved - paused
            if stop:
                world.barrier()
                raise self._preempted()

    def _give_interval_to_main(self) -> None:
        """It alone saves, and every other process begins at nothing when the run is resumed."""
        self.world.sum(self.interval)
        if not self.world.is_main:
            self.interval.zero_()

    def _evaluate(self) -> ResultT:
        """Stopped by a signal at once: it may take longer than a cluster leaves between asking and killing."""
        self.evaluating = True
        try:
            return self.task.evaluate()
        finally:
            self.evaluating = False

    def _preempted(self) -> Preempted:
        where = f"stopped after step {self.state.step} of {self.task.steps}; saved in {self.output}"
        return Preempted(f"{where}; later, run the same command with --resume", self.stop_asked_by)

    def _saved_after(self, error: Exception) -> Exception:
        """What an error in the middle of training is to the caller; the network is saved, if it is whole.

        A step is computed before it changes the network: what fails until then loses that step alone.
        """
        newest = self.checkpoints.paths()[-1:]
        if self.whole and self.state.step and newest != [self.checkpoints.path(self.state.step)]:
            with contextlib.suppress(Exception):  # e.g. the device is lost: then the error is what matters
                self._save()
        lost = self.world.size > 1 and is_lost_peer(error)
        if lost and not self.stop_asked_by:  # torchrun will ask; and the process that failed says why before we do
            time.sleep(_PEER_SECONDS)
        if self.stop_asked_by and (lost or isinstance(error, LoaderError)):
            return self._preempted()
        kept = self.checkpoints.paths()[-1:]
        rest = f"the last checkpoint is {kept[0]}, --resume goes on from it" if kept else "no checkpoint was written"
        if not self.world.is_main:  # the main process may be saving just now
            rest = f"--resume goes on from the last checkpoint in {self.checkpoints.directory}"
        if lost:
            what = str(error).strip().splitlines()[0]
            return UserError(f"another process of this run ended ({what}); {rest}")
        return LoaderError(f"{error}; {rest}") if isinstance(error, LoaderError) else error

    def _evaluation_is_due(self) -> bool:
        step = self.state.step
        at = step % self.task.evaluate_every == 0 or step == self.task.steps
        return at and step > self.state.evaluated

    def _parallel(self) -> nn.Module:
        model: Any = self.task.model
        if self.world.size > 1:
            device_ids = [self.world.device.index] if self.world.device.type == "cuda" else None
            model = nn.parallel.DistributedDataParallel(
                model, device_ids=device_ids, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        compiled: Any = torch.compile(model) if self.execution.compile else model
        return compiled

    def _step(self, parallel: nn.Module, batches: Iterator[BatchT], step: int) -> Tensor:
        """One optimizer step; returns this process's mean of each loss term, and 1, on the device, float64."""
        task = self.task
        for group in task.optimizer.param_groups:
            group["lr"] = task.learning_rate(step)
        task.optimizer.zero_grad(set_to_none=True)
        self.statistics.begin()
        try:
            terms = self._gradients(parallel, batches, step)
        except Exception:
            self.statistics.undo()
            raise
        self.whole = False
        self.statistics.finish()
        self.scaler.step(task.optimizer)
        self.scaler.update()
        return terms

    def _gradients(self, parallel: nn.Module, batches: Iterator[BatchT], step: int) -> Tensor:
        """Of one step, in the parameters; returns as `_step`."""
        task, world = self.task, self.world
        own = range(world.rank, task.micro_batches, world.size)
        terms: Tensor | float = 0.0
        done = 0
        for count, micro_batch, batch in self._passes(own, batches):
            done += count
            # DDP averages over processes; a step's gradient is the mean over its micro-batches.
            scale = count * world.size / task.micro_batches
            quiet: Any = contextlib.nullcontext()
            if world.size > 1 and done < len(own):
                quiet = parallel.no_sync()  # type: ignore[operator]  # DistributedDataParallel's
            with quiet:
                apart = self.statistics.joined(count, task.interleaved) if count > 1 else contextlib.nullcontext()
                with autocast(task.precision, world.device), self._plain_errors(step), apart:
                    losses = task.losses(parallel, batch, derive_seed("part", self.seed, step, micro_batch))
                total = torch.stack(list(losses.values())).sum()
                self.scaler.scale(total * scale).backward()
            self.loss_names = self.loss_names or list(losses)
            terms = terms + count * torch.stack([loss.detach().double() for loss in losses.values()])
            if count == 1:
                self.statistics.next_micro_batch()
        assert isinstance(terms, Tensor), "every process has a micro-batch"
        return torch.cat([terms / len(own), terms.new_ones(1)])

    def _passes(self, own: range, batches: Iterator[BatchT]) -> Iterator[tuple[int, int, BatchT]]:
        """(how many micro-batches, the first one's number, their images) of each forward pass of a step.

        Args:
            own: the numbers of this process's micro-batches.
        """
        for at in range(0, len(own), self.joined):
            numbers, parts = own[at : at + self.joined], []
            for _ in numbers:
                parts.append(next(batches))
                self.whole = self.statistics.can_undo
                self._note_bad(self.task.bad_images(parts[-1]))
            whole = self.task.join(parts) if len(parts) > 1 else None
            if whole is not None:
                yield len(parts), numbers[0], whole
            else:
                yield from ((1, number, part) for number, part in zip(numbers, parts, strict=True))

    @contextlib.contextmanager
    def _plain_errors(self, step: int) -> Iterator[None]:
        """What libraries raise on their own about a network that diverges."""
        try:
            yield
        except FloatingPointError as error:  # Detectron2's RPN
            raise UserError(self._not_finite(f"step {step + 1}: {str(error).splitlines()[0]}")) from None

    def _note_bad(self, bad: tuple[str, ...]) -> None:
        self.state.bad_images += [message for message in bad if message not in self.state.bad_images]

    def _tell(self, loss: float | None, evaluation: dict[str, float] | None = None) -> None:
        step, steps, every = self.state.step, self.task.steps, self.task.evaluate_every
        self.execution.on_progress(Progress(step, steps, every, self.images_per_s, loss, evaluation))

    def _record(self, result: ResultT) -> None:
        self.state.evaluated = self.state.step
        row = {
            "evaluation": -(-self.state.step // self.task.evaluate_every),
            "train_loss": self.state.late_loss if self.state.late_loss is not None else math.nan,
            **self.task.row(result),
        }
        self.state.history.append(row)
        if self.world.is_main:
            self._tell(self.state.late_loss, evaluation=row)
        if self.log:
            self.log.write(self.state.step, row)

    @contextlib.contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        """A cluster's preemption, or Ctrl-C: finish the step, save, leave. A second Ctrl-C does not wait."""

        def ask(signum: int, frame: FrameType | None) -> None:
            if signum == signal.SIGINT == self.stop_asked_by:
                raise KeyboardInterrupt
            self.stop_asked_by = self.stop_asked_by or signum
            if self.evaluating:
                raise Stopped(signum)

        with on_stop_signals(ask):
            yield
