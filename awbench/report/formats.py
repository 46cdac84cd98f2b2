"""One table, five formats."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes:
        title: what the table shows.
        columns: names, in order.
        rows: cells as a person reads them, one for each column; "" is an empty cell.
        objects: the same rows for programs, full precision, for the JSON format.
        notes: footnotes on conventions.
        right_aligned: names of columns of numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    objects: list[dict[str, Any]]
    notes: tuple[str, ...] = ()
    right_aligned: frozenset[str] = frozenset()

    @property
    def alignment(self) -> list[str]:
        return ["right" if column in self.right_aligned else "left" for column in self.columns]


def render(table: Table, format: str) -> str:
    """The table as text ending in a newline; `format` is a key of `FORMATS`."""
    return FORMATS[format](table).rstrip("\n") + "\n"


def _github(table: Table) -> str:
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows]
    body = _tabulate(table, rows, "pipe")  # GitHub's own form, with alignment
    return "\n\n".join([body, "\n".join(f"- {note}" for note in table.notes)])


def _latex(table: Table) -> str:
    body = _tabulate(table, table.rows, "latex_booktabs")
    notes = "\n".join(f"% {note}" for note in (table.title, "needs \\usepackage{booktabs}", *table.notes))
    return f"{notes}\n{body}"


def _html(table: Table) -> str:
    body = _tabulate(table, table.rows, "html")  # tabulate escapes cells
    notes = "".join(f"<p>{html.escape(note)}</p>\n" for note in table.notes)
    return body.replace("<table>", f"<table>\n<caption>{html.escape(table.title)}</caption>", 1) + "\n" + notes


def _tabulate(table: Table, rows: Any, format: str) -> str:
    return tabulate(
        rows,
        headers=list(table.columns),
        tablefmt=format,
        colalign=table.alignment if rows else None,
        disable_numparse=True,  # digits stay as they were printed
    )


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return out.getvalue()


def _json(table: Table) -> str:
    return json.dumps(table.objects, indent=1, allow_nan=False)


FORMATS: dict[str, Callable[[Table], str]] = {
    "github": _github,
    "latex": _latex,
    "csv": _csv,
    "html": _html,
    "json": _json,
}
EXTENSIONS = {"github": "md", "latex": "tex", "csv": "csv", "html": "html", "json": "json"}
