"""Every training there is, whatever its options and its recipe: a row for runs that differ in their seed alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining, Training
from awbench.reference.load import References
from awbench.report.table import Column, Table, Unmeasured
from awbench.variants import ModelOptions, describe_options, list_variants
from awbench.verdicts.protocol import WEIGHTS, training_protocol

_RANDOM = "random"
_SHOWN_DIGITS = 8


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in their seed alone; of a seed the newest.

    Attributes:
        runs: by their seed, rising.
        stated: names of options that are shown at their default too, as a sweep over them has it.
    """

    runs: tuple[Record, ...]
    stated: Collection[str] = ()

    @property
    def settings(self) -> Training:
        settings = self.runs[-1].settings
        assert isinstance(settings, Training), "trained here"
        return settings

    @property
    def variant(self) -> str:
        return self.runs[-1].variant

    @property
    def seeds(self) -> list[int]:
        return [run.settings.json_object["seed"] for run in self.runs]

    @property
    def metric(self) -> str:
        return "top1" if self.runs[-1].kind == "accuracy" else "box_ap"

    @property
    def values(self) -> list[float]:
        return [run.value(self.metric) for run in self.runs if self.metric in run.values]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The run-to-run standard deviation; None for one run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def options(self) -> str:
        return changed_options(self.runs[-1], self.stated)

    @property
    def recipe(self) -> str:
        return shown_recipe(self.runs[-1])

    @property
    def began_from(self) -> str:
        """ "random", or the first digits of the weights' sha256; several of runs that each had their own."""
        found = [initial_weights(run) for run in self.runs]
        return ", ".join(dict.fromkeys(one if one == _RANDOM else one[:_SHOWN_DIGITS] for one in found))

    @property
    def engine(self) -> str:
        """ "" of a classifier."""
        return self.settings.engine if isinstance(self.settings, DetectorTraining) else ""

    @property
    def trained_alike(self) -> tuple[str, ...]:
        """What networks share whose accuracies compare. A recipe that was changed in its file keeps its name."""
        protocol = json.dumps(training_protocol(self.runs[-1]), sort_keys=True)
        return self.settings.dataset, self.recipe, self.engine, self.metric, self.code, protocol

    @property
    def code(self) -> str:
        """First digits of the digest of the code that trained them."""
        return str(self.runs[-1].environment.get("source_sha256", ""))[:_SHOWN_DIGITS]


def changed_options(run: Record, stated: Collection[str] = ()) -> str:
    """Options that are not at their default, e.g. "expansion=1"; all of a network that is not known here.

    Args:
        stated: names of options that are there at their default too.
    """
    known = {variant.name: variant for variant in list_variants()}.get(run.variant)
    default = describe_options(known, ModelOptions(num_classes=run.options["num_classes"])) if known else {}
    return ", ".join(_changed(run.options, default, stated))


def shown_recipe(run: Record) -> str:
    """A training's recipe and its changes, e.g. "digits-quick epochs=1"."""
    assert isinstance(run.settings, Training), "trained here"
    stated = run.environment.get("recipe")
    changes = stated.get("changes") if isinstance(stated, dict) else None
    return " ".join([run.settings.recipe.name, *map(str, changes if isinstance(changes, list) else [])])


def group_runs(records: Records) -> list[RunGroup]:
    """All trainings, by dataset, recipe, network and options: which of two at a time ended first says nothing."""
    groups: dict[str, dict[int, Record]] = {}
    for record in (*records.of_kind("accuracy"), *records.of_kind("detection")):
        if isinstance(record.settings, Training):
            where = [record.environment.get(name) for name in ("source_sha256", "torch", "training_device")]
            groups.setdefault(f"{all_but_the_seed(record)} {where}", {})[record.settings.seed] = record
    found = [RunGroup(tuple(runs[seed] for seed in sorted(runs))) for runs in groups.values()]
    place = {variant.name: place for place, variant in enumerate(list_variants())}

    def order(group: RunGroup) -> tuple[str, str, int, str]:
        return group.settings.dataset, group.recipe, place.get(group.variant, len(place)), group.options

    return sorted(found, key=order)


def all_but_the_seed(record: Record) -> str:
    """What a training was, apart from its seed and from what it ran with."""
    settings = {name: value for name, value in record.settings.json_object.items() if name != "seed"}
    inputs = {name: value for name, value in record.inputs.items() if name not in WEIGHTS}
    began = initial_weights(record) == _RANDOM  # runs of a study of detectors each begin from a backbone of their own
    return json.dumps([record.kind, record.variant, record.options, settings, inputs, began], sort_keys=True)


def initial_weights(record: Record) -> str:
    """ "random", or their sha256."""
    return next((record.inputs[name] for name in WEIGHTS if name in record.inputs), "unknown")


def _changed(options: Mapping[str, Any], default: Mapping[str, Any], stated: Collection[str]) -> Iterable[str]:
    for name, value in options.items():
        if isinstance(value, dict):
            inner = default.get(name)
            yield from _changed(value, inner if isinstance(inner, dict) else {}, stated)
        elif name in stated or name not in default or default[name] != value:
            shown = ",".join(map(str, value)) if isinstance(value, list) else value
            yield f"{name}={shown}"


def _shown_seeds(seeds: list[int]) -> str:
    """E.g. "0-2, 5"."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


_COLUMNS: tuple[Column[RunGroup], ...] = (
    Column("variant", lambda row: row.variant),
    Column("options", lambda row: row.options, detail=True),
    Column("dataset", lambda row: row.settings.dataset),
    Column("recipe", lambda row: row.recipe),
    Column("engine", lambda row: row.engine, detail=True),
    Column("began from", lambda row: row.began_from, key="began_from", detail=True),
    Column("seeds", lambda row: row.seeds, _shown_seeds),
    Column("runs", lambda row: len(row.runs), "d"),
    Column("metric", lambda row: row.metric),
    Column("mean", lambda row: row.mean, ".2f", best_among=lambda row: row.trained_alike),
    Column("standard deviation", lambda row: row.deviation, ".2f", key="deviation"),
    Column("code", lambda row: row.code, detail=True),
)  # fmt: skip


_NEEDS = "not measured: needs 'awbench train VARIANT'"
NO_RUNS = Unmeasured({"variant": _NEEDS}, {"needs": _NEEDS})


def runs_table(
    records: Records,
    references: References | None = None,
    only: Callable[[RunGroup], bool] | None = None,
    stated: Collection[str] = (),
) -> Table:
    """A row for every group of runs that differ in their seed alone.

    Args:
        references: not needed; tables are made alike.
        only: of these groups; None for all.
        stated: as of `RunGroup`.
    """
    groups = [RunGroup(group.runs, stated) for group in group_runs(records)]
    return Table(
        title="Runs",
        fields=_COLUMNS,
        values=[group for group in groups if only is None or only(group)] or [NO_RUNS],
        notes=(
            "Every training, whatever its options and its recipe: runs in a row differ in their seed alone. Shown are "
            "options and changes of the recipe that are not at their default. Mean and run-to-run standard deviation "
            "are of top-1 in percent, or of box AP in points. Code: digest of what trained them; other code, another "
            "row. Only studies are evidence for a claim.",
        ),
        records_of=lambda row: [run.key for run in row.runs],
    )
