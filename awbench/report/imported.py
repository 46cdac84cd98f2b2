"""Runs that were trained elsewhere, judged among themselves: of one source, one recipe and one dataset."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.report.answers import shown_interval
from awbench.report.table import Column, Table, Unmeasured, estimate
from awbench.variants import list_variants
from awbench.verdicts.interval import Interval, gain_interval

_LEVEL = 0.95


@dataclass(frozen=True)
class ImportedNetwork:
    """A network's runs, by seed. Attributes: over, its plain network's name; interval, of the difference to it."""

    runs: tuple[Record, ...]
    over: str
    interval: Interval | None

    @property
    def settings(self) -> dict[str, Any]:
        return self.runs[0].settings.json_object

    @property
    def group(self) -> tuple[str, ...]:
        """Networks of one group compare."""
        return _group(self.runs[0])

    @property
    def values(self) -> list[float]:
        return _values(self.runs)

    @property
    def answer(self) -> str:
        if not self.over:
            return ""
        if self.interval is None:
            return "too few runs: 2 of each are needed"
        return "gain" if self.interval.low > 0 else "loss" if self.interval.high < 0 else "undecided"


def _values(runs: tuple[Record, ...]) -> list[float]:
    return [run.value(run.settings.json_object["metric"]) for run in runs]


def _group(record: Record) -> tuple[str, ...]:
    settings = record.settings.json_object
    return tuple(str(settings.get(key)) for key in ("source", "dataset", "recipe", "recipe_sha256", "metric"))


def imported_networks(records: Records) -> list[ImportedNetwork]:
    """In the order in which they were imported. Those of one source, recipe, dataset and metric are compared."""
    groups: dict[tuple[str, ...], dict[str, dict[int, Record]]] = {}
    for record in records.of_kind("imported"):
        seed = record.settings.json_object["seed"]
        groups.setdefault(_group(record), {}).setdefault(record.variant, {})[seed] = record
    plain = {variant.name: variant.plain for variant in list_variants()}
    found = []
    for networks in groups.values():
        runs = {name: tuple(by_seed[seed] for seed in sorted(by_seed)) for name, by_seed in networks.items()}
        for name, own in runs.items():
            over = plain.get(name, "") if own[0].settings.json_object.get("is_variant") else ""
            over = over if over != name and over in runs else ""
            others = [_values(other) for label, other in runs.items() if label not in (name, over)]
            interval = gain_interval(_values(own), _values(runs[over]), others, _LEVEL) if over else None
            found.append(ImportedNetwork(own, over, interval))
    return found


_COLUMNS: tuple[Column[ImportedNetwork], ...] = (
    Column("network", lambda row: row.runs[0].variant),
    Column("dataset", lambda row: row.settings["dataset"]),
    Column("recipe", lambda row: row.settings["recipe"]),
    Column("metric", lambda row: row.settings["metric"]),
    Column("runs", lambda row: len(row.runs), "d"),
    Column("mean", lambda row: statistics.fmean(row.values), ".2f", best_among=lambda row: row.group),
    Column("standard deviation", lambda row: statistics.stdev(row.values) if len(row.values) > 1 else None, ".2f"),
    Column("over", lambda row: row.over),
    Column(
        "difference (interval)", lambda row: row.interval, shown_interval, key="", right=True,
        parts=estimate("difference", lambda row: row.interval),
    ),
    Column("answer", lambda row: row.answer),
    Column("source", lambda row: row.settings["source"], detail=True),
    Column.exact("interval", lambda row: [row.interval.low, row.interval.high] if row.interval else None),
)  # fmt: skip


_NEEDS = "not measured: needs 'awbench import FILE'"


def imported_table(records: Records, references: References | None = None) -> Table:
    """A row for each network of each source. Args: references, not needed: tables are made alike."""
    return Table(
        title="Runs trained elsewhere",
        fields=_COLUMNS,
        values=imported_networks(records) or [Unmeasured({"network": _NEEDS}, {"needs": _NEEDS})],
        notes=(
            "Imported, as their sources state them; nothing of them was run or checked here, and they are evidence for "
            "no claim and no study. Compared are networks of one source, recipe, dataset and metric, with the plain "
            f"network; the interval holds at {_LEVEL:.0%}, of each alone.",
        ),
        records_of=lambda row: [run.key for run in row.runs],
    )
