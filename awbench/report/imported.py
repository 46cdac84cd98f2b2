"""Runs that were trained elsewhere, judged among themselves: of one source, one recipe and one dataset."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.report.answers import shown_interval
from awbench.report.table import Column, Table, Unmeasured, estimate
from awbench.variants import list_variants
from awbench.verdicts.interval import Interval, gain_interval
from awbench.verdicts.runs import resolution_of

_LEVEL = 0.95


@dataclass(frozen=True)
class ImportedNetwork:
    """A network's runs, by seed.

    Attributes:
        over: its plain network's name.
        interval: of the difference to it.
        alone: why it is compared with none, in a sentence; "" of a plain network and of one that is.
    """

    runs: tuple[Record, ...]
    over: str
    interval: Interval | None
    alone: str = ""

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
            return "not compared" if self.alone else ""
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
    groups: dict[tuple[str, ...], dict[tuple[str, bool], dict[int, Record]]] = {}
    for record in records.of_kind("imported"):
        settings = record.settings.json_object
        network = record.variant, bool(settings.get("is_variant"))
        groups.setdefault(_group(record), {}).setdefault(network, {})[settings["seed"]] = record
    plain = {variant.name: variant.plain for variant in list_variants()}
    found = []
    for networks in groups.values():
        runs = {network: tuple(by_seed[seed] for seed in sorted(by_seed)) for network, by_seed in networks.items()}
        for (name, stated), own in runs.items():
            over = plain.get(name, "") if stated else ""
            over = over if over != name and (over, True) in runs else ""
            others = [_values(other) for label, other in runs.items() if label not in ((name, stated), (over, True))]
            resolution = max(resolution_of(run, run.settings.json_object["metric"]) for run in own)
            interval = (
                gain_interval(_values(own), _values(runs[over, True]), others, _LEVEL, resolution) if over else None
            )
            found.append(ImportedNetwork(own, over, interval, "" if over else _alone(name, stated, plain)))
    return found


def _alone(name: str, is_variant: bool, plain: Mapping[str, str]) -> str:
    """Why a network without a plain one beside it has none."""
    if is_variant:
        needs = f"no runs of {plain.get(name)} of the same source, recipe, dataset and metric were imported"
        return "" if plain.get(name) == name else f"{name}: {needs}."
    if name in plain:
        return f"{name} was given as network, as if it were another one of that name; given as variant it is compared."
    return f"{name} was given as network: what it is compared with is not known of one that is not built here."


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
    networks = imported_networks(records)
    return Table(
        title="Runs trained elsewhere",
        fields=_COLUMNS,
        values=networks or [Unmeasured({"network": _NEEDS}, {"needs": _NEEDS})],
        notes=(
            "Imported, as their sources state them; nothing of them was run or checked here. They are evidence for no "
            "claim, and count in a study only where its file names their source and recipe. Compared are networks of "
            "one source, recipe, dataset and metric, with the plain network; the interval holds at "
            f"{_LEVEL:.0%}, of each alone.",
            *(f"Not compared: {why}" for why in dict.fromkeys(row.alone for row in networks) if why),
        ),
        records_of=lambda row: [run.key for run in row.runs],
    )
