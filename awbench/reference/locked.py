"""The project's own locked counts: what the grid must give, to the unit."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from awbench.errors import UserError
from awbench.records import Record
from awbench.reference.load import default_directory, read_yaml
from awbench.validation import Strict, first_error
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


def locked_path() -> Path:
    return default_directory() / "locked" / "complexity.yaml"


def load_locked(path: Path | None = None) -> list[LockedCounts]:
    """Read the locked counts.

    Raises:
        UserError: the file cannot be read or breaks its schema.
    """
    path = path or locked_path()
    try:
        return _LockedFile.model_validate(read_yaml(path)).counts
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


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


def off_from_locked(records: list[Record], locked: list[LockedCounts]) -> list[str]:
    """One line for each count of `records` that is not the locked one; empty when all are equal."""
    by_setting = {(row.variant, row.engine, row.stride_placement, row.image_size, row.proposals): row for row in locked}
    problems = []
    for record in records:
        setting = _setting(record)
        row = by_setting.get(
            (
                record.variant,
                str(setting.get("engine", "")),
                record.options["stride_placement"],
                setting["image_size"],
                int(setting.get("proposals", 0)),
            )
        )
        name = f"{record.variant} ({', '.join(str(value) for key, value in setting.items() if key != 'variant')})"
        if row is None:
            problems.append(f"{name}: has no locked counts; see 'awbench lock'")
            continue
        for value in _locked_values(record):
            if record.value(value) != getattr(row, value):
                problems.append(f"{name}: {value} is {record.value(value):,}, locked {getattr(row, value):,}")
    return problems
