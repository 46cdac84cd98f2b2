"""A results folder as Python objects: records, tables, verdicts, and pandas DataFrames where pandas is installed.

results = awbench.Results("results")
results.records("accuracy")             # frozen values, see awbench.records.Record
results.frame("accuracy")               # a row a record
results.table("claims").to_pandas()     # a table as `awbench table` prints it
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from awbench.errors import UserError, suggestion
from awbench.records import Record, RecordStore
from awbench.reference.load import References, load_references
from awbench.report.table import Table, import_pandas
from awbench.report.tables import TABLES
from awbench.studies import load_studies
from awbench.verdicts.claims import JudgedClaim, judge_claims

KINDS = ("complexity", "accuracy", "detection", "latency", "aw_speed")


class Results:
    """The records below a folder, read when they are asked for.

    Args:
        folder: of results, as `--results` names it; one that does not exist yet has no records.
        references: folder of published numbers and claims; None for the project's own.

    Raises:
        UserError: `folder` is a file, or a reference file is not valid.
    """

    def __init__(self, folder: str | Path = "results", references: str | Path | None = None) -> None:
        self.store = RecordStore(Path(folder))
        self.references: References = load_references(Path(references) if references else None)

    def records(self, kind: str) -> list[Record]:
        """All records of a kind ("accuracy", "detection", "complexity", "latency", "aw_speed"), oldest first.

        Raises:
            UserError: no such kind.
            BrokenRecordError: naming every broken file.
        """
        _demand("kind", kind, KINDS)
        return self.store.read().of_kind(kind)

    def table(self, kind: str) -> Table:
        """A table of `awbench table`: `columns`, `rows` as text, `objects` with full precision, `notes`.

        Raises:
            UserError: no such table.
            BrokenRecordError: naming every broken file.
        """
        _demand("table", kind, TABLES)
        return TABLES[kind](self.store.read(), self.references)

    def claims(self, studies: Sequence[str | Path] = ()) -> list[JudgedClaim]:
        """Every claim with its verdict, and the runs that it rests on.

        Args:
            studies: YAML files of further studies than the project's own.

        Raises:
            UserError: a study's file is not valid, or a claim of it is about something else.
            BrokenRecordError: naming every broken file.
        """
        return judge_claims(self.store.read(), self.references, load_studies(tuple(map(str, studies))))

    def frame(self, kind: str) -> Any:
        """The records of a kind as a pandas DataFrame, a row each, oldest first.

        Columns: variant, finished (time), key; a column for each value in the unit that `frame.attrs["units"]` names;
        settings, options and environment with dotted names, e.g. `settings.dataset`.

        Raises:
            UserError: pandas is not installed, or no such kind.
            BrokenRecordError: naming every broken file.
        """
        pandas = import_pandas()
        records = self.records(kind)
        rows = [
            {
                "variant": record.variant,
                "finished": record.finished,
                "key": record.key,
                **{name: quantity.value for name, quantity in record.values.items()},
                "settings": record.settings.json_object,
                "options": record.options,
                "environment": record.environment,
            }
            for record in records
        ]
        frame = pandas.json_normalize(rows)
        if len(frame):
            frame["finished"] = pandas.to_datetime(frame["finished"])
        frame.attrs["units"] = {name: q.unit for record in records for name, q in record.values.items()}
        return frame


def _demand(what: str, name: str, known: Any) -> None:
    if name not in known:
        raise UserError(f"{what} {name!r} does not exist{suggestion(name, known)} Known: {', '.join(known)}.")
