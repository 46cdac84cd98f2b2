"""Tables of the smoke tests: digits for classifiers, digits to detect for detectors, by their studies.

Runs that the study made are judged by it. Runs by its recipe that it did not make are shown and compared with nothing.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from awbench.recipes.defaults import ENGINES
from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining
from awbench.reference.load import References
from awbench.reference.metrics import measured_metrics
from awbench.report.answers import caveat_notes, shown_answer, shown_interval, shown_look
from awbench.report.names import metric_title
from awbench.report.table import Column, Table, Unmeasured, estimate
from awbench.studies import Study, load_study
from awbench.text import plural
from awbench.variants import Variant, list_variants
from awbench.verdicts.evidence import Evidence
from awbench.verdicts.interval import Interval
from awbench.verdicts.measured import digits_detection_runs, digits_runs
from awbench.verdicts.runs import by_seed
from awbench.verdicts.study import JudgedComparison, judge_study

_SMOKE_TEST = (
    "A smoke test: it shows that every variant trains, resumes and is evaluated through the same code; an answer here "
    "is about {data} and this machine's arithmetic, and no evidence on ImageNet or COCO."
)
_INTERVAL_NOTE = (
    "AW adds: the mean of {metric} less that of the same network without AW. The intervals of all comparisons hold "
    "together at {level:.0%}, and the run-to-run deviation is not taken to be less than the metric's smallest step."
)
_NOT_OF_THE_STUDY = (
    "Runs that the study did not make are shown and compared with nothing; 'awbench study run {name}' makes those that "
    "count."
)


@dataclass(frozen=True)
class SmokeTested:
    """The runs of a network, and what the study says of it.

    Attributes:
        runs: one a seed.
        comparison: of the network with the same one without AW; None where the study has none.
        left_aside: why the runs are not of the study; "" where they are.
    """

    variant: Variant
    runs: tuple[Record, ...]
    metric: str
    comparison: JudgedComparison | None = None
    left_aside: str = ""
    engine: str = ""

    def values(self, metric: str) -> list[float]:
        """One of each run that has it."""
        return [float(run.value(metric)) for run in self.runs if metric in run.values]

    def mean(self, metric: str) -> float | None:
        """Over the runs that have it; None where none has."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    @property
    def deviation(self) -> float | None:
        """The run-to-run standard deviation; None for one run."""
        values = self.values(self.metric)
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def over(self) -> str | None:
        return self.comparison.comparison.over if self.comparison else None

    @property
    def interval(self) -> Interval | None:
        """Of what AW adds; None without a comparison, and before its first look."""
        return self.comparison.interval if self.comparison else None

    @property
    def records(self) -> list[str]:
        """Keys."""
        return [run.key for run in (*self.runs, *(self.comparison.baseline if self.comparison else ()))]


def smoke_tested(study: Study, records: Records, proxies: Iterable[Record], engine: str = "") -> list[SmokeTested]:
    """Networks that have runs, in the grid's order: those of the study, else those by its recipe.

    Args:
        proxies: trainings by the study's recipe as it stands.
    """
    judged = judge_study(study, records)
    comparisons: dict[str, list[JudgedComparison | None]] = {}
    for pair in judged.comparisons:
        comparisons.setdefault(pair.comparison.variant, []).append(pair)
    others: dict[str, list[Record]] = {}
    for record in proxies:
        others.setdefault(record.variant, []).append(record)
    rows = []
    for variant in list_variants(study.task):
        name = variant.name
        if runs := judged.evidence.runs.get(name, ()):
            rows += [
                SmokeTested(variant, runs, study.metric, pair, engine=engine) for pair in comparisons.get(name, [None])
            ]
        elif name in others:
            reason = _left_aside(judged.evidence, others[name])
            rows.append(SmokeTested(variant, tuple(by_seed(others[name]).values()), study.metric, None, reason, engine))
    return rows


def _left_aside(evidence: Evidence, runs: Iterable[Record]) -> str:
    keys = {run.key for run in runs}
    reasons = Counter(left.reason for left in evidence.left_aside if left.record.key in keys)
    return reasons.most_common(1)[0][0] if reasons else "the network is in none of its comparisons"


def _metric(name: str, heading: str, key: str = "", best: bool = True) -> Column[SmokeTested]:
    """The mean of a metric over the runs. Args: best, whether the greatest of an engine is the best."""
    best_among = (lambda row: row.engine) if best else None
    detail = name not in ("top1", "box_ap", "ap50")
    return Column(heading, lambda row: row.mean(name), ".2f", key=key or name, best_among=best_among, detail=detail)


def _shown_gain(row: SmokeTested) -> str:
    return shown_interval(row.comparison.interval) if row.comparison and row.comparison.look else ""


def _shown_study(row: SmokeTested) -> str:
    if row.left_aside:
        return f"not of the study: {row.left_aside}"
    return shown_look(row.comparison) if row.comparison else plural(len(row.runs), "run")


