"""What a run does not need any more once it is recorded, and what processes that were killed left beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path

from awbench.experiments.lock import BusyError, only_one
from awbench.records import Records
from awbench.studies import Study


def private_file(folder: Path, what: str) -> Path:
    """A file of this process in a folder that others use too: `what`-HOST-PID.json."""
    return folder / f"{what}-{socket.gethostname()}-{os.getpid()}.json"


def abandoned_files(folder: Path, what: str) -> list[Path]:
    """The private files of processes of this host that are gone; of other hosts nobody can tell here."""
    found = ((path, path.stem.rpartition("-")) for path in folder.glob(f"{what}-*.json"))
    mine = f"{what}-{socket.gethostname()}"
    return [path for path, (start, _, pid) in found if start == mine and pid.isdigit() and not _is_alive(int(pid))]


def remove_leftovers_of(study: Study, records: Records, runs: Path) -> None:
    """Remove what the recorded runs of a study do not need any more: they may have been killed before they could.

    Args:
        runs: the folder of the runs' folders.
    """
    for record in records.of_kind(study.kind):
        if record.study[1] == study.digest:
            for output in runs.glob(f"*-{study.digest[:8]}-{record.key[:8]}"):  # as `Job.folder_name` has it
                remove_leftovers(output)


def remove_leftovers(output: Path) -> None:
    """Remove what a recorded run does not need any more: checkpoints, and what killed sweeps wrote for it."""
    if not any(_leftovers(output)):
        return
    with contextlib.suppress(BusyError), only_one(output):
        remove_held_leftovers(output)


def remove_held_leftovers(output: Path) -> None:
    """The same, by the process that holds the folder."""
    for path in _leftovers(output):
        with contextlib.suppress(OSError):  # the record counts
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _leftovers(output: Path) -> list[Path]:
    return [*output.glob("checkpoints"), *abandoned_files(output, "plan"), *abandoned_files(output, "end")]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's; or no pid at all
        pass
    return True
