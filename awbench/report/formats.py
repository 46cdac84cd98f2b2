"""One table, five formats."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tabulate import tabulate

from awbench.errors import UserError, suggestion


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes:
        title: what the table shows.
        columns: names, in order.
        rows: cells as a person reads them, one for each column; "" is an empty cell.
        objects: what the rows say for programs, full precision, for the JSON format; one a row, or one for several
            rows that belong together.
        notes: footnotes on conventions.
        right_aligned: names of columns of numbers.
        origins: for each row, the keys of the records that it was made from; empty where none is known.
        sources: for each row, the id of the reference whose number or claim it shows; "" where there is none.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    objects: list[dict[str, Any]]
    notes: tuple[str, ...] = ()
    right_aligned: frozenset[str] = frozenset()
    origins: Sequence[tuple[str, ...]] = ()
    sources: Sequence[str] = ()

    @property
    def alignment(self) -> list[str]:
        return ["right" if column in self.right_aligned else "left" for column in self.columns]

    def to_pandas(self) -> Any:
        """The objects as a pandas DataFrame, one row each, nested values as columns with dotted names.

        Raises:
            UserError: pandas is not installed.
        """
        return import_pandas().json_normalize(self.objects)


def import_pandas() -> Any:
    """The module. Raises: UserError: it is not installed."""
    try:
        import pandas
    except ImportError:
        raise UserError("pandas is not installed; install it with: pip install 'awbench[pandas]'") from None
    return pandas


def select(table: Table, columns: Sequence[str] = (), sort: Sequence[str] = ()) -> Table:
    """The table with only these columns, in this order, its rows sorted.

    Args:
        columns: names; none for all.
        sort: names, the most important first, each with ":desc" behind it for the greatest first. Cells that begin
            with a number are compared as numbers and stand before others; empty cells come last.

    Raises:
        UserError: the table has no such column; its columns are named.
    """
    order = list(range(len(table.rows)))
    for word in reversed(sort):
        name, _, direction = word.partition(":")
        if direction not in ("", "asc", "desc"):
            raise UserError(f"sort order {word!r} is not known; use {name}, {name}:asc or {name}:desc")
        place = _place(table, name)
        keys = [_sort_key(row[place]) for row in table.rows]
        filled = sorted((i for i in order if keys[i][0] < 2), key=lambda i: keys[i], reverse=direction == "desc")
        order = filled + [i for i in order if keys[i][0] == 2]
    places = [_place(table, name) for name in columns] or list(range(len(table.columns)))
    rows = [tuple(table.rows[i][place] for place in places) for i in order]
    names = tuple(table.columns[place] for place in places)
    if columns:
        objects: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
    else:  # objects that stand for several rows keep their order
        objects = [table.objects[i] for i in order] if len(table.objects) == len(table.rows) else table.objects
    origins = [table.origins[i] for i in order] if table.origins else ()
    return replace(
        table,
        columns=names,
        rows=rows,
        objects=objects,
        right_aligned=table.right_aligned & set(names),
        origins=origins,
        sources=[table.sources[i] for i in order] if table.sources else (),
    )


def _place(table: Table, name: str) -> int:
    if name not in table.columns:
        known = ", ".join(table.columns)
        raise UserError(f"column {name!r} does not exist{suggestion(name, table.columns)} Columns: {known}.")
    return table.columns.index(name)


def _sort_key(cell: str) -> tuple[int, float, str]:
    number = re.match(r"[-+]?\d[\d,]*(\.\d+)?", cell)
    if number:
        return (0, float(number[0].replace(",", "")), cell)
    return (1 if cell else 2, 0.0, cell)


def render(table: Table, format: str) -> str:
    """The table as text ending in a newline; `format` is a key of `FORMATS`."""
    return FORMATS[format](table).rstrip("\n") + "\n"


def _github(table: Table) -> str:
    rows = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in table.rows]
    body = _tabulate(table, rows, "pipe")  # GitHub's own form, with alignment
    return "\n\n".join([body, "\n".join(f"- {note}" for note in table.notes)])


def _latex(table: Table) -> str:
    """A floating table with its notes below, to \\input; wide ones are for \\small, or fewer columns."""
    plain = replace(table, columns=tuple(_plain_ascii(name) for name in table.columns))
    aligned = replace(plain, right_aligned=frozenset(_plain_ascii(name) for name in table.right_aligned))
    body = _tabulate(aligned, [[_plain_ascii(cell) for cell in row] for row in table.rows], "latex_booktabs")
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
    body = _tabulate(table, table.rows, "html")  # tabulate escapes cells
    notes = "".join(f"<p>{html.escape(note)}</p>\n" for note in table.notes)
    return body.replace("<table>", f"<table>\n<caption>{html.escape(table.title)}</caption>", 1) + "\n" + notes


def _tabulate(table: Table, rows: Any, format: str) -> str:
    return tabulate(
        rows,
        headers=list(table.columns),
        tablefmt=format,
        # Without rows tabulate would not know the columns' number, which LaTeX needs.
        colalign=table.alignment if rows or format == "latex_booktabs" else None,
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
