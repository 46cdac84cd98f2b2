"""The project's own proxy runs, locked: later ones must not lie apart from them."""

from __future__ import annotations

import hashlib
import json
import statistics
from decimal import Decimal
from pathlib import Path
from typing import Literal

import yaml

from awbench.gate.checks import HOLDS, NOT_MEASURED, OFF, Check
from awbench.gate.locked import locked_folder
from awbench.records import Record, Records
from awbench.reference.load import load_validated
from awbench.validation import Strict
from awbench.verdicts.evidence import by_seed, digits_runs, shapes_runs
from awbench.verdicts.statistics import welch_difference

_PROXY_LEVEL = 0.95  # of all proxies together: each of n is judged at 1 - 0.05/n


# Of the locked mean: below it something is broken, however few the runs are or much they scatter. Chosen.
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
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for metric, runs in (("top1", digits_runs(records)), ("ap50", shapes_runs(records))):
        for record in runs:
            groups.setdefault((record.variant, record.settings.get("engine", ""), metric), []).append(record)
    return [
        LockedRuns(
            variant=variant,
            engine=engine,
            metric=metric,
            training=_training(records[0]),
            values=[Decimal(repr(float(record.value(metric)))) for record in by_seed(records).values()],
        )
        for (variant, engine, metric), records in sorted(groups.items())
    ]


def to_yaml(runs: list[LockedRuns]) -> str:
    """The locked file's content."""
    lines = [
        "# Proxy runs that later ones are held to, one value a seed, see `awbench check`. Made by `make lock` from the",
        "# records of `make reproduce`; change it only with a reason in the commit message.",
        "schema_version: 1",
        "runs:" if runs else "runs: []",
    ]
    for row in runs:
        plain = {**row.model_dump(), "values": [float(value) for value in row.values]}
        flow = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).strip()
        lines.append(f"  - {flow}")
    return "\n".join(lines) + "\n"


def _training(record: Record) -> str:
    """A digest of how it was trained."""
    what = json.dumps([record.settings["recipe"], record.settings["protocol"]], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()[:12]


def check_proxies(records: Records, locked: list[LockedRuns]) -> list[Check]:
    """Proxy runs must not lie apart from the locked ones, in either direction: Welch's t, Bonferroni-corrected."""
    present = {(runs.variant, runs.engine, runs.metric): runs for runs in proxy_runs(records)}
    checks = []
    for row in locked:
        name = f"{row.variant} {row.metric} on {'shapes' if row.engine else 'digits'}"
        name += f", {row.engine}" if row.engine else ""
        runs = present.get((row.variant, row.engine, row.metric))
        if runs is None:
            needs = f"needs 'awbench reproduce'{' and Detectron2' if row.engine == 'detectron2' else ''}"
            checks.append(Check("proxy", name, NOT_MEASURED, f"{NOT_MEASURED}: {needs}"))
            continue
        if runs.training != row.training:
            message = f"{NOT_MEASURED}: the recipe was changed since its runs were locked: needs 'awbench lock'"
            checks.append(Check("proxy", name, NOT_MEASURED, message))
            continue
        checks.append(_proxy_check(name, runs, row, 1 - (1 - _PROXY_LEVEL) / len(locked)))
    return checks


def _proxy_check(name: str, runs: LockedRuns, row: LockedRuns, level: float) -> Check:
    now, then = ([float(value) for value in side.values] for side in (runs, row))
    if now == then:
        return Check("proxy", name, HOLDS, f"the locked values, over {len(now)} run(s)")
    least = _LEAST[row.metric] * statistics.fmean(then)
    mean = statistics.fmean(now)
    if mean < least:
        return Check("proxy", name, OFF, f"mean {mean:.2f}, far below the locked runs: least {least:.2f}")
    difference = welch_difference(now, then, level)
    words = f"{difference.value:+.2f} to the locked runs"
    if not difference.low < difference.high:  # one run, or none that scatters
        return Check("proxy", name, NOT_MEASURED, f"{words}; {NOT_MEASURED}: needs two runs or more of each")
    off = difference.low > 0 or difference.high < 0
    interval = f"{level:.1%} interval {difference.low:+.2f} to {difference.high:+.2f}"
    return Check("proxy", name, OFF if off else HOLDS, f"{words}, {interval}")
