"""A table fitted to a width in characters: for a terminal, and for a page of LaTeX.

Columns without a cell go; a column that is the same in every row is said once; what an unmeasured row needs becomes a
numbered note; long cells are wrapped; and where that is not enough, details are left out and named.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from awbench.report.table import Table

JUDGING = ("verdict", "answer", "status", "decision")  # columns that are never left out
_NAMING = ("variant", "network", "over")  # columns of networks' names
_MOST_LINES = 2  # of a cell, where there is room
_LONGEST_NUMBER = 24  # with an interval; what is longer is text
_SHORT = 32  # an unmeasured cell of so many characters stays as it is
UNBROKEN = "\N{NO-BREAK SPACE}"
_PIECES = re.compile(r"([_/=,-])(?=\w)")  # behind these a word that is too long is broken
_UNMEASURED = re.compile(r"(not measured): (.+)", re.DOTALL)


@dataclass(frozen=True)
class Layout:
    """What of a table is shown, and how wide.

    Attributes:
        places: of the columns that are shown, among the table's.
        widths: of each of them, in characters.
        rows: the shown cells.
        constants: (heading, cell) of columns that are the same in every row, and were not chosen to be shown.
        left_out: headings of columns for which there is no room.
        needs: what unmeasured cells need; a cell names its number.
    """

    places: tuple[int, ...]
    widths: tuple[int, ...]
    rows: list[list[str]]
    constants: list[tuple[str, str]]
    left_out: list[str]
    needs: list[str]

    @property
    def numbered_needs(self) -> list[str]:
        return [f"[{number}] {need}" for number, need in enumerate(self.needs, 1)]

    @property
    def shared(self) -> str:
        return said_once(self.constants)


def said_once(constants: Sequence[tuple[str, str]]) -> str:
    """E.g. "In every row: device Xeon; batch 1." """
    return f"In every row: {'; '.join(f'{name} {cell}' for name, cell in constants)}."


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many characters, broken at spaces, else behind the signs within a word."""
    words = (_PIECES.sub(r"\1 ", word) if len(word) > width else word for word in text.split(" "))
    lines = textwrap.wrap(" ".join(words), width, break_on_hyphens=False) or [""]
    return [_rejoined(line, text).replace(UNBROKEN, " ") for line in lines]


def _rejoined(line: str, text: str) -> str:
    """Pieces of a word that stand on one line are one word again."""
    return line if line in text else re.sub(r"(?<=[_/=,-]) ", "", line)


def varying(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[int], list[tuple[str, str]]]:
    """(places of the columns that have a cell and tell rows apart, heading and cell of those that do not)."""
    places = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in rows)]
    if len(rows) < 2:
        return places, []
    same = [i for i in places[1:] if len({row[i] for row in rows}) == 1 and columns[i] not in JUDGING]
    return [i for i in places if i not in same], [(columns[i], rows[0][i]) for i in same]


def fit(table: Table, width: int, gap: int = 2, named: Callable[[str], str] = str) -> Layout:
    """The layout that fits, as far as any does: the first column and verdicts stay, and columns that were asked for.

    Args:
        width: characters of a line.
        gap: characters between two columns.
        named: how networks' names are shown.
    """
    rows, needs = _with_numbered_needs(table)
    rows = _named(table.columns, rows, named)
    places: list[int] = list(range(len(table.columns)))
    constants: list[tuple[str, str]] = []
    if table.as_shown:
        others = replace(table, fields=[*table.shown[:1], *table.unchosen])
        constants = varying(others.columns, _named(others.columns, others.rows, named))[1]
    else:
        places, constants = varying(table.columns, rows)
    natural = {i: max(map(len, (table.columns[i], *(row[i] for row in rows)))) for i in places}
    whole, broken = ({i: _least(table, i, rows, words) for i in places} for words in (True, False))
    room = width + gap
    left_out = []

    def too_wide(least: Mapping[int, int]) -> bool:
        return sum(least[i] + gap for i in places) > room

    def tells_apart(place: int) -> bool:
        """Whether rows would be one and the same in words without the column."""
        words = [i for i in places if table.alignment[i] == "left"]
        kinds = {tuple(row[i] for i in words) for row in rows}
        return len({tuple(row[i] for i in words if i != place) for row in rows}) < len(kinds)

    droppable = [i for i in places[1:] if table.columns[i] not in JUDGING and not table.as_shown]
    details = [i for i in droppable if table.shown[i].detail]
    # Details go first; names are broken before what alone tells rows apart goes; what is least to the left goes last.
    steps = [(details, whole, True), (details, broken, False), (droppable, broken, False)]
    for drop, least, kept in ((drop, least, kept) for some, least, kept in steps for drop in some[::-1]):
        if drop in places and too_wide(least) and not (kept and tells_apart(drop)):
            places.remove(drop)
            left_out.append(drop)
    available = room - gap * len(places)
    widths = {i: (broken if too_wide(whole) else whole)[i] for i in places}
    for i in sorted(places, key=lambda i: whole[i] - widths[i]):  # as many columns as there is room for, whole
        widths[i] += max(0, min(whole[i] - widths[i], available - sum(widths.values())))
    while sum(widths.values()) < available and (growing := [i for i in places if widths[i] < natural[i]]):
        widths[min(growing, key=lambda i: widths[i] / natural[i])] += 1
    return Layout(
        tuple(places),
        tuple(widths[i] for i in places),
        [[row[i] for i in places] for row in rows],
        constants,
        [table.columns[i] for i in sorted(left_out)],
        needs,
    )


def _named(columns: Sequence[str], rows: Iterable[Sequence[str]], named: Callable[[str], str]) -> list[list[str]]:
    return [[named(cell) if name in _NAMING else cell for cell, name in zip(row, columns, strict=True)] for row in rows]


def _with_numbered_needs(table: Table) -> tuple[list[list[str]], list[str]]:
    """(rows whose long needs are "not measured [1]", the needs). NAME stands for the row's network in them."""
    needs: list[str] = []
    rows = []
    for row in table.rows:
        cells = []
        for cell in row:
            found = _UNMEASURED.fullmatch(cell)
            if found and len(cell) > _SHORT and len(table.rows) > 1:
                need = re.sub(rf"(?<!\w){re.escape(row[0])}(?!\w)", "NAME", found[2]) if row[0] else found[2]
                if need not in needs:
                    needs.append(need)
                cell = f"{found[1]} [{needs.index(need) + 1}]".replace(" ", UNBROKEN)
            cells.append(cell)
        rows.append(cells)
    return rows, needs


def _least(table: Table, place: int, rows: Sequence[Sequence[str]], whole_words: bool) -> int:
    """Of a number all of it; of text its longest word, and as much as keeps cells to a few lines."""
    cells = [row[place] for row in rows]
    widest = max((len(cell) for cell in cells), default=0)
    heading = max(map(len, table.columns[place].split() or [""]))
    if table.alignment[place] == "right" and widest <= _LONGEST_NUMBER:
        return max(widest, heading)
    words = [word for cell in cells for word in cell.split(" ")]
    if not whole_words:
        words = [piece for word in words for piece in _PIECES.sub(r"\1 ", word).split(" ")]
    longest = max(map(len, words), default=0)
    return max(heading, longest, -(-widest // _MOST_LINES))
