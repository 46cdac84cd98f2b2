"""Trainings that were repeated with the same seed, but another library, processor or code: what that changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from awbench.records import Record, Records
from awbench.records.settings import Training
from awbench.reference.load import References
from awbench.report.runs import RunGroup, all_but_the_seed, initial_weights
from awbench.report.table import Column, Table, Unmeasured

# Of an environment, what can change a training's result: shown as.
_RAN_WITH = {
    "source_sha256": "code", "torch": "torch", "torchvision": "torchvision", "training_device": "trained on",
    "device": "device", "cpu": "processor", "threads": "threads", "world_size": "processes",
    "c_compiler": "compiler",
}  # fmt: skip
_DIGESTS = ("code", "initial weights")


@dataclass(frozen=True)
class Repeat:
    """Two runs that share all but what they ran with.

    Attributes:
        seeds: the runs of other seeds beside the first one, itself among them.
    """

    first: Record
    again: Record
    seeds: RunGroup

    @property
    def training(self) -> Training:
        return self.seeds.settings

    @property
    def values(self) -> tuple[float | None, float | None]:
        """Of the first and of the other; None where a record does not have the metric."""
        metric = self.seeds.metric
        first, again = (run.value(metric) if metric in run.values else None for run in (self.first, self.again))
        return first, again

    @property
    def change(self) -> float | None:
        first, again = self.values
        return None if first is None or again is None else again - first

    @property
    def has_same_weights(self) -> bool | None:
        """After training, bit for bit; None where either is not stated."""
        digests = [run.environment.get("weights_sha256") for run in (self.first, self.again)]
        return digests[0] == digests[1] if all(digests) else None

    @property
    def differs(self) -> dict[str, list[str]]:
        """What they ran with, where it differs: of the first and of the other."""
        both = _ran_with(self.first), _ran_with(self.again)
        return {name: [own[name] for own in both] for name in both[0] if both[0][name] != both[1][name]}


def _ran_with(record: Record) -> dict[str, str]:
    stated = {shown: str(record.environment.get(name, "unknown")) for name, shown in _RAN_WITH.items()}
    return {**stated, "initial weights": initial_weights(record)}


def repeats(records: Records) -> list[Repeat]:
    """Every run whose seed was trained with something else, too; the first is of where most seeds were trained."""
    trainings: dict[str, dict[tuple[str, ...], dict[int, Record]]] = {}
    for record in (*records.of_kind("accuracy"), *records.of_kind("detection")):
        if isinstance(record.settings, Training):
            places = trainings.setdefault(all_but_the_seed(record), {})
            # Of initial weights each seed may have its own.
            place = tuple(value for name, value in _ran_with(record).items() if name != "initial weights")
            places.setdefault(place, {})[record.settings.seed] = record
    return [repeat for places in trainings.values() for repeat in _of_training(places)]


def _of_training(places: Mapping[tuple[str, ...], Mapping[int, Record]]) -> Iterable[Repeat]:
    by_size = sorted(places.values(), key=len, reverse=True)
    for runs in by_size:
        for seed in sorted(runs):
            first = next(others for others in by_size if seed in others)
            if first is not runs:
                yield Repeat(first[seed], runs[seed], RunGroup(tuple(first[seed] for seed in sorted(first))))


def _shown_differences(differs: Mapping[str, list[str]]) -> str:
    """E.g. "torch 2.14.1 -> 2.12.1"; of long values the beginning."""
    shown = {name: [value[: 8 if name in _DIGESTS else 40] for value in both] for name, both in differs.items()}
    return ", ".join(f"{name} {' -> '.join(both)}" for name, both in shown.items())


_COLUMNS: tuple[Column[Repeat], ...] = (
    Column("variant", lambda row: row.first.variant),
    Column("options", lambda row: row.seeds.options, detail=True),
    Column("dataset", lambda row: row.training.dataset),
    Column("recipe", lambda row: row.seeds.recipe, detail=True),
    Column("engine", lambda row: row.seeds.engine, detail=True),
    Column("seed", lambda row: row.first.settings.json_object["seed"], "d"),
    Column("metric", lambda row: row.seeds.metric),
    Column("first", lambda row: row.values[0], ".2f"),
    Column("again", lambda row: row.values[1], ".2f"),
    Column("change", lambda row: row.change, "+.2f"),
    Column("deviation between seeds", lambda row: row.seeds.deviation, ".2f", key="deviation"),
    Column("seeds", lambda row: len(row.seeds.runs), "d"),
    Column("weights", lambda row: row.has_same_weights, lambda same: "same" if same else "differ", missing="unknown"),
    Column("ran with", lambda row: row.differs, _shown_differences),
)  # fmt: skip


_NEEDS = "not measured: needs 'awbench train VARIANT' of one seed twice, with another library or on another processor"


def repeats_table(records: Records, references: References | None = None) -> Table:
    """A row for each run that was repeated. Args: references, not needed: tables are made alike."""
    return Table(
        title="Runs repeated with another library, processor or code",
        fields=_COLUMNS,
        values=repeats(records) or [Unmeasured({"variant": _NEEDS}, {"needs": _NEEDS})],
        notes=(
            "Two runs of one network, options, recipe, data and seed, which differ in what they ran with. First is the "
            "one where most seeds were trained; the deviation is between those seeds. A change well beyond it means "
            "that the library, the processor or the code matters more than chance does. Weights: whether they are the "
            "same after training, bit for bit.",
        ),
        records_of=lambda row: [row.first.key, row.again.key],
    )
