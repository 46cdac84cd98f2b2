"""One table, six formats."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

from tabulate import tabulate

from awbench.report.html_table import to_html
from awbench.report.latex import to_latex
from awbench.report.table import Table
from awbench.report.terminal import to_text
from awbench.text import visible


def render(table: Table, format: str, notes: bool = True) -> str:
    """The table as text ending in a newline.

    Args:
        format: a key of `FORMATS`; "text" is for 100 columns, `awbench.report.terminal` has other widths and colours.
        notes: whether its footnotes are there.
    """
    return FORMATS[format](shown_safely(table, notes)).rstrip("\n") + "\n"


def shown_safely(table: Table, notes: bool = True) -> Table:
    """The table with a title and notes that do not act on a terminal; without notes where none are wanted."""
    kept = tuple(visible(note) for note in table.footnotes) if notes else ()
    return replace(table, title=visible(table.title), notes=kept, notes_of=lambda row: ())


def _github(table: Table) -> str:
    rows = [[_markdown(cell).replace("|", "\\|") for cell in row] for row in table.rows]
    sides = table.alignment if rows else None
    # "pipe" is GitHub's own form, with alignment; digits stay as they were printed
    body = tabulate(rows, list(table.columns), "pipe", colalign=sides, disable_numparse=True)
    return "\n\n".join([body, "\n".join(f"- {_markdown(note)}" for note in table.notes)])


def _markdown(text: str) -> str:
    """On one line, and without HTML and links of its own."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split())).replace("](", "]&#40;").replace("]:", "]&#58;")


def _csv(table: Table) -> str:
    """Numbers as they are, an interval as two columns, so that pandas and spreadsheets compute with them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names, rows = table.flat
    writer.writerow([_no_formula(visible(name)) for name in names])
    writer.writerows([[_no_formula(visible(v)) if isinstance(v, str) else v for v in row] for row in rows])
    return out.getvalue()


# A sign, a number, and words of a unit at most.
_HARMLESS = re.compile(r"[-+]?([\d.,]+%?( [A-Za-z%]+)*)?")


def _no_formula(cell: str) -> str:
    """A cell that no spreadsheet computes: a quotation mark before what would begin a formula, numbers as they are."""
    begins = cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    return f"'{cell}" if begins and not _HARMLESS.fullmatch(cell) else cell


def _json(table: Table) -> str:
    return json.dumps(table.objects, indent=1, allow_nan=False)


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": to_text,
    "github": _github,
    "latex": to_latex,
    "csv": _csv,
    "html": to_html,
    "json": _json,
}
# Of those that are kept as files.
EXTENSIONS = {"github": "md", "latex": "tex", "csv": "csv", "html": "html", "json": "json"}
