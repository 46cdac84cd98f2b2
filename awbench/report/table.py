"""A table is rows of values under columns. A column knows its value in a row, for people and for programs."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from awbench.errors import UserError, suggestion
from awbench.report.html_table import to_html
from awbench.text import visible

RowT = TypeVar("RowT")
ABSENT: Final = object()  # as a value: the row's object does not have the key


@dataclass(frozen=True)
class Column(Generic[RowT]):
    """One column.

    Attributes:
        name: its heading; None for what programs alone read.
        value: of a row, exact. ABSENT leaves it out of the row's object, and the cell is empty.
        text: how a value is shown: a number's format, or a function.
        key: its name in the row's object, where it is not the heading; "" for what people alone read.
        right: aligned to the right, as numbers are; what has a format is one.
        missing: the cell where the value is None.
        show: the cell of a row, where it depends on more than the value.
        parts: heading -> value of a row, what stands in CSV where the cell is not one number: "26.89 to 28.94" is two.
        detail: where there is little room it is left out before others.
        best_among: a row -> what it is compared within, of a column whose greatest number is the best.
    """

    name: str | None
    value: Callable[[RowT], Any]
    text: str | Callable[[Any], str] = ""
    key: str | None = None
    right: bool = False
    missing: str = ""
    show: Callable[[RowT], str] | None = None
    parts: Mapping[str, Callable[[RowT], Any]] | None = None
    detail: bool = False
    best_among: Callable[[RowT], Any] | None = None

    @classmethod
    def shown(cls, name: str, text: Callable[[RowT], str], right: bool = False, **options: Any) -> Column[RowT]:
        """A column that people alone read."""
        return cls(name, text, key="", right=right, **options)

    @classmethod
    def exact(cls, key: str, value: Callable[[RowT], Any]) -> Column[RowT]:
        """A column that programs alone read."""
        return cls(None, value, key=key)

    def cell(self, row: RowT) -> str:
        """What people read."""
        if self.show:
            return self.show(row)
        value = self.value(row)
        if value is None or value is ABSENT:
            return self.missing if value is None else ""
        return self.text(value) if callable(self.text) else format(value, self.text)

    @property
    def flat(self) -> Mapping[str, Callable[[RowT], Any]]:
        """Heading -> value of a row, in CSV: numbers as they are, text as it is shown."""
        if self.parts is not None:
            return self.parts
        is_number = self.side == "right" and self.show is None and isinstance(self.text, str)
        return {str(self.name): self.value if is_number else self.cell}

    def best_value(self, row: RowT) -> float | None:
        """The number that is compared for the best; None of a row without one."""
        if isinstance(row, Unmeasured):
            return None
        value = next(iter(self.flat.values()))(row)
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def side(self) -> str:
        """On which its cells are aligned."""
        return "right" if self.right or (self.text and isinstance(self.text, str)) else "left"


@dataclass(frozen=True)
class Unmeasured:
    """A row for what was not measured: its cells by column, among them what it needs, and its object."""

    cells: Mapping[str, str]
    object: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Values under columns. Cells, objects, alignment and origins follow from the columns.

    Attributes:
        title: what the table shows.
        fields: the columns.
        values: what each row shows: an object that the columns read, or an Unmeasured.
        notes: footnotes on conventions.
        notes_of: a row -> further footnotes, which are about it alone.
        records_of: a row -> the keys of the records that it was made from.
        source_of: a row -> the id of the reference whose number or claim it shows; "" where there is none.
        has_object: whether a row has an object of its own; one that has none belongs to the row above.
        as_shown: whether the objects hold the cells, as they do once columns were chosen.
        unchosen: the columns that people read and that were not chosen.
    """

    title: str
    fields: Sequence[Column[Any]]
    values: Sequence[Any]
    notes: tuple[str, ...] = ()
    notes_of: Callable[[Any], Iterable[str]] = lambda row: ()
    records_of: Callable[[Any], Iterable[str]] = lambda row: ()
    source_of: Callable[[Any], str] = lambda row: ""
    has_object: Callable[[Any], bool] = lambda row: True
    as_shown: bool = False
    unchosen: Sequence[Column[Any]] = ()

    @functools.cached_property
    def shown(self) -> list[Column[Any]]:
        """The columns that people read."""
        return [column for column in self.fields if column.name is not None]

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings."""
        return tuple(str(column.name) for column in self.shown)

    @property
    def alignment(self) -> list[str]:
        return [column.side for column in self.shown]

    @functools.cached_property
    def rows(self) -> list[tuple[str, ...]]:
        """Cells as a person reads them, one for each heading; "" is an empty cell."""
        return [tuple(map(visible, self._cells(row))) for row in self.values]

    def _cells(self, row: Any) -> tuple[str, ...]:
        if isinstance(row, Unmeasured):
            return tuple(row.cells.get(name, "") for name in self.columns)
        return tuple(column.cell(row) for column in self.shown)

    @functools.cached_property
    def objects(self) -> list[dict[str, Any]]:
        """The rows for programs, in full precision: one object for each row, or for several that belong together."""
        if self.as_shown:
            return [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return [self._object(row) for row in self.values if isinstance(row, Unmeasured) or self.has_object(row)]

    def _object(self, row: Any) -> dict[str, Any]:
        if isinstance(row, Unmeasured):
            return dict(row.object)
        keyed = ((column.name if column.key is None else column.key, column.value) for column in self.fields)
        found = {key: value(row) for key, value in keyed if key}
        return {key: value for key, value in found.items() if value is not ABSENT}

    @property
    def flat(self) -> tuple[list[str], list[list[Any]]]:
        """(headings, rows) for CSV: a number a cell, None for nothing.

        Text in place of a number, as what an unmeasured row needs, is in a last column of its own.
        """
        parts = [(column, name, value) for column in self.shown for name, value in column.flat.items()]
        rows, needs = [], []
        for row in self.values:
            if isinstance(row, Unmeasured):
                cells = [row.cells.get(name, "") if name == column.name else "" for column, name, _ in parts]
                misplaced = [
                    bool(cell) and column.side == "right" and not _is_number(cell)
                    for cell, (column, *_) in zip(cells, parts, strict=True)
                ]
                needs.append("; ".join(itertools.compress(cells, misplaced)))
                rows.append([None if out else cell or None for cell, out in zip(cells, misplaced, strict=True)])
            else:
                needs.append("")
                found = [value(row) for _, _, value in parts]
                rows.append([None if value is ABSENT else value for value in found])
        names = [name for _, name, _ in parts]
        if any(needs):
            return [*names, "needs"], [[*row, need or None] for row, need in zip(rows, needs, strict=True)]
        return names, rows

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        return to_html(replace(self, notes=self.footnotes))

    @property
    def footnotes(self) -> tuple[str, ...]:
        """`notes`, and those of the rows that are there, each once."""
        of_rows = (note for row in self.values if not isinstance(row, Unmeasured) for note in self.notes_of(row))
        return tuple(dict.fromkeys([*self.notes, *of_rows]))

    @property
    def origins(self) -> list[tuple[str, ...]]:
        """For each row, the keys of the records that it was made from."""
        return [() if isinstance(row, Unmeasured) else tuple(self.records_of(row)) for row in self.values]

    @property
    def sources(self) -> list[str]:
        """For each row, the id of the reference whose number or claim it shows; "" where there is none."""
        return ["" if isinstance(row, Unmeasured) else self.source_of(row) for row in self.values]

    def to_pandas(self) -> Any:
        """The objects as a pandas DataFrame, one row each, nested values as columns with dotted names.

        Raises:
            UserError: pandas is not installed.
        """
        return import_pandas().json_normalize(self.objects)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def ends(name: str, of: Callable[[RowT], Sequence[float] | None]) -> dict[str, Callable[[RowT], float | None]]:
    """Parts of a column of intervals, [low, high] or None: `name` low and `name` high."""

    def end(place: int) -> Callable[[RowT], float | None]:
        return lambda row: found[place] if (found := of(row)) and found is not ABSENT else None

    return {f"{name} low": end(0), f"{name} high": end(1)}


def estimate(name: str, of: Callable[[RowT], Any]) -> dict[str, Callable[[RowT], float | None]]:
    """Parts of a column of estimates with `value`, `low` and `high`, or None."""

    def part(attribute: str) -> Callable[[RowT], float | None]:
        return lambda row: getattr(found, attribute) if (found := of(row)) else None

    return {name: part("value"), f"{name} low": part("low"), f"{name} high": part("high")}


def in_units(name: str, of: Callable[[RowT], Any], unit: float) -> dict[str, Callable[[RowT], float | None]]:
    """The part of a column that is shown in so many: bytes in MiB, counts in 10^6."""
    return {name: lambda row: None if (found := of(row)) is None or found is ABSENT else found / unit}


def import_pandas() -> Any:
    """The module. Raises: UserError: it is not installed."""
    try:
        import pandas
    except ImportError:
        raise UserError("pandas is not installed; install it with: pip install pandas") from None
    return pandas


def select(
    table: Table,
    columns: Sequence[str] = (),
    sort: Sequence[str] = (),
    where: Sequence[tuple[str, str]] = (),
) -> Table:
    """The table with only these columns, in this order, and only these rows, sorted.

    Args:
        columns: names in any case; none for all. A beginning will do where no other column has it, and a name without
            what stands in brackets behind it; of several that differ in that alone it is the first.
        sort: such names, the most important first, each with ":desc" behind it for the greatest first. Cells that begin
            with a number are compared as numbers and stand before others; empty cells come last.
        where: (name, pattern); a row's cells must match all, as file names match "aw_*".

    Raises:
        UserError: the table has no such column, or several; its columns are named.
    """
    wanted = [(_place(table, name), pattern) for name, pattern in where]
    matches = [all(fnmatch.fnmatchcase(row[place], pattern) for place, pattern in wanted) for row in table.rows]
    order = [i for i, is_wanted in enumerate(matches) if is_wanted]
    for key in reversed(sort):
        name, _, direction = key.partition(":")
        if direction not in ("", "asc", "desc"):
            raise UserError(f"sort order {key!r} is not known; use {name}, {name}:asc or {name}:desc")
        place = _place(table, name)
        keys = [_sort_key(row[place]) for row in table.rows]
        order = [
            i
            for kind in (_NUMBER, _TEXT, _EMPTY)
            for i in sorted(
                (i for i in order if keys[i][0] == kind), key=lambda i: keys[i][1:], reverse=direction == "desc"
            )
        ]
    table = replace(table, values=[table.values[i] for i in order])
    if not columns:
        return table
    places = [_place(table, name) for name in columns]
    others = [column for place, column in enumerate(table.shown) if place not in places]
    return replace(table, fields=[table.shown[place] for place in places], as_shown=True, unchosen=others)


def _place(table: Table, name: str) -> int:
    if name in table.columns:
        return table.columns.index(name)
    asked, bare = name.lower(), [re.sub(r" \(.*\)$", "", column).lower() for column in table.columns]
    found = [place for place, column in enumerate(table.columns) if column.lower() == asked]
    found += [bare.index(asked)] if asked in bare else []
    begun = [column for column in dict.fromkeys(bare) if asked and column.startswith(asked)]
    if found or len(begun) == 1:
        return found[0] if found else bare.index(begun[0])
    if begun:
        several = ", ".join(column for column, short in zip(table.columns, bare, strict=True) if short in begun)
        raise UserError(f"column {name!r} may be any of: {several}; give more of its name")
    known = ", ".join(table.columns)
    raise UserError(f"column {name!r} does not exist{suggestion(name, table.columns)} Columns: {known}.")


_NUMBER, _TEXT, _EMPTY = range(3)


def _sort_key(cell: str) -> tuple[int, float, str]:
    number = re.match(r"[-+]?\d[\d,]*(\.\d+)?", cell)
    if number:
        return (_NUMBER, float(number[0].replace(",", "")), cell)
    return (_TEXT if cell else _EMPTY, 0.0, cell)
