"""The project's own locked counts: what the grid must give, to the unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from awbench.records import Record
from awbench.records.settings import Counting
from awbench.reference.load import default_directory
from awbench.validation import Strict
from awbench.variants import StridePlacement
from awbench.yaml_files import load_validated

LOCKED_VALUES = ("params", "macs", "aw_kernel_forming", "activations")


class LockedCounts(Strict):
    """The counts of one variant under one stride placement at one image size; detectors with one engine.

    Attributes:
        image_size: pixels a side, or "HEIGHTxWIDTH" for a detector.
        proposals, trainable_params: of a detector.
        attention_scaling: None in a row that was counted before this was.
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
    attention_scaling: int | None = None
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


def counts_to_yaml(records: Iterable[Record], kept: Iterable[LockedCounts] = ()) -> str:
    """The locked file's content from complexity records, and from rows that stay as they are."""
    lines = [
        "# Exact counts of the grid with default options. A test holds the code to them.",
        "# Made by `make lock`; change it only with a reason in the commit message.",
        "schema_version: 1",
        "counts:",
    ]
    rows = [{**_setting(record), **{name: record.value(name) for name in _locked_values(record)}} for record in records]
    rows += [row.model_dump(exclude_defaults=True) for row in kept]
    for row in sorted(rows, key=lambda row: str(row.get("engine", ""))):
        flow = yaml.safe_dump(row, default_flow_style=True, sort_keys=False, width=1000).strip()
        lines.append(f"  - {flow}")
    return "\n".join(lines) + "\n"


def _setting(record: Record) -> dict[str, str | int]:
    """What is counted, as fields of a LockedCounts; those that do not concern the network are left out.

    Raises:
        ValueError: the record is not of complexity.
    """
    settings = record.settings
    if not isinstance(settings, Counting):
        raise ValueError(f"a record of kind {record.kind} holds no counts; give one of complexity")
    size = settings.image_size
    setting = {
        "variant": record.variant,
        "engine": settings.engine or "",
        "stride_placement": record.options["stride_placement"],
        "image_size": "x".join(map(str, size)) if isinstance(size, list) else size,
        "proposals": settings.proposals or 0,
    }
    return {name: value for name, value in setting.items() if value}


def _locked_values(record: Record) -> list[str]:
    known = ("params", "trainable_params", *LOCKED_VALUES[1:-1], "attention_scaling", LOCKED_VALUES[-1])
    return [name for name in known if name in record.values]


class LockedIndex:
    """Locked rows by what they count, and which of them were met."""

    def __init__(self, locked: Iterable[LockedCounts]) -> None:
        self._rows = {_key(row.model_dump(include=_KEYS)): row for row in locked}
        self._met: set[Key] = set()

    def name(self, record: Record) -> str:
        """What a record counts, e.g. "aw_resnet50 (v1.5, 224)"."""
        variant, *setting = _setting(record).values()
        return f"{variant} ({', '.join(map(str, setting))})"

    def differences(self, record: Record) -> list[str]:
        """One line for each count of the record that is not the locked one; empty when all are equal."""
        key = _key(_setting(record))
        row = self._rows.get(key)
        if row is None:
            return ["has no locked counts; see 'awbench lock'"]
        self._met.add(key)
        return [
            f"{value} is {record.value(value):,}, locked {getattr(row, value):,}"
            for value in _locked_values(record)
            if getattr(row, value) not in (None, record.value(value))
        ]

    def unmet(self) -> list[LockedCounts]:
        """Rows that no record was held to."""
        return [row for key, row in self._rows.items() if key not in self._met]


Key = frozenset[tuple[str, str | int]]
_KEYS = {"variant", "engine", "stride_placement", "image_size", "proposals"}


def _key(setting: Mapping[str, str | int]) -> Key:
    return frozenset((name, value) for name, value in setting.items() if value)


def off_from_locked(records: Iterable[Record], locked: Iterable[LockedCounts]) -> list[str]:
    """One line for each count of `records` that is not the locked one; empty when all are equal."""
    index = LockedIndex(locked)
    return [f"{index.name(record)}: {line}" for record in records for line in index.differences(record)]
