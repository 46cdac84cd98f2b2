"""A table as HTML, for files and notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from tabulate import tabulate

if TYPE_CHECKING:
    from awbench.report.table import Table


def to_html(table: Table) -> str:
    """A <table> with the title as its caption, and a paragraph a note."""
    sides = table.alignment if table.rows else None
    body = tabulate(table.rows, list(table.columns), "html", colalign=sides, disable_numparse=True)  # escapes cells
    notes = "".join(f"<p>{html.escape(note)}</p>\n" for note in table.notes)
    return body.replace("<table>", f"<table>\n<caption>{html.escape(table.title)}</caption>", 1) + "\n" + notes
