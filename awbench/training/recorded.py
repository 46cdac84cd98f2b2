"""A training run that is recorded once: found if it was made before, held by one process group while it is made."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from awbench.errors import Preempted
from awbench.records import Quantity, Record, RecordStore, measurement_key
from awbench.records.clock import now
from awbench.records.environment import environment
from awbench.training.distributed import World, join_world

_LOCK_ATTEMPTS = 10


class BusyError(Preempted):
    """Another process is training this very run: try again later."""


@dataclass(frozen=True)
class Outcome:
    """What a run gave: the values and notes of its record, and its network with more to say in its weights' file."""

    values: dict[str, Quantity]
    notes: Sequence[str]
    model: nn.Module
    metadata: dict[str, str] = field(default_factory=dict)


def recorded_run(
    identity: dict[str, Any], store: RecordStore, output: Path, device: str, work: Callable[[World], Outcome]
) -> tuple[Record, bool]:
    """Do the work and record it, with its weights beside; or find the record.

    Args:
        identity: kind, variant, options, settings and inputs of the record.
        output: folder of the run; one process group at a time works in it.
        device: as in `awbench.training.distributed.choose_device`.
        work: the run, called on every process.

    Returns:
        (record, whether it was made now). On processes other than the first, the record is not stored.

    Raises:
        BusyError: another process has the folder.
        Whatever the work raises.
    """
    from awbench.models.weights import save_weights

    kind, variant, key = identity["kind"], identity["variant"], measurement_key(**identity)
    found = store.find(kind, variant, key)
    if found is not None:
        return found, False
    with join_world(device) as world, _only_one(output, world.is_main):
        found = store.find(kind, variant, key)  # by another process, before we held the folder
        if found is not None and world.size == 1:
            return found, False
        started = now()
        outcome = work(world)
        record = Record(
            **identity,
            values=outcome.values,
            notes=list(outcome.notes),
            environment={
                **environment(),
                "world_size": world.size,
                "training_device": str(world.device.type),
            },
            started=started,
            finished=now(),
        )
        if world.is_main:
            save_weights(outcome.model, output / "weights.safetensors", {"record_key": key, **outcome.metadata})
            store.add(record)
        world.barrier()
    return record, True


@contextlib.contextmanager
def _only_one(output: Path, is_main: bool) -> Iterator[None]:
    """Hold a run's folder. The lock is the system's: it ends with the process, however that ends."""
    if not is_main:
        yield
        return
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("a") as lock:
        for attempt in range(_LOCK_ATTEMPTS):  # `is_busy` holds it for an instant
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == _LOCK_ATTEMPTS - 1:
                    raise BusyError(f"{output} is being trained by another process") from None
                time.sleep(0.05)
        yield


def is_busy(output: Path) -> bool:
    """Whether a process is training in that folder."""
    try:
        with (output / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
