"""Tables of the proxies: digits for classifiers, procedural shapes for detectors; over seeds, and what AW adds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining
from awbench.reference.load import References
from awbench.reference.source import METRICS
from awbench.report.table import Column, Table, Unmeasured
from awbench.variants import Task, Variant, classification_name, list_variants
from awbench.verdicts.measured import ENGINES, by_seed, digits_runs, shapes_runs
from awbench.verdicts.statistics import Difference, mean_and_spread, welch_difference

PROXY_NOTE = (
    "A proxy on 8x8 handwritten digits: it shows that every variant trains through the same code; "
    "it is no evidence on ImageNet or COCO."
)
SHAPES_NOTE = (
    "A proxy on procedural shapes, from random weights in minutes: it shows that detectors train, resume and are "
    "evaluated through the same code as on COCO; it is no evidence on COCO."
)


@dataclass(frozen=True)
class ProxyRuns:
    """Runs of a network and of the same network without AW, by seed, the newest of each.

    Attributes:
        baseline: empty for a network without AW.
        metric: that AW is held to.
    """

    variant: Variant
    runs: dict[int, Record]
    baseline: dict[int, Record]
    metric: str
    engine: str = ""

    @property
    def over(self) -> str | None:
        """The name of the same network without AW, where it was measured."""
        return _without_aw(self.variant) if self.baseline else None

    def values(self, metric: str) -> list[float]:
        return _values(self.runs, metric)

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return mean_and_spread(values)[0] if values else None

    @property
    def deviation(self) -> float | None:
        """The run-to-run standard deviation; None for one run."""
        return _known(mean_and_spread(self.values(self.metric))[1])

    @cached_property
    def added(self) -> Difference | None:
        """What AW adds."""
        if not self.baseline:
            return None
        return welch_difference(self.values(self.metric), _values(self.baseline, self.metric))

    @property
    def records(self) -> list[str]:
        """Keys."""
        return [record.key for record in (*self.runs.values(), *self.baseline.values())]


def _values(runs: dict[int, Record], metric: str) -> list[float]:
    return [float(record.value(metric)) for record in runs.values() if metric in record.values]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _without_aw(variant: Variant) -> str:
    return variant.name.replace(
        variant.backbone, classification_name(variant.architecture_name, variant.attention, False)
    )


def _metric(name: str, heading: str, key: str = "") -> Column[ProxyRuns]:
    """The mean of a metric over the runs."""
    return Column(heading, lambda row: row.mean(name), ".2f", key=key or name)


def _shown_gain(added: Difference) -> str:
    """E.g. "+0.65 (-0.34 to +1.64)"."""
    if math.isnan(added.low):
        return f"{added.value:+.2f} (interval unknown: one run)"
    return f"{added.value:+.2f} ({added.low:+.2f} to {added.high:+.2f})"


_GAIN: tuple[Column[ProxyRuns], ...] = (
    Column.exact("difference", lambda row: row.added.value if row.added else None),
    Column.exact("interval", lambda row: [_known(row.added.low), _known(row.added.high)] if row.added else None),
)
_DIGITS: tuple[Column[ProxyRuns], ...] = (
    Column("variant", lambda row: row.variant.name),
    Column.exact("dataset", lambda row: "digits"),
    Column.exact("proxy", lambda row: True),
    Column.exact("top1_by_seed", lambda row: {str(seed): run.value("top1") * 1.0 for seed, run in row.runs.items()}),
    Column("runs", lambda row: len(row.runs), "d", key=""),
    _metric("top1", "top-1 mean (%)", key="top1_mean"),
    Column("standard deviation", lambda row: row.deviation, ".2f", key="top1_standard_deviation", missing="unknown"),
    Column("lowest", lambda row: min(row.values("top1")), ".2f", key=""),
    Column("over", lambda row: row.over),
    Column("AW adds (95 % interval)", lambda row: row.added, _shown_gain, key=""),
    *_GAIN,
    Column.exact("level", lambda row: row.added.level if row.added else None),
)
_HEADINGS = {"box_ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap_small": "APs", "ap_medium": "APm", "ap_large": "APl"}
_SHAPES: tuple[Column[ProxyRuns], ...] = (
    Column("variant", lambda row: row.variant.name),
    Column("engine", lambda row: row.engine),
    Column.exact("dataset", lambda row: "shapes"),
    Column.exact("proxy", lambda row: True),
    Column("runs", lambda row: len(row.runs), "d"),
    *(_metric(name, _HEADINGS.get(name, name)) for name, metric in METRICS.items() if metric.kind == "detection"),
    _metric("train_time_per_iteration", "s/iteration"),
    Column.exact("over", lambda row: row.over),
    Column("AW adds (AP)", lambda row: row.added, _shown_gain, key=""),
    *_GAIN,
)


def proxy_table(records: Records, references: References) -> Table:
    """Digits: mean and standard deviation over seeds, and what AW adds to the same network without it."""
    nothing = _unmeasured("digits", "top-1 mean (%)", "'awbench reproduce' or 'awbench sweep'")
    return Table(
        title="Digits, a proxy",
        fields=_DIGITS,
        values=_rows(digits_runs(records), "classification", "top1") or [nothing],
        notes=(
            PROXY_NOTE,
            "The interval is Welch's t over runs with different seeds; it covers 0 where nothing is shown.",
        ),
        records_of=lambda row: row.records,
    )


def shapes_table(records: Records, references: References) -> Table:
    """Procedural shapes: mean AP over seeds, and what AW adds, for each engine."""
    nothing = _unmeasured("shapes", "runs", "'awbench reproduce' or 'awbench train faster_rcnn_resnet18_fpn'")
    return Table(
        title="Procedural shapes, a proxy",
        fields=_SHAPES,
        values=_rows(shapes_runs(records), "detection", "box_ap") or [nothing],
        notes=(SHAPES_NOTE,),
        records_of=lambda row: row.records,
    )


def _rows(trained: Iterable[Record], task: Task, metric: str) -> list[ProxyRuns]:
    """By engine, networks in the grid's order; those without a run are left out."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in trained:
        engine = record.settings.engine if isinstance(record.settings, DetectorTraining) else ""
        groups.setdefault((engine, record.variant), []).append(record)
    runs = {key: by_seed(group) for key, group in groups.items()}
    return [
        ProxyRuns(
            variant,
            runs[engine, variant.name],
            runs.get((engine, _without_aw(variant)), {}) if variant.aw else {},
            metric,
            engine,
        )
        for engine in ("", *ENGINES)
        for variant in list_variants(task)
        if (engine, variant.name) in runs
    ]


def _unmeasured(dataset: str, column: str, commands: str) -> Unmeasured:
    requirement = f"not measured: needs {commands}"
    return Unmeasured({"variant": dataset, column: requirement}, {"variant": dataset, "verdict": requirement})
