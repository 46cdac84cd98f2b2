"""One table, five formats."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from tabulate import tabulate

from awbench.report.table import Table
from awbench.text import visible


def render(table: Table, format: str) -> str:
    """The table as text ending in a newline; `format` is a key of `FORMATS`."""
    notes = tuple(visible(note) for note in table.notes)
    return FORMATS[format](replace(table, title=visible(table.title), notes=notes)).rstrip("\n") + "\n"


def _github(table: Table) -> str:
    rows = [[_markdown(cell).replace("|", "\\|") for cell in row] for row in table.rows]
    body = _tabulate(table, table.columns, rows, "pipe")  # GitHub's own form, with alignment
    return "\n\n".join([body, "\n".join(f"- {_markdown(note)}" for note in table.notes)])


def _markdown(text: str) -> str:
    """On one line, and without HTML and links of its own."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split())).replace("](", "]&#40;")


def _latex(table: Table) -> str:
    """A floating table with its notes below, to \\input; wide ones are for \\small, or fewer columns."""
    columns, *rows = ([_plain_ascii(cell) for cell in row] for row in (table.columns, *table.rows))
    body = _tabulate(table, columns, rows, "latex_booktabs")
    body = re.sub(r"^(\s*)([\[*])", r"\1{\2}", body, flags=re.MULTILINE)  # else arguments of the line end before
    notes = [f"\\par {_escape_latex(note)}" for note in table.notes]
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escape_latex(table.title)}}}",
        body,
        *(["\\par\\medskip\\begin{minipage}{\\linewidth}\\footnotesize", *notes, "\\end{minipage}"] if notes else []),
        "\\end{table}",
    ]
    return "\n".join(lines)


_LATEX = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "%": "\\%", "_": "\\_",
    "^": "\\^{}", "~": "\\~{}", "<": "\\ensuremath{<}", ">": "\\ensuremath{>}",
}  # fmt: skip


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _plain_ascii(text))


def _plain_ascii(text: str) -> str:
    """What LaTeX's standard fonts have no letter for, by its code, so that any text compiles; line ends as spaces."""
    text = " ".join(text.split())
    return "".join(c if " " <= c <= "~" else f"U+{ord(c):04X}" for c in text)


def _html(table: Table) -> str:
    body = _tabulate(table, table.columns, table.rows, "html")  # tabulate escapes cells
    notes = "".join(f"<p>{html.escape(note)}</p>\n" for note in table.notes)
    return body.replace("<table>", f"<table>\n<caption>{html.escape(table.title)}</caption>", 1) + "\n" + notes


def _tabulate(table: Table, columns: Sequence[str], rows: Sequence[Sequence[str]], format: str) -> str:
    return tabulate(
        rows,
        headers=list(columns),
        tablefmt=format,
        # Without rows tabulate would not know the columns' number, which LaTeX needs.
        colalign=table.alignment if rows or format == "latex_booktabs" else None,
        disable_numparse=True,  # digits stay as they were printed
    )


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([[_no_formula(cell) for cell in row] for row in table.rows])
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
    "github": _github,
    "latex": _latex,
    "csv": _csv,
    "html": _html,
    "json": _json,
}
EXTENSIONS = {"github": "md", "latex": "tex", "csv": "csv", "html": "html", "json": "json"}
