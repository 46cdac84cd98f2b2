"""Metrics of a run, as JSON lines and for TensorBoard."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from awbench.records import atomic
from awbench.system import open_regular

_LOG = logging.getLogger(__name__)


class MetricsLog:
    """`metrics.jsonl` and TensorBoard events in a run's folder.

    Rows that no checkpoint has seen belong to a session that was killed and is being repeated; they are removed, and
    so are damaged ones.

    Args:
        step: finished steps of the run as it was resumed.
        evaluated: after which of them its last evaluation was finished.
    """

    def __init__(self, output: Path, step: int, evaluated: int) -> None:
        self.path = output / "metrics.jsonl"
        limits = ((row, evaluated if "evaluation" in row else step) for row in self._rows())
        kept = [row for row, limit in limits if row["step"] <= limit]
        atomic.write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self.file = self.path.open("a")
        self.tensorboard = _tensorboard(output / "tensorboard", step)
        for row in kept:
            if (
                row["step"] == step
            ):  # with the evaluation that is repeated, the writer forgets what else is of this step
                self._show(row)

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The rows of earlier sessions."""
        try:
            with open_regular(self.path) as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                if isinstance(row["step"], int) and all(isinstance(value, (int, float)) for value in row.values()):
                    yield row
                    continue
            except (ValueError, KeyError, TypeError, RecursionError):
                if number == len(lines):  # a kill has cut it
                    return
            _LOG.warning("awbench: %s: line %d is damaged and left out", self.path, number)

    def write(self, step: int, values: dict[str, float]) -> None:
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()
        self._show({"step": step, **values})

    def _show(self, row: dict[str, Any]) -> None:
        """In TensorBoard."""
        with self._whatever_tensorboard_raises():
            for name, value in row.items():
                if self.tensorboard and name != "step":
                    self.tensorboard.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self.file.close()
        with self._whatever_tensorboard_raises():
            if self.tensorboard:
                self.tensorboard.close()

    @contextlib.contextmanager
    def _whatever_tensorboard_raises(self) -> Iterator[None]:
        """No training ends for want of its events: what counts is in the other files."""
        try:
            yield
        except Exception as error:  # of its thread, a moment later
            _LOG.warning("awbench: no more TensorBoard events of this session: %s", error)
            self.tensorboard = None


def _tensorboard(directory: Path, step: int) -> Any:
    """A TensorBoard writer, or None where TensorBoard is not installed, or, logged, does not work."""
    try:
        from torch.utils.tensorboard import SummaryWriter

        _quieten_threads()
        return SummaryWriter(str(directory), purge_step=step)
    except ModuleNotFoundError as error:
        if error.name == "tensorboard":
            return None
        reason: BaseException = error
    except (Exception, SystemExit) as error:  # of protobuf, numpy, TensorFlow, ... in versions that do not go together
        reason = error
    text = " ".join(str(reason).split())[:200]
    _LOG.warning("awbench: no TensorBoard events: it does not work here (%s: %s)", type(reason).__name__, text)
    return None


def _quieten_threads() -> None:
    """What fails in the thread that writes events is raised again where the next one is added: no traceback twice."""
    before = threading.excepthook
    if not hasattr(before, "of_tensorboard"):

        def hook(args: threading.ExceptHookArgs) -> None:
            if type(args.thread).__module__ != "tensorboard.summary.writer.event_file_writer":
                before(args)

        hook.of_tensorboard = True  # type: ignore[attr-defined]
        threading.excepthook = hook
