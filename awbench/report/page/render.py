"""Records and references to one HTML file that needs no network.

Everything that comes from a record or a reference file is text: jinja2 escapes it, and the script only ever sets text.
What rows share (settings, options, environments) is in the file once.
"""

from __future__ import annotations

import base64
import gzip
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from awbench.records import Record, Records
from awbench.records.environment import package_version
from awbench.reference.load import References
from awbench.report.answers import shown_answer, shown_interval
from awbench.report.claims import ClaimRow, aw_setting, claimed, headline, left_aside, requirement, status_of
from awbench.report.formats import render
from awbench.report.layout import JUDGING, varying
from awbench.report.names import claim_title
from awbench.report.page.dark import dark_colours
from awbench.report.page.summary import QUESTION, answer, settles, tiles
from awbench.report.table import Table
from awbench.report.tables import TABLES
from awbench.verdicts.claims import judge_claims

if TYPE_CHECKING:
    from awbench.report.figures import Figure

_FOLDER = Path(__file__).resolve().parent
_KINDS = ("accuracy", "detection", "complexity", "latency", "aw_speed")
# What a reader wants of an environment, first; the rest follows by name.
_MACHINE = (
    "device",
    "cpu",
    "cpu_count",
    "usable_cores",
    "threads",
    "torch",
    "cuda",
    "cudnn",
    "torchvision",
    "python",
)


def render_page(records: Records, references: References, figures: Sequence[Figure] | None = None) -> str:
    """The page.

    Args:
        records: of a folder; training curves are read from the runs beside them.
        references: published numbers and claims.
        figures: to show; None for all that records and references give.
    """
    if figures is None:
        from awbench.report.figures import all_figures

        figures = all_figures(records, references)
    recorded = [record for kind in _KINDS for record in records.of_kind(kind)]
    tables = {kind: make(records, references) for kind, make in TABLES.items()}
    claims = judge_claims(records, references)
    svgs = [figure.to_inline_svg() for figure in figures]
    titles = {source.id: source.title for source in references.sources}
    embedded = _Embedded(records)
    shown = [_table(kind, tables[kind], titles, embedded) for kind in sorted(tables, key=lambda kind: kind != "claims")]
    template = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template("report.html.jinja")
    return template.render(
        version=package_version("awbench"),
        newest=max((record.finished for record in recorded), default=""),
        number_of_records=len(recorded) + len(records.of_kind("imported")),
        question=QUESTION,
        answer=answer(records, claims),
        tiles=tiles(records, claims),
        claims=_cards(tables["claims"]),
        figures=[
            {
                "name": figure.name,
                "title": figure.title,
                "caption": figure.caption,
                "svg": Markup(svg),
                "data": list(figure.data.values()),
            }
            for figure, svg in zip(figures, svgs, strict=True)
        ],
        tables=shown,
        machines=Counter(map(_machine, recorded)).most_common(),
        embedded={
            "files": {table["kind"]: table["files"] for table in shown},
            "records": embedded.records,
            "parts": [dict(part) for part in embedded.parts],
            "sources": {
                source.id: {
                    "title": source.title,
                    "url": source.url,
                    "read from": source.read_from,
                    "provenance": source.provenance or "stated for each number",
                }
                for source in references.sources
            },
        },
        style=Markup((_FOLDER / "report.css").read_text()),
        dark=Markup(dark_colours(svgs)),
        script=Markup((_FOLDER / "report.js").read_text()),
    )


# Columns of the table of claims that a card shows too, of each pair that has runs.
_FACTS = (
    "look", "with", "without", "publication", "trained", "AW setting", "beside it",
)  # fmt: skip


def _cards(claims: Table) -> list[dict[str, Any]]:
    """A card for each claim of the table, with the pairs that its rows are about."""
    cards: dict[str, dict[str, Any]] = {}
    for row, cells in zip(claims.values, claims.rows, strict=True):
        card = cards.setdefault(row.claim.id, _card(row))
        if row.runs:
            card["pairs"].append(_pair(row, dict(zip(claims.columns, cells, strict=True))))
    return list(cards.values())


def _card(row: ClaimRow) -> dict[str, Any]:
    claim, judged = row.claim, row.judged
    return {
        "id": claim.id,
        "title": claim_title(claim),
        "text": claim.text,
        "claimed": claimed(claim),
        "dataset": claim.dataset,
        "outcome": status_of(judged),
        "headline": headline(judged),
        "provenance": judged.provenance,
        "source": judged.source.title,
        "url": judged.url,
        "measured": shown_interval(judged.interval) if judged.interval else "",
        "pairs": [],
        "left_aside": left_aside(judged),
        "setting": aw_setting(),
        "settles": settles(judged, row.would_decide),
        "needs": "" if judged.size != "undecided" else requirement(judged),
    }


