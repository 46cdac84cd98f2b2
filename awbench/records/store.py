"""Records in a folder: one file a measurement, never overwritten, broken ones reported by name."""

from __future__ import annotations

import functools
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from awbench.errors import UserError
from awbench.records import atomic
from awbench.records.record import BrokenRecordError, Record
from awbench.system import open_regular

_KEY_CHARACTERS = 12
# Behind the time in a file's name, before six random characters. Files of awbench 0.1.0 have none.
_SEQUENCE = re.compile(r"-(\d{6,})-[0-9a-f]{6}\.json$")


class Records:
    """Everything that was recorded in a folder, as a value: read and checked once, then asked as often as needed.

    Args:
        records: oldest first.
        results: the results folder, for what lies beside the records.
    """

    def __init__(self, records: Iterable[Record] = (), results: Path | None = None) -> None:
        self.results = results
        self._by_kind: dict[str, list[Record]] = {}
        self._by_network: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            self._by_kind.setdefault(record.kind, []).append(record)
            self._by_network.setdefault((record.kind, record.variant), []).append(record)

    @functools.cached_property
    def _newest(self) -> dict[str, Record]:
        return {record.key: record for records in self._by_kind.values() for record in records}

    @classmethod
    def read(cls, results: Path, parsed: dict[tuple[Path, int, int], Record] | None = None) -> Records:
        """All records below a results folder; one that does not exist yet has none.

        Args:
            parsed: files that were read before, by path, time and size; those that are read now are added.

        Raises:
            UserError: a folder of them cannot be read, or is not a folder.
            BrokenRecordError: naming every broken file. None is skipped.
        """
        _require_folder(results)
        folder = results / "records"
        kinds = [name for name in _names(folder) if not name.startswith(".")]
        paths = [folder / kind / name for kind in kinds for name in _record_names(folder / kind)]
        return cls(_read(paths, {} if parsed is None else parsed), results)

    def of_kind(self, kind: str) -> list[Record]:
        """All of a kind, oldest first."""
        return list(self._by_kind.get(kind, ()))

    def of_network(self, kind: str, variant: str) -> list[Record]:
        """All of a kind and a network, oldest first."""
        return list(self._by_network.get((kind, variant), ()))

    def find(self, key: str) -> Record | None:
        """The newest record of a key, or None."""
        return self._newest.get(key)

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))


class RecordStore:
    """The records under `results`/records/<kind>/, to add to.

    Args:
        results: the results folder; made when the first record is written.

    Raises:
        UserError: `results` exists and is not a folder.
    """

    def __init__(self, results: Path) -> None:
        _require_folder(results)
        self.results = results
        self.directory = results / "records"
        self._parsed: dict[tuple[Path, int, int], Record] = {}

    def add(self, record: Record) -> Path:
        """Write a new file for the record and return its path.

        Its name holds a number above those of all records of the kind that are there: which record is the newest
        does not depend on clocks.

        Raises:
            OSError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        directory = self.directory / record.kind
        number = 1 + max(map(_sequence, _record_names(directory)), default=0)
        stamp = record.finished.replace("-", "").replace(":", "")
        name = f"{record.variant}-{record.key[:_KEY_CHARACTERS]}-{stamp}-{number:06d}-{secrets.token_hex(3)}.json"
        atomic.write_text(directory / name, record.to_json())
        return directory / name

    def find(self, kind: str, variant: str, key: str, study: str | None = None) -> Record | None:
        """The newest record of that key, or None.

        Args:
            study: sha256 of a study's design: only what was made for that study.

        Raises:
            UserError: the folder cannot be read.
            BrokenRecordError: a candidate is broken.
        """
        directory, start = self.directory / kind, f"{variant}-{key[:_KEY_CHARACTERS]}-"
        names = [name for name in _record_names(directory) if name.startswith(start)]
        records = _read([directory / name for name in names], self._parsed)
        found = [record for record in records if record.key == key]
        if study is not None:
            found = [record for record in found if record.study[1] == study]
        return found[-1] if found else None

    def read(self) -> Records:
        """`Records.read` of the folder; a file that this store has read before is not parsed again."""
        return Records.read(self.results, self._parsed)


def _require_folder(results: Path) -> None:
    if results.exists() and not results.is_dir():
        raise UserError(f"results folder {results} is a file; give a folder with --results")
    if results.name == "records" and not (results / "records").exists() and (results.parent / "records").is_dir():
        raise UserError(f"{results} holds the records themselves; give the results folder above it, {results.parent}")


def _names(directory: Path) -> list[str]:
    """What lies in a folder; nothing where there is none.

    Raises:
        UserError: naming what cannot be read.
    """
    try:
        return sorted(entry.name for entry in os.scandir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{directory} cannot be read as a folder of records: {error.strerror}") from None


def _record_names(directory: Path) -> list[str]:
    """Names of record files; hidden files are an editor's or a file system's own."""
    return [name for name in _names(directory) if name.endswith(".json") and not name.startswith(".")]


def _sequence(name: str) -> int:
    found = _SEQUENCE.search(name)
    return int(found[1]) if found else 0


def _read(paths: Iterable[Path], parsed: dict[tuple[Path, int, int], Record]) -> list[Record]:
    """The records of files, oldest first: by the number in the name, then by time."""
    found, broken = [], []
    for path in paths:
        try:
            stat = path.stat()
            file = (path, stat.st_mtime_ns, stat.st_size)
            if file not in parsed:
                with open_regular(path) as opened:
                    parsed[file] = Record.from_json(opened.read().decode(errors="replace"), str(path))
            record = parsed[file]
            found.append(((_sequence(path.name), record.finished, path.name), record))
        except BrokenRecordError as error:
            broken.append((path, error))
        except OSError as error:
            broken.append((path, BrokenRecordError(f"{path} cannot be read as a record: {error.strerror}")))
    if broken:
        others = "".join(f"; also broken: {path}" for path, _ in broken[1:])
        raise BrokenRecordError(f"{broken[0][1]}{others}")
    return [record for _, record in sorted(found, key=lambda pair: pair[0])]
