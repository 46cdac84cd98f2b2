"""One process or many: the same code, started by `python` or by `torchrun`."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from awbench.errors import UserError
from awbench.system import die_with_parent, rank_and_size

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
_TIMEOUT = timedelta(minutes=30)
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class World:
    """Who we are among the processes of a run.

    Attributes:
        device: this process's own.
        control: a gloo group for small decisions on the CPU, None for a single process.
    """

    rank: int
    size: int
    device: torch.device
    control: Any = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all get the same answer."""
        return bool(self.largest(int(flag))[0])

    def largest(self, *numbers: int) -> list[int]:
        """The largest of all processes, number by number; all get the same answer."""
        if self.size == 1:
            return list(numbers)
        votes = torch.tensor([*map(int, numbers)])
        dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=self.control)
        return votes.tolist()

    def gather(self, items: list[T]) -> list[T]:
        """The items of all processes, in the order of ranks."""
        if self.size == 1:
            return items
        everyone: list[list[T] | None] = [None] * self.size
        dist.all_gather_object(everyone, items, group=self.control)
        return [item for part in everyone for item in part or []]

    def from_main(self, make: Callable[[], T]) -> T:
        """What the main process makes, on every process."""
        made = [make() if self.is_main else None]
        if self.size > 1:
            dist.broadcast_object_list(made, src=0, group=self.control)
        return made[0]  # type: ignore[return-value]  # the main process made it

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier(group=self.control)


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error means that another process is not there any more."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of a name: "auto", "cpu" or "cuda".

    Raises:
        UserError: CUDA is asked for where there is none, or the name is not known.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not known; use auto, cpu or cuda")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("device cuda is not available on this machine; use --device cpu")
    if local_rank >= torch.cuda.device_count():
        raise UserError(f"process {local_rank} of this node has no GPU; it has {torch.cuda.device_count()}")
    return torch.device("cuda", local_rank)


def _die_with_the_launcher() -> None:
    """Let no process outlive the torchrun that started it, if that is killed.

    torchrun's processes are in sessions of their own: a SIGKILL on its group spares them, and they would wait for
    each other, and hold the run's lock, for as long as a collective may take.

    Raises:
        UserError: torchrun is gone already.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    die_with_parent(signal.SIGKILL)
    # from here on its death is ours; torchrun has listened since before it started us, so silence means that it is dead
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        socket.create_connection(address, timeout=60).close()
    except OSError as error:
        raise UserError(f"torchrun, which started this process, does not answer at {address}: {error}") from None


@contextmanager
def _told_after(seconds: float, line: str) -> Iterator[None]:
    """Log the line if what is inside takes longer."""
    timer = threading.Timer(seconds, _LOG.warning, [f"awbench: {line}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def join_world(device_name: str) -> Iterator[World]:
    """Join the processes that torchrun started, or be alone.

    Raises:
        UserError: as `choose_device` and `rank_and_size`; the torchrun that started this process is gone; the others
            do not come.
    """
    rank, size = rank_and_size()
    device = choose_device(device_name, int(os.environ.get("LOCAL_RANK", 0)) if size > 1 else 0)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size == 1:
        yield World(rank, size, device)
        return
    _die_with_the_launcher()
    backend = "nccl" if device.type == "cuda" else "gloo"
    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    with _told_after(_PATIENCE_SECONDS, f"process {rank} waits for the {size} processes of its run at {where}"):
        try:
            # NCCL connects now, not in the middle of the first step, and knows which GPU is this process's.
            dist.init_process_group(backend, timeout=_TIMEOUT, device_id=device if device.type == "cuda" else None)
        except (dist.DistError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"the {size} processes of this run do not meet at {where}: {reason}") from None
    control = dist.new_group(backend="gloo", timeout=_TIMEOUT)
    yield World(rank, size, device, control)
    # After an error the others may be in a collective that this process will never enter, and taking the group down
    # waits for it; without that this process ends at once, and torchrun ends the others.
    dist.destroy_process_group()