def _pair(row: ClaimRow, cells: dict[str, str]) -> dict[str, Any]:
    assert row.comparison, "it has runs"
    pair = row.comparison.comparison
    study = f" (study {row.judged.study.study.name})" if row.other and row.judged.study else ""
    return {
        "networks": f"{pair.variant} over {pair.over}{study}",
        "measured": f"{cells['measured (interval)']}: {shown_answer(row.comparison)}"
        if row.comparison.interval
        else "",
        "facts": [(name, cells[name]) for name in _FACTS if cells[name]],
    }


_Part = tuple[tuple[str, str], ...]  # names and values, as text


@dataclass
class _Embedded:
    """The records behind the rows, as the page holds them: each once, and each of their parts once.

    Attributes:
        found: to look them up in.
        records: those that a row was made from.
        parts: settings, options, inputs and environments; `records` name them by their places.
    """

    found: Records
    records: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[_Part, int] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)

    def places(self, keys: Iterable[str]) -> list[int]:
        """Of records by key, in `records`; what the folder does not hold is left out."""
        for key in keys:
            record = self.found.find(key)
            if record and key not in self._places:
                self._places[key] = len(self.records)
                self.records.append(self._record(key, record))
        return [self._places[key] for key in dict.fromkeys(keys) if key in self._places]

    def described(self, keys: Iterable[str]) -> list[str]:
        """E.g. "accuracy record 1a2b3c4d5e6f of 2026-11-24, commit 0123456"."""
        records = ((key, self.found.find(key)) for key in dict.fromkeys(keys))
        return [
            f"{record.kind} record {key[:12]} of {record.finished[:10]}, commit {_commit(record)}"
            for key, record in records
            if record
        ]

    def _record(self, key: str, record: Record) -> dict[str, Any]:
        dirty = " with uncommitted changes" if record.environment.get("git_dirty") is True else ""
        return {
            "title": f"{record.kind} of {record.variant}",
            "file": f"records/{record.kind}/{record.variant}-{key[:12]}-*.json",
            "measured": f"{record.started} to {record.finished}",
            "commit": f"{_commit(record)}{dirty}",
            "values": {name: f"{quantity.value} {quantity.unit}" for name, quantity in record.values.items()},
            "settings": self._part(_flat(record.settings.json_object)),
            "options": self._part(_flat(record.options)),
            "inputs": self._part(_flat(record.inputs)),
            "machine": self._part(_machine(record)),
            "run": self._part(_flat(_of_run(record))),
            "notes": record.notes,
        }

    def _part(self, part: _Part) -> int:
        return self.parts.setdefault(part, len(self.parts))


def _table(kind: str, table: Table, titles: dict[str, str], embedded: _Embedded) -> dict[str, Any]:
    """What the template shows; columns whose cells are all the same are said once, and empty ones left out.

    Details are hidden until the reader asks for all columns, and empty rows in print.
    """
    rows = []
    places, same = varying(table.columns, table.rows)
    for cells, keys, source in zip(table.rows, table.origins, table.sources, strict=True):
        published = [f"published: {titles[source]}"] if source in titles else []
        hover = "; ".join([*published, *embedded.described(keys)[:3]])
        shown = [cells[place] for place in places]
        rows.append(
            {
                "cells": shown, "records": embedded.places(keys), "source": source, "hover": hover,
                "empty": _is_empty(table, cells),
            }
        )  # fmt: skip
    return {
        "kind": kind,
        "title": table.title,
        "columns": [(table.columns[place], _style(table, place)) for place in places],
        "same": same,
        "rows": rows,
        "empty": sum(row["empty"] for row in rows),
        "details": [number for number, place in enumerate(places, 1) if table.shown[place].detail],
        "notes": table.footnotes,
        "has_origins": any(row["records"] or row["source"] for row in rows),
        "files": {format: _packed(render(table, format)) for format in ("csv", "json")},
    }


def _is_empty(table: Table, cells: Sequence[str]) -> bool:
    """Whether a row was not measured, or has nothing that was published to be compared with."""
    judged = zip(table.columns, cells, strict=True)
    return any(cell.startswith("not measured") for cell in cells) or ("verdict", "unknown") in judged


def _style(table: Table, place: int) -> str:
    """Of a column."""
    return "verdict" if table.columns[place] in JUDGING else "right" if table.alignment[place] == "right" else ""


def _packed(text: str) -> str:
    """A file as the page holds it: gzip in base64, the same bytes for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _commit(record: Record) -> str:
    return str(record.environment.get("git_commit", "unknown"))[:7]


def _flat(nested: dict[str, Any], prefix: str = "") -> _Part:
    """Dotted names to text."""
    flat: list[tuple[str, str]] = []
    for name, value in nested.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, str(value))]
    return tuple(flat)


def _machine(record: Record) -> _Part:
    """Where a record was measured."""
    return tuple((name, str(record.environment[name])) for name in _MACHINE if name in record.environment)


def _of_run(record: Record) -> dict[str, Any]:
    """The rest of its environment: what is of its run, but for the commit, which stands above."""
    own = (*_MACHINE, "git_commit", "git_dirty")
    return {name: value for name, value in sorted(record.environment.items()) if name not in own}
