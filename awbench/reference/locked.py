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
    """The counts of one variant under one stride placement at one image size."""

    variant: str
    stride_placement: StridePlacement
    image_size: int
    params: int
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
        row = {
            "variant": record.variant,
            "stride_placement": record.options["stride_placement"],
            "image_size": record.settings["image_size"],
            **{name: record.value(name) for name in LOCKED_VALUES},
        }
        flow = yaml.safe_dump(row, default_flow_style=True, sort_keys=False, width=1000).strip()
        lines.append(f"  - {flow}")
    return "\n".join(lines) + "\n"


def off_from_locked(records: list[Record], locked: list[LockedCounts]) -> list[str]:
    """One line for each count of `records` that is not the locked one; empty when all are equal."""
    by_setting = {(row.variant, row.stride_placement, row.image_size): row for row in locked}
    problems = []
    for record in records:
        setting = (record.variant, record.options["stride_placement"], record.settings["image_size"])
        row = by_setting.get(setting)
        if row is None:
            problems.append(f"{record.variant} ({setting[1]}, {setting[2]}): has no locked counts; see 'awbench lock'")
            continue
        for name in LOCKED_VALUES:
            if record.value(name) != getattr(row, name):
                problems.append(
                    f"{record.variant} ({setting[1]}, {setting[2]}): {name} is {record.value(name):,}, "
                    f"locked {getattr(row, name):,}"
                )
    return problems
