"""What a task does with a job: it opens the data, builds, trains, evaluates, and names the values of its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import nn

from awbench.models.weights import LoadedWeights
from awbench.records import Quantity
from awbench.tasks.job import Job
from awbench.training.distributed import World
from awbench.training.trainable import State, Trainable


class Evaluated(Protocol):
    """The result of an evaluation. Attributes: bad, messages of images that could not be decoded."""

    @property
    def bad(self) -> tuple[str, ...]: ...


ResultT = TypeVar("ResultT", bound=Evaluated)


@dataclass(frozen=True)
class Built:
    """A network with its first or its given weights.

    Attributes:
        model: on the CPU.
        loaded: what is known of the weights that were read, None for random ones.
        notes: what a reader must know of them.
        metadata: what a file of its weights says besides.
    """

    model: nn.Module
    loaded: LoadedWeights | None = None
    notes: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)


class Task(Protocol[ResultT]):
    """A job with its data.

    Attributes:
        splits: the data, to hand to another task on the same.
        train: the split that is trained on; `train.images` are its samples.
    """

    job: Job
    splits: Any
    train: Any

    def identity(self, built: Built | None = None) -> dict[str, Any]:
        """What determines the result, as the fields of its record. Args: built, with the weights of an evaluation."""

    def build(self) -> Built:
        """The network, with random weights drawn from torch's generator, or with those that are given."""

    def trainable(self, built: Built, world: World, workers: int) -> Trainable[Any, ResultT]:
        """What the training loop trains; moves the network to its device."""

    def evaluate(self, built: Built, world: World, workers: int) -> ResultT:
        """Evaluate the network as it is, on its device; every process gets the result."""

    def values(self, result: ResultT) -> dict[str, Quantity]:
        """Of the record."""

    def training_values(self, state: State, world: World) -> dict[str, Quantity]:
        """Of a finished training, beside those of its last evaluation."""

    def notes(self) -> list[str]:
        """What no number of the record says about the data."""
