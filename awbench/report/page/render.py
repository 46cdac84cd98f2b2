"""Records and references to one HTML file that needs no network.

Everything that comes from a record or a reference file is text: jinja2 escapes it, and the script only ever sets text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import awbench
from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.report.claims import claimed, describe, needs
from awbench.report.figures import Picture, all_pictures
from awbench.report.table import Table
from awbench.report.tables import TABLES
from awbench.verdicts.claims import JudgedClaim, Pair, judge_claims

_FOLDER = Path(__file__).resolve().parent
_OUTCOMES = ("reproduced", "contradicted", "inconclusive", "not measured")
_KINDS = ("accuracy", "detection", "complexity", "latency", "aw_speed")
# What a reader wants of an environment, first; the rest follows by name.
_MACHINE = ("device", "cpu", "cpu_count", "threads", "torch", "cuda", "cudnn", "torchvision", "python", "platform")


@dataclass(frozen=True)
class _Row:
    """A table's row: its cells, the places of its records in the page's list, its published source."""

    cells: Sequence[str]
    records: Sequence[int]
    source: str
    hover: str


def render_page(records: Records, references: References, pictures: Sequence[Picture] | None = None) -> str:
    """The page.

    Args:
        records: holds the records; training curves are read from the runs beside them.
        references: published numbers and claims.
        pictures: to show; None for all that records and references give.

    Raises:
        BrokenRecordError: naming the file.
    """
    shown = [record for kind in _KINDS for record in records.of_kind(kind)]
    places = {record.key: place for place, record in enumerate(shown)}  # of one key, the newest
    environments, environment_of = _environments(shown)
    judged = judge_claims(records, references)
    template = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template("report.html.jinja")
    counts: Counter[str] = Counter(one.outcome for one in judged)
    titles = {source.id: source.title for source in references.sources}
    return template.render(
        version=awbench.__version__,
        newest=max((record.finished for record in shown), default=""),
        number_of_records=len(shown),
        outcomes=[(outcome, counts[outcome]) for outcome in _OUTCOMES],
        claims=[_card(one) for one in judged],
        pictures=[
            {
                "name": one.name,
                "title": one.title,
                "caption": one.caption,
                "svg": Markup(one.to_inline_svg()),
                "marks": list(one.marks.values()),
            }
            for one in (all_pictures(records, references) if pictures is None else pictures)
        ],
        tables=[
            _table(kind, make(records, references), shown, places, titles)
            for kind, make in sorted(TABLES.items(), key=_claims_first)
        ],
        environments=environments,
        data={
            "records": [_record(record, environment_of[place]) for place, record in enumerate(shown)],
            "environments": [dict(one["rows"]) for one in environments],
            "sources": {
                source.id: {
                    "title": source.title,
                    "url": source.url,
                    "read from": source.read_from,
                    "standing": source.standing or "stated for each number",
                }
                for source in references.sources
            },
        },
        style=Markup((_FOLDER / "report.css").read_text()),
        script=Markup((_FOLDER / "report.js").read_text()),
    )


def _claims_first(item: tuple[str, Any]) -> bool:
    return item[0] != "claims"


def _card(judged: JudgedClaim) -> dict[str, Any]:
    claim = judged.claim
    pairs = [pair for pair in judged.pairs if pair.measured]
    return {
        "id": claim.id,
        "text": claim.text,
        "claimed": claimed(claim),
        "dataset": claim.dataset,
        "outcome": judged.outcome,
        "standing": judged.standing,
        "source": judged.source.title,
        "url": judged.url,
        "pairs": [f"{pair.variant} over {pair.over}: {_gain(pair)}; {describe(pair.verdict, claim)}" for pair in pairs],
        "needs": "" if pairs else needs(judged),
    }


def _gain(pair: Pair) -> str:
    difference = pair.verdict.difference
    assert difference is not None, "it was measured"
    interval = "unknown" if math.isnan(difference.low) else f"{difference.low:+.2f} to {difference.high:+.2f}"
    return f"{difference.value:+.2f} ({interval}), {pair.runs[0]} and {pair.runs[1]} runs"


def _table(
    kind: str, table: Table, records: Sequence[Record], places: dict[str, int], titles: dict[str, str]
) -> dict[str, Any]:
    rows, origins, sources = [], table.origins, table.sources
    for number, cells in enumerate(table.rows):
        of = [places[key] for key in dict.fromkeys(origins[number]) if key in places]
        source = sources[number]
        published = [f"published: {titles[source]}"] if source in titles else []
        rows.append(_Row(cells, of, source, "; ".join([*published, *(_short(records[place]) for place in of[:3])])))
    return {
        "kind": kind,
        "title": table.title,
        "columns": [(name, side == "right") for name, side in zip(table.columns, table.alignment, strict=True)],
        "rows": rows,
        "notes": table.notes,
        "has_origins": any(row.records or row.source for row in rows),
    }


def _short(record: Record) -> str:
    """E.g. "accuracy record 1a2b3c4d5e6f of 2026-11-24, commit 0123456"."""
    commit = str(record.environment.get("git_commit", "unknown"))[:7]
    return f"{record.kind} record {record.key[:12]} of {record.finished[:10]}, commit {commit}"


def _record(record: Record, environment: int) -> dict[str, Any]:
    commit = str(record.environment.get("git_commit", "unknown"))
    dirty = " with uncommitted changes" if record.environment.get("git_dirty") is True else ""
    return {
        "title": f"{record.kind} of {record.variant}",
        "file": f"records/{record.kind}/{record.variant}-{record.key[:12]}-*.json",
        "measured": f"{record.started} to {record.finished}",
        "commit": f"{commit}{dirty}",
        "environment": environment,
        "values": {name: f"{quantity.value} {quantity.unit}" for name, quantity in record.values.items()},
        "settings": _flat(record.settings.json_object),
        "options": _flat(record.options),
        "inputs": record.inputs,
        "notes": record.notes,
    }


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted names to text."""
    flat: dict[str, str] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = str(value)
    return flat


def _environments(records: Sequence[Record]) -> tuple[list[dict[str, Any]], list[int]]:
    """(the different environments, which one each record was measured in). Commits and runs are the records' own."""
    found: dict[tuple[tuple[str, str], ...], int] = {}
    of = []
    for record in records:
        own = {
            name: str(value)
            for name, value in record.environment.items()
            if name not in ("git_commit", "git_dirty", "run", "awbench")
        }
        ordered = [name for name in _MACHINE if name in own] + sorted(set(own) - set(_MACHINE))
        of.append(found.setdefault(tuple((name, own[name]) for name in ordered), len(found)))
    counts = Counter(of)
    return [{"rows": rows, "records": counts[place]} for rows, place in found.items()], of
