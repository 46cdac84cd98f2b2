"""Training checkpoints: written whole or not at all, the last few kept, read without executing anything."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from awbench.errors import UserError
from awbench.models.checkpoint_files import check_torch_file, first_line
from awbench.records import atomic
from awbench.system import open_regular

KEPT = 3
_NAME = re.compile(r"step-(\d{9})\.pt")
_MAGIC = b"awbench checkpoint 1\n"


class Checkpoints:
    """The checkpoints of one run, in one folder.

    A file is a header line, the sha256 of the rest, and a dict of tensors and plain values as
    torch saves them. Its name carries the number of finished steps.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def paths(self) -> list[Path]:
        """Oldest first."""
        found = [path for path in self.directory.glob("step-*.pt") if _NAME.fullmatch(path.name)]
        return sorted(found)

    def path(self, step: int) -> Path:
        """Of the checkpoint after so many steps."""
        return self.directory / f"step-{step:09}.pt"

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint, then remove all but the newest `KEPT`.

        Raises:
            OSError: e.g. the disk is full; earlier checkpoints are intact.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getbuffer()
        digest = hashlib.sha256(payload).hexdigest().encode()
        path = self.path(step)
        atomic.write_bytes(path, b"".join([_MAGIC, digest, b"\n", payload]))
        for old in self.paths()[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def load_newest(self) -> tuple[int, dict[str, Any]] | None:
        """(finished steps, state) of the newest checkpoint, or None where there is none.

        Raises:
            UserError: it is damaged; the earlier ones are named.
        """
        paths = self.paths()
        if not paths:
            return None
        match = _NAME.fullmatch(paths[-1].name)
        assert match is not None  # paths()
        return int(match[1]), self._read(paths[-1], paths[:-1])

    @contextlib.contextmanager
    def plain_errors(self, step: int) -> Iterator[None]:
        """What goes wrong inside while a checkpoint's content is used, as a UserError: it is not what a run saves."""
        try:
            yield
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, AssertionError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            *earlier, path = self.paths()
            raise UserError(
                f"checkpoint {path} is whole, but does not hold what this run saves ({reason}); {_remedy(earlier)}"
            ) from None

    def _read(self, path: Path, earlier: list[Path]) -> dict[str, Any]:
        try:
            with open_regular(path) as file:
                content = file.read()
        except OSError as error:
            raise UserError(f"checkpoint {path} cannot be read: {error.strerror}; {_remedy(earlier)}") from None
        digest, _, payload = content.removeprefix(_MAGIC).partition(b"\n")
        whole = content.startswith(_MAGIC) and hashlib.sha256(payload).hexdigest().encode() == digest
        if not whole:
            what = "is truncated or was changed: its checksum does not match"
            raise UserError(f"checkpoint {path} {what}; {_remedy(earlier)}")
        # weights_only builds tensors and plain values, and refuses anything that would run code
        try:
            check_torch_file(io.BytesIO(payload))
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except Exception as error:  # a pickle of nonsense can fail as anything
            what = "holds more than tensors and plain values, or is nonsense"
            raise UserError(f"checkpoint {path} {what}: {first_line(error)}; {_remedy(earlier)}") from None
        if not isinstance(state, dict):
            raise UserError(f"checkpoint {path} holds {type(state).__name__}, not a run; {_remedy(earlier)}")
        return state


def _remedy(earlier: list[Path]) -> str:
    return f"delete it to resume from {earlier[-1].name}" if earlier else "delete it to start again"


def require_same_run(stored: dict[str, Any], wanted: dict[str, Any], where: Path) -> None:
    """Refuse to resume a run with other settings than it was started with.

    Args:
        stored: the settings of the checkpoint, as read from JSON.
        wanted: the settings now.

    Raises:
        UserError: naming the first setting that differs.
    """
    now = json.loads(json.dumps(wanted))
    for key in sorted({*stored, *now}):
        if stored.get(key) != now.get(key):
            raise UserError(
                f"{where} holds a run with {key} = {_short(stored.get(key))}; this one has {_short(now.get(key))}; "
                "give another --output, or the same settings"
            )


def require_same_code(stored: dict[str, Any], now: dict[str, str], where: Path) -> None:
    """Refuse to go on with other code than a run was started with: its record can name one.

    Raises:
        UserError: naming what differs; what the checkpoint does not tell is not asked.
    """
    for key in sorted({*stored} & {*now}):
        if stored[key] != now[key]:
            raise UserError(
                f"{where} holds a run that was started with {key} {_short(stored[key])}, now it is {_short(now[key])}; "
                "go back to that one, or delete the folder to start the run again"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."