_ANSWER: tuple[Column[SmokeTested], ...] = (
    Column("answer", lambda row: shown_answer(row.comparison) if row.comparison and row.interval else None),
    Column.shown("beside it", lambda row: " ".join(row.comparison.caveats) if row.comparison else "", detail=True),
    Column("study", lambda row: not row.left_aside, show=_shown_study, key="of_the_study", detail=True),
    Column.exact("left_aside", lambda row: row.left_aside or None),
    Column.exact("metric", lambda row: row.metric),
    Column.exact("difference", lambda row: row.interval.value if row.interval else None),
    Column.exact("interval", lambda row: [row.interval.low, row.interval.high] if row.interval else None),
    Column.exact("level", lambda row: row.interval.level if row.interval else None),
)  # fmt: skip


def _gain(metric: str) -> tuple[Column[SmokeTested], ...]:
    """What AW adds to the study's metric, and the answer."""
    name = f"AW adds to {metric_title(metric)}"
    gain = Column.shown(f"{name} (interval)", _shown_gain, parts=estimate(name, lambda row: row.interval))
    return gain, *_ANSWER


_DIGITS: tuple[Column[SmokeTested], ...] = (
    Column("variant", lambda row: row.variant.name),
    Column.exact("dataset", lambda row: "digits"),
    Column.exact("proxy", lambda row: True),
    Column.exact(
        "top1_by_seed",
        lambda row: {str(seed): run.value("top1") for seed, run in by_seed(row.runs).items() if "top1" in run.values},
    ),
    Column("runs", lambda row: len(row.runs), "d", key=""),
    _metric("top1", "top-1 mean (%)", key="top1_mean"),
    Column("standard deviation", lambda row: row.deviation, ".2f", key="top1_standard_deviation", missing="unknown"),
    Column("lowest", lambda row: min(row.values("top1"), default=None), ".2f", key="", missing="unknown"),
    Column("over", lambda row: row.over),
    *_gain("top1"),
)
_HEADINGS = {"box_ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap_small": "APs", "ap_medium": "APm", "ap_large": "APl"}
_DETECTION: tuple[Column[SmokeTested], ...] = (
    Column("variant", lambda row: row.variant.name),
    Column("engine", lambda row: row.engine),
    Column.exact("dataset", lambda row: "digits-detection"),
    Column.exact("proxy", lambda row: True),
    Column("runs", lambda row: len(row.runs), "d"),
    *(_metric(name, _HEADINGS.get(name, name)) for name in measured_metrics("detection")),
    Column(
        "sd of AP50", lambda row: row.deviation, ".2f", key="ap50_standard_deviation", missing="unknown", detail=True
    ),
    _metric("train_time_per_iteration", "s/iteration", best=False),
    Column.exact("over", lambda row: row.over),
    *_gain("ap50"),
)


def proxy_table(records: Records, references: References) -> Table:
    """Digits: mean and standard deviation over seeds, and what AW adds to the same network without it."""
    study = load_study("digits")
    return _table(
        study, _DIGITS, smoke_tested(study, records, digits_runs(records)), "top-1 mean (%)", "handwritten digits"
    )


def digits_detection_table(records: Records, references: References) -> Table:
    """Digits to detect: mean AP over seeds, and what AW adds, for each engine by itself."""
    study, rows = load_study("digits-detection"), []
    for engine in ENGINES:
        detectors = (record for record in records.of_kind("detection") if _engine(record) == engine)
        of_engine = Records([*records.of_kind("accuracy"), *detectors])  # with their backbones
        rows += smoke_tested(study, of_engine, digits_detection_runs(of_engine), engine)
    return _table(study, _DETECTION, rows, "runs", "digits to detect")


def _deviation_notes(rows: Iterable[SmokeTested]) -> list[str]:
    """How much a standard deviation of so few runs says: of normal ones it goes by chi-squared."""
    runs = min((len(row.runs) for row in rows if len(row.runs) > 1), default=0)
    if not runs:
        return []
    from scipy.special import chdtri

    low, high = (math.sqrt((runs - 1) / chdtri(runs - 1, above)) for above in (0.025, 0.975))
    return [
        f"A standard deviation of {runs} runs says little: with 95% confidence the true one is {low:.1f} to {high:.1f} "
        "times as large."
    ]


def _engine(record: Record) -> str:
    return record.settings.engine if isinstance(record.settings, DetectorTraining) else ""


def _table(
    study: Study, fields: tuple[Column[SmokeTested], ...], rows: list[SmokeTested], column: str, data: str
) -> Table:
    requirement = f"not measured: needs 'awbench study run {study.name}'"
    nothing = Unmeasured({"variant": study.name, column: requirement}, {"variant": study.name, "verdict": requirement})
    return Table(
        title=study.title,
        fields=fields,
        values=rows or [nothing],
        notes=(
            _SMOKE_TEST.format(data=data),
            _INTERVAL_NOTE.format(level=study.level, metric=metric_title(study.metric)),
            *_deviation_notes(rows),
            *([_NOT_OF_THE_STUDY.format(name=study.name)] if any(row.left_aside for row in rows) else []),
        ),
        notes_of=lambda row: caveat_notes(each.comparison for each in rows if each.comparison),
        records_of=lambda row: row.records,
    )
