"""The project's own locked counts: what the grid must give, to the unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from awbench.records import Record
from awbench.reference.load import default_directory, load_validated
from awbench.validation import Strict
from awbench.variants import StridePlacement

LOCKED_VALUES = ("params", "macs", "aw_kernel_forming", "activations")


class LockedCounts(Strict):
    """The counts of one variant under one stride placement at one image size; detectors with one engine.

    Attributes:
        image_size: pixels a side, or "HEIGHTxWIDTH" for a detector.
        proposals, trainable_params: of a detector.
    """

    variant: str
    engine: str = ""
    stride_placement: StridePlacement
    image_size: int | str
    proposals: int = 0
    params: int
    trainable_params: int = 0
    macs: int
    aw_kernel_forming: int
    activations: int


class _LockedFile(Strict):
    schema_version: int
    counts: list[LockedCounts]


def locked_folder() -> Path:
    return default_directory() / "locked"


def locked_path() -> Path:
    return locked_folder() / "complexity.yaml"


def load_locked(path: Path | None = None) -> list[LockedCounts]:
    """Read the locked counts.

    Raises:
        UserError: the file cannot be read or breaks its schema.
    """
    return load_validated(path or locked_path(), _LockedFile).counts


def to_yaml(records: list[Record]) -> str:
    """The locked file's content from complexity records."""
    lines = [
        "# Exact counts of the grid with default options. A test holds the code to them.",
        "# Made by `make lock`; change it only with a reason in the commit message.",
        "schema_version: 1",
        "counts:",
    ]
    for record in records:
        row = {**_setting(record), **{name: record.value(name) for name in _locked_values(record)}}
        flow = yaml.safe_dump(row, default_flow_style=True, sort_keys=False, width=1000).strip()
        lines.append(f"  - {flow}")
    return "\n".join(lines) + "\n"


def _setting(record: Record) -> dict[str, str | int]:
    """What is counted, in the form of a LockedCounts."""
    size = record.settings["image_size"]
    setting = {
        "variant": record.variant,
        "engine": record.settings.get("engine", ""),
        "stride_placement": record.options["stride_placement"],
        "image_size": "x".join(map(str, size)) if isinstance(size, list) else size,
        "proposals": record.settings.get("proposals", 0),
    }
    return {name: value for name, value in setting.items() if value not in ("", 0)}


def _locked_values(record: Record) -> list[str]:
    return [name for name in ("params", "trainable_params", *LOCKED_VALUES[1:]) if name in record.values]


class LockedIndex:
    """Locked rows by what they count, and which of them were met."""

    def __init__(self, locked: list[LockedCounts]) -> None:
        self._rows = {
            (row.variant, row.engine, row.stride_placement, row.image_size, row.proposals): row for row in locked
        }
        self._met: set[Any] = set()

    def name(self, record: Record) -> str:
        """What a record counts, e.g. "aw_resnet50 (v1.5, 224)"."""
        setting = _setting(record)
        return f"{record.variant} ({', '.join(str(value) for key, value in setting.items() if key != 'variant')})"

    def off(self, record: Record) -> list[str]:
        """One line for each count of the record that is not the locked one; empty when all are equal."""
        setting = _setting(record)
        key = tuple(
            setting.get(name, default)
            for name, default in (
                ("variant", ""), ("engine", ""), ("stride_placement", ""), ("image_size", 0), ("proposals", 0),
            )
        )  # fmt: skip
        row = self._rows.get(key)  # type: ignore[arg-type]  # its five parts
        if row is None:
            return ["has no locked counts; see 'awbench lock'"]
        self._met.add(key)
        return [
            f"{value} is {record.value(value):,}, locked {getattr(row, value):,}"
            for value in _locked_values(record)
            if record.value(value) != getattr(row, value)
        ]

    def unmet(self) -> list[LockedCounts]:
        """Rows that no record was held to."""
        return [row for key, row in self._rows.items() if key not in self._met]


def off_from_locked(records: list[Record], locked: list[LockedCounts]) -> list[str]:
    """One line for each count of `records` that is not the locked one; empty when all are equal."""
    index = LockedIndex(locked)
    return [f"{index.name(record)}: {problem}" for record in records for problem in index.off(record)]
