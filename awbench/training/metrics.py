"""Metrics of a run, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from awbench.records import atomic


class MetricsLog:
    """`metrics.jsonl` and TensorBoard events in a run's folder.

    Rows after `step` belong to a session that was killed and is being repeated; they are removed.
    """

    def __init__(self, output: Path, step: int) -> None:
        self.path = output / "metrics.jsonl"
        kept = [line for line in self._whole_lines() if json.loads(line)["step"] <= step]
        atomic.write_text(self.path, "".join(line + "\n" for line in kept))
        self.file = self.path.open("a")
        self.tensorboard = _tensorboard(output / "tensorboard", step)

    def _whole_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        text = self.path.read_text()
        return text[: text.rfind("\n") + 1].splitlines()  # a kill may have cut the last line

    def write(self, step: int, values: dict[str, float]) -> None:
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()
        if self.tensorboard:
            for name, value in values.items():
                self.tensorboard.add_scalar(name, value, step)

    def close(self) -> None:
        self.file.close()
        if self.tensorboard:
            self.tensorboard.close()


def _tensorboard(directory: Path, step: int) -> Any:
    """A TensorBoard writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(directory), purge_step=step + 1)
