"""A table for a terminal: fitted to its width, verdicts coloured."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence

from awbench.report.layout import JUDGING, UNBROKEN, Layout, fit, wrapped
from awbench.report.table import Table

_DITTO = '"'
_GREEN, _RED, _YELLOW, _DIM, _BOLD = "32", "31", "33", "2", "1"
# How a verdict begins -> its colour.
_COLOURS = {
    "not measured": _DIM, "not comparable": _DIM, "not of the study": _DIM, "unknown": _DIM,
    "as claimed": _GREEN, "gain": _GREEN, "pass": _GREEN, "agrees": _GREEN, "reproduced": _GREEN, "faster": _GREEN,
    "matches all published digits": _GREEN,
    "loss": _RED, "less than claimed": _RED, "fail": _RED, "differs": _RED, "not reproduced": _RED, "slower": _RED,
    "undecided": _YELLOW, "too early": _YELLOW, "too noisy": _YELLOW, "gain undecided": _YELLOW,
    "more than claimed": _YELLOW,
}  # fmt: skip


def _with_dittos(layout: Layout, names: Sequence[str], sides: Sequence[str]) -> Iterator[list[str]]:
    """Rows whose words of several lines are a ditto mark where the row above has the same."""
    above: Sequence[str] = [""] * len(names)
    for row in layout.rows:
        yield [
            _DITTO if cell == other and side == "left" and name not in JUDGING and len(cell) > wide else cell
            for cell, other, name, side, wide in zip(row, above, names, sides, layout.widths, strict=True)
        ]
        above = row


def to_text(table: Table, width: int = 100, colour: bool = False) -> str:
    """The table and its notes in lines of at most so many characters, where its columns can be so narrow."""
    layout = fit(table, width)
    names = [table.columns[place] for place in layout.places]
    sides = [table.alignment[place] for place in layout.places]

    def painted(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text.strip() else text

    def lines(cells: Sequence[str], codes: Sequence[str]) -> Iterator[str]:
        columns = [wrapped(cell, wide) for cell, wide in zip(cells, layout.widths, strict=True)]
        for parts in itertools.zip_longest(*columns, fillvalue=""):
            padded = (
                part.rjust(wide) if side == "right" else part.ljust(wide)
                for part, wide, side in zip(parts, layout.widths, sides, strict=True)
            )
            yield "  ".join(map(painted, padded, codes)).rstrip()

    body = [*lines(names, [""] * len(names)), "  ".join("-" * wide for wide in layout.widths)]
    for row in _with_dittos(layout, names, sides):
        body += lines(row, [_colour(cell) if name in JUDGING else "" for cell, name in zip(row, names, strict=True)])
    notes = [*layout.numbered_needs, *([f"- {layout.shared}"] if layout.constants and not table.as_shown else [])]
    notes += [f"- {note}" for note in table.notes]
    if layout.left_out:
        notes.append(f"- Not shown, for want of room: {', '.join(layout.left_out)}; a wider terminal shows more.")
    below = [textwrap.fill(note, width, subsequent_indent="  ", break_on_hyphens=False) for note in notes]
    return "\n\n".join(filter(None, [painted(table.title, _BOLD), "\n".join(body), "\n".join(below)]))


def _colour(cell: str) -> str:
    """Of a verdict."""
    shown = cell.replace(UNBROKEN, " ")
    begun = [begin for begin in _COLOURS if shown.startswith(begin)]
    return _COLOURS[max(begun, key=len)] if begun else ""
