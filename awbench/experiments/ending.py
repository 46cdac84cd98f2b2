"""Why a command ended, for the process that started it: a file, since torchrun's own exit code is always 1."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "AWBENCH_END_FILE"
INTERRUPTED = 130  # as a shell says of what Ctrl-C has ended


@dataclass(frozen=True)
class Ending:
    """Attributes: code, the exit code; message, the error's line, "" for none; new, whether a record was made."""

    code: int
    message: str = ""
    new: bool = False


def write_ending(ending: Ending) -> None:
    """Say it, where somebody asked for it. Of several processes the first one says why: others end because of it."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    try:
        with Path(path).open("x") as file:
            json.dump(asdict(ending), file)
    except OSError:  # another process was first, or the folder is gone: the exit code says the same, with less
        return


def read_ending(path: Path, code: int) -> Ending:
    """The message of a command that ended, or its exit code in words; the file is removed."""
    try:
        said = json.loads(path.read_text())
        path.unlink()
        return Ending(int(said["code"]), str(said["message"]), bool(said["new"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        killed = f"killed by signal {-code}" if code < 0 else ""
        return Ending(code, killed)
