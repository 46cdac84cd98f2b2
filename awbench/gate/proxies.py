"""The project's own proxy runs, locked: later ones must not lie apart from them."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal

import yaml

from awbench.gate.checks import FAIL, NOT_MEASURED, PASS, Check, Status, not_measured
from awbench.gate.locked import locked_folder
from awbench.recipes.datasets import DATASET_FACTS
from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining, Training
from awbench.validation import Strict
from awbench.verdicts.agreement import LEVEL
from awbench.verdicts.interval import gain_interval, simultaneous
from awbench.verdicts.measured import digits_detection_runs, digits_runs
from awbench.verdicts.runs import by_seed, values_of
from awbench.yaml_files import load_validated

# Of the locked mean: below it something is broken, however few the runs are or far they lie apart. Chosen.
_LEAST = {"top1": 0.97, "ap50": 0.5}


class LockedRuns(Strict):
    """The proxy runs of one network that later ones are held to: one value a seed.

    Attributes:
        training: digest of recipe and protocol; other trainings are not comparable.
    """

    variant: str
    engine: str = ""
    metric: Literal["top1", "ap50"]
    training: str
    values: list[Decimal]

    @property
    def numbers(self) -> list[float]:
        return [float(value) for value in self.values]


class _RunsFile(Strict):
    schema_version: Literal[1]
    runs: list[LockedRuns]


def runs_path() -> Path:
    return locked_folder() / "proxy.yaml"


def load_locked_runs(path: Path | None = None) -> list[LockedRuns]:
    """Raises: UserError: the file cannot be read or breaks its schema."""
    return load_validated(path or runs_path(), _RunsFile).runs


def proxy_runs(records: Records) -> list[LockedRuns]:
    """The proxy runs among the records, in the form in which they are locked."""
    groups: dict[tuple[str, str, Literal["top1", "ap50"]], list[Record]] = {}
    for record in digits_runs(records):
        if "top1" in record.values:
            groups.setdefault((record.variant, "", "top1"), []).append(record)
    for record in digits_detection_runs(records):
        if isinstance(record.settings, DetectorTraining) and "ap50" in record.values:
            groups.setdefault((record.variant, record.settings.engine, "ap50"), []).append(record)
    return [
        LockedRuns(
            variant=variant,
            engine=engine,
            metric=metric,
            training=_training_digest(runs[0]),
            values=[Decimal(repr(value)) for value in values_of(by_seed(runs).values(), metric)],
        )
        for (variant, engine, metric), runs in sorted(groups.items())
    ]


def runs_to_yaml(runs: Iterable[LockedRuns]) -> str:
    """The locked file's content."""
    lines = [
        "# Proxy runs that later ones are held to, one value a seed, see `awbench check`. Made by `make lock` from the",
        "# records of `make reproduce`; change it only with a reason in the commit message.",
        "schema_version: 1",
    ]
    rows = []
    for row in runs:
        plain = {**row.model_dump(), "values": row.numbers}
        flow = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()
        rows.append(f"  - {flow}")
    return "\n".join([*lines, "runs:" if rows else "runs: []", *rows]) + "\n"


def _training_digest(record: Record) -> str:
    """Of how it was trained."""
    settings = record.settings
    assert isinstance(settings, Training), "digits_runs and digits_detection_runs give trainings alone"
    how = json.dumps([settings.recipe.json_object, settings.protocol], sort_keys=True)
    return hashlib.sha256(how.encode()).hexdigest()[:12]


def check_proxies(records: Records, locked: Sequence[LockedRuns]) -> list[Check]:
    """Proxy runs must not lie apart from the locked ones, in either direction, by the interval of a gain.

    Corrected for the number of locked rows, and pooled over all of one metric and engine, as a study is over its
    networks.
    """
    present = {_group(runs): runs for runs in proxy_runs(records)}
    checks = []
    for row in locked:
        name = f"{row.variant} {row.metric} on {f'digits-detection, {row.engine}' if row.engine else 'digits'}"
        runs = present.get(_group(row))
        if runs is None:
            study = "digits-detection" if row.engine else "digits"
            engine = " and Detectron2" if row.engine == "detectron2" else ""
            checks.append(not_measured("proxy", name, f"needs 'awbench study run {study}'{engine}"))
        elif runs.training != row.training:
            requirement = "the recipe was changed since its runs were locked: needs 'awbench lock'"
            checks.append(not_measured("proxy", name, requirement))
        else:
            others = {  # runs that are the locked ones again count once
                (side.variant, tuple(side.numbers))
                for side in (*present.values(), *locked)
                if (side.metric, side.engine, side.training) == (row.metric, row.engine, row.training)
                and side.variant != row.variant
            }
            status, message = _hold(
                runs, row, [values for _, values in sorted(others)], simultaneous(LEVEL, len(locked))
            )
            checks.append(Check("proxy", name, status, message))
    return checks


def _group(runs: LockedRuns) -> tuple[str, str, str]:
    return runs.variant, runs.engine, runs.metric


def _hold(runs: LockedRuns, row: LockedRuns, others: Sequence[Sequence[float]], level: float) -> tuple[Status, str]:
    """(status, why) of present runs beside locked ones. Args: others, runs of the other networks."""
    now, then = runs.numbers, row.numbers
    if now == then:
        return PASS, f"the locked values, over {len(now)} run(s)"
    least, mean = _LEAST[row.metric] * statistics.fmean(then), statistics.fmean(now)
    if mean < least:
        return FAIL, f"mean {mean:.2f}, far below the locked runs: least {least:.2f}"
    resolution = DATASET_FACTS["digits-detection" if row.engine else "digits"].resolution
    interval = gain_interval(now, then, others, level, resolution)
    if interval is None:
        difference = mean - statistics.fmean(then)
        return NOT_MEASURED, f"{difference:+.2f} to the locked runs; {NOT_MEASURED}: needs two runs or more of each"
    off = interval.low > 0 or interval.high < 0
    shown = f"{level:.2%} interval {interval.low:+.2f} to {interval.high:+.2f}"
    return FAIL if off else PASS, f"{interval.value:+.2f} to the locked runs, {shown}"
