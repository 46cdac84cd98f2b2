"""How a run is carried out: everything of it that must not change its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from awbench.system import loading_processes
from awbench.training.distributed import World


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after a step, and after an evaluation.

    Attributes:
        step, steps: finished and total.
        images_per_s, loss: of late.
        evaluation: the numbers of an evaluation that was just finished, with its number; None after a step.
    """

    step: int
    steps: int
    evaluate_every: int
    images_per_s: float
    loss: float | None
    evaluation: Mapping[str, float] | None = None


def _ignore(what: object) -> None:
    pass


@dataclass(frozen=True)
class Execution:
    """Whatever is chosen here, the same job gives the same result, up to the rounding of other kernels.

    Attributes:
        device: "auto", "cpu" or "cuda".
        workers: loading processes for each training process; None for none on a CPU, and a GPU's share of the cores.
        output: folder of checkpoints and metrics; None for one below the results, named after the job.
        resume: go on from the newest checkpoint, if there is one.
        keep_checkpoints: of a run that is finished and recorded; otherwise its weights alone stay.
        checkpoint_seconds: a checkpoint at least this often, and one after every evaluation.
        deterministic: only algorithms that give the same bits every time; None for yes on a CPU and no on a GPU.
        compile: whether the network goes through torch.compile.
        joined: micro-batches in one forward pass, their statistics apart; None for 1 on a CPU, more on a GPU.
        aw_strategy: how AW-convolutions are executed.
        on_progress: called on the main process after each step, and after each evaluation.
        on_start: called on the main process with the run's folder, before the first step.
    """

    device: str = "auto"
    workers: int | None = None
    output: Path | None = None
    resume: bool = False
    keep_checkpoints: bool = False
    checkpoint_seconds: float = 600.0
    deterministic: bool | None = None
    compile: bool = False
    joined: int | None = None
    aw_strategy: str = "auto"
    on_progress: Callable[[Progress], None] = _ignore
    on_start: Callable[[Path], None] = _ignore

    def workers_on(self, world: World) -> int:
        """Loading processes of one training process."""
        if self.workers is not None:
            return self.workers
        return 0 if world.device.type == "cpu" else loading_processes(int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
