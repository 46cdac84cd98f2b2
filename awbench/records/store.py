"""Records in a folder: one file a measurement, never overwritten, broken ones reported by name."""

from __future__ import annotations

import secrets
from pathlib import Path

from awbench.errors import UserError
from awbench.records import atomic
from awbench.records.record import BrokenRecordError, Record

_KEY_CHARACTERS = 12


class RecordStore:
    """The records under `results`/records/<kind>/.

    Args:
        results: the results folder; made when the first record is written.

    Raises:
        UserError: `results` exists and is not a folder.
    """

    def __init__(self, results: Path) -> None:
        if results.exists() and not results.is_dir():
            raise UserError(f"results folder {results} is a file; give a folder with --results")
        self.results = results
        self.directory = results / "records"

    def add(self, record: Record) -> Path:
        """Write a new file for the record and return its path.

        Raises:
            OSError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        directory = self.directory / record.kind
        atomic.remove_stale_temporaries(directory)
        stamp = record.finished.replace("-", "").replace(":", "")
        name = f"{record.variant}-{record.key[:_KEY_CHARACTERS]}-{stamp}-{secrets.token_hex(3)}.json"
        atomic.write_text(directory / name, record.to_json())
        return directory / name

    def find(self, kind: str, variant: str, key: str) -> Record | None:
        """The newest record of that key, or None.

        Raises:
            BrokenRecordError: a candidate is broken.
        """
        candidates = (self.directory / kind).glob(f"{variant}-{key[:_KEY_CHARACTERS]}-*.json")
        records = [record for record in self._read(sorted(candidates)) if record.key == key]
        return max(records, key=lambda record: record.finished, default=None)

    def load(self, kind: str) -> list[Record]:
        """All records of a kind, oldest first.

        Raises:
            BrokenRecordError: naming every broken file. None is skipped.
        """
        return sorted(self._read(sorted((self.directory / kind).glob("*.json"))), key=lambda record: record.finished)

    def _read(self, paths: list[Path]) -> list[Record]:
        records, broken = [], []
        for path in paths:
            try:
                text = path.read_bytes().decode(errors="replace")
                records.append(Record.from_json(text, str(path)))
            except BrokenRecordError as error:
                broken.append((path, error))
        if broken:
            others = "".join(f"; also broken: {path}" for path, _ in broken[1:])
            raise BrokenRecordError(f"{broken[0][1]}{others}")
        return records
