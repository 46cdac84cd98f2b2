"""What the loop trains, what it saves beside the network, and what it gives back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

BatchT = TypeVar("BatchT")
ResultT = TypeVar("ResultT")


class Trainable(Protocol[BatchT, ResultT]):
    """What a loop trains: a network, its data and its evaluation.

    Attributes:
        model: on its device, with the weights to start from, the same on every process.
        optimizer: of its trainable parameters.
        precision: "float32", or autocast to "bfloat16" or "float16".
        steps: of the whole run.
        evaluate_every: steps between evaluations; the last step is always followed by one.
        micro_batches: in which a step's batch is computed, over all processes.
        joined: of those, in one forward pass, where nobody asks for another number; 1 where they cannot be.
        interleaved: whether `join` gives the first sample of each, the second of each, ...; else each as a whole.
        same_shapes: whether all batches of the training have one shape, but for images left out.
        images_per_step: over all processes.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: str
    steps: int
    evaluate_every: int
    micro_batches: int
    joined: int
    interleaved: bool
    same_shapes: bool
    images_per_step: int

    def learning_rate(self, step: int) -> float:
        """Of a step, 0-based."""

    def batches(self, first_step: int) -> Iterator[BatchT]:
        """Every micro-batch of every step from there on that is this process's, in order."""

    def losses(self, model: nn.Module, batch: BatchT, seed: int) -> dict[str, Tensor]:
        """The terms of a micro-batch's loss, each a mean over it; `seed` is all that may be random in it."""

    def join(self, batches: Sequence[BatchT]) -> BatchT | None:
        """Micro-batches as one, whose loss is the mean of theirs; None where that is not so, as of unequal sizes."""

    def bad_images(self, batch: BatchT) -> tuple[str, ...]:
        """Messages of the micro-batch's images that could not be decoded."""

    def evaluate(self) -> ResultT:
        """Evaluate the model as it is; every process gets the result."""

    def row(self, result: ResultT) -> dict[str, float]:
        """The result's numbers for the history and the metrics log."""


@dataclass
class State:
    """What changes during a run and is saved beside model and optimizer.

    Attributes:
        step: finished steps.
        history: one row an evaluation.
        bad_images: messages of images that could not be decoded, each once; other processes' too, once told.
        seconds: of training so far, over all sessions, without evaluations and checkpoints.
        interval: sums of the losses since the last logged row, and their number, over all processes.
        late_loss: mean loss before the last logged row.
        evaluated: the step after which the last evaluation was finished.
        machines: the GPU or the processor of the main process, once for each session in which it was another one.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    bad_images: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interval: list[float] = field(default_factory=list)
    late_loss: float | None = None
    evaluated: int = 0
    machines: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> State:
        """Raises: ValueError: it is no state."""
        TypeAdapter(cls).validate_json(text, strict=True)
        return cls(**json.loads(text))  # an int of its history stays one


@dataclass(frozen=True)
class Finished(Generic[ResultT]):
    """A finished run: its final evaluation, and its state."""

    result: ResultT
    state: State
