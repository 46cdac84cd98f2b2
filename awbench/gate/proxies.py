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

from awbench.gate.checks import HOLDS, NOT_MEASURED, OFF, Check, Status, not_measured
from awbench.gate.locked import locked_folder
from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining, Training
from awbench.reference.yaml_files import load_validated
from awbench.validation import Strict
from awbench.verdicts.interval import simultaneous
from awbench.verdicts.measured import digits_runs, shapes_runs
from awbench.verdicts.runs import by_seed, values_of
from awbench.verdicts.statistics import LEVEL, welch_difference

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
    for record in shapes_runs(records):
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
        plain = {**row.model_dump(), "values": [float(value) for value in row.values]}
        flow = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()
        rows.append(f"  - {flow}")
    return "\n".join([*lines, "runs:" if rows else "runs: []", *rows]) + "\n"


def _training_digest(record: Record) -> str:
    """Of how it was trained."""
    settings = record.settings
    assert isinstance(settings, Training), "digits_runs and shapes_runs give trainings alone"
    how = json.dumps([settings.recipe.json_object, settings.protocol], sort_keys=True)
    return hashlib.sha256(how.encode()).hexdigest()[:12]


def check_proxies(records: Records, locked: Sequence[LockedRuns]) -> list[Check]:
    """Proxy runs must not lie apart from the locked ones, in either direction: Welch's t, Bonferroni-corrected."""
    present = {(runs.variant, runs.engine, runs.metric): runs for runs in proxy_runs(records)}
    level = simultaneous(LEVEL, len(locked))
    checks = []
    for row in locked:
        name = f"{row.variant} {row.metric} on {f'shapes, {row.engine}' if row.engine else 'digits'}"
        runs = present.get((row.variant, row.engine, row.metric))
        if runs is None:
            requirement = f"needs 'awbench reproduce'{' and Detectron2' if row.engine == 'detectron2' else ''}"
            checks.append(not_measured("proxy", name, requirement))
        elif runs.training != row.training:
            requirement = "the recipe was changed since its runs were locked: needs 'awbench lock'"
            checks.append(not_measured("proxy", name, requirement))
        else:
            status, message = _hold(runs, row, level)
            checks.append(Check("proxy", name, status, message))
    return checks


def _hold(runs: LockedRuns, row: LockedRuns, level: float) -> tuple[Status, str]:
    """(status, why) of present runs beside locked ones."""
    now, then = ([float(value) for value in side.values] for side in (runs, row))
    if now == then:
        return HOLDS, f"the locked values, over {len(now)} run(s)"
    least, mean = _LEAST[row.metric] * statistics.fmean(then), statistics.fmean(now)
    if mean < least:
        return OFF, f"mean {mean:.2f}, far below the locked runs: least {least:.2f}"
    difference = welch_difference(now, then, level)
    words = f"{difference.value:+.2f} to the locked runs"
    if not difference.low < difference.high:  # one run, or no deviation between runs
        return NOT_MEASURED, f"{words}; {NOT_MEASURED}: needs two runs or more of each"
    off = difference.low > 0 or difference.high < 0
    interval = f"{level:.1%} interval {difference.low:+.2f} to {difference.high:+.2f}"
    return OFF if off else HOLDS, f"{words}, {interval}"
