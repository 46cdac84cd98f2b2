"""Tables of accuracy, from records."""

from __future__ import annotations

import math
from typing import Any

from awbench.records import Record, RecordStore
from awbench.reference.load import References
from awbench.reference.measured import by_seed, digits_runs
from awbench.reference.statistics import Difference, mean_and_spread, welch_difference
from awbench.report.formats import Table
from awbench.variants import Variant, classification_name, list_variants

PROXY_NOTE = (
    "A proxy on 8x8 handwritten digits: it shows that every variant trains through the same code; "
    "it is no evidence on ImageNet or COCO."
)


def proxy_table(store: RecordStore, references: References) -> Table:
    """Digits: mean and spread over seeds, and what AW adds to the same network without it."""
    records = digits_runs(store)
    rows, objects, origins = [], [], []
    for variant in list_variants("classification"):
        runs = _top1(records, variant.name)
        if not runs:
            continue
        mean, spread = mean_and_spread(list(runs.values()))
        baseline = _top1(records, _without_aw(variant)) if variant.aw else {}
        difference = welch_difference(list(runs.values()), list(baseline.values())) if baseline else None
        rows.append(
            (
                variant.name,
                str(len(runs)),
                f"{mean:.2f}",
                "unknown" if math.isnan(spread) else f"{spread:.2f}",
                f"{min(runs.values()):.2f}",
                _without_aw(variant) if difference else "",
                shown_difference(difference),
            )
        )
        objects.append(_object(variant, runs, mean, spread, difference))
        compared = (variant.name, _without_aw(variant)) if difference else (variant.name,)
        origins.append(tuple(record.key for record in records if record.variant in compared))
    if not rows:
        needs = "not measured: needs 'awbench reproduce' or 'awbench sweep'"
        rows, objects = [("digits", "", needs, "", "", "", "")], [{"variant": "digits", "verdict": needs}]
    columns = ("variant", "runs", "top-1 mean (%)", "standard deviation", "lowest", "over", "AW adds (95 % interval)")
    notes = (
        PROXY_NOTE,
        "The interval is Welch's t over runs with different seeds; it covers 0 where nothing is shown.",
    )
    return Table("Digits, a proxy", columns, rows, objects, notes, frozenset(columns[1:5]), origins)


def _top1(records: list[Record], variant: str) -> dict[int, float]:
    """seed -> final top-1 in percent."""
    runs = by_seed(record for record in records if record.variant == variant)
    return {seed: float(record.value("top1")) for seed, record in runs.items()}


def _without_aw(variant: Variant) -> str:
    return classification_name(variant.architecture_name, variant.attention, False)


def shown_difference(difference: Difference | None) -> str:
    """E.g. "+0.65 (-0.34 to +1.64)"; empty without a baseline."""
    if difference is None:
        return ""
    if math.isnan(difference.low):
        return f"{difference.value:+.2f} (interval unknown: one run)"
    return f"{difference.value:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"


def _object(
    variant: Variant, runs: dict[int, float], mean: float, spread: float, difference: Difference | None
) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        "variant": variant.name,
        "dataset": "digits",
        "proxy": True,
        "top1_by_seed": {str(seed): top1 for seed, top1 in sorted(runs.items())},
        "top1_mean": mean,
        "top1_standard_deviation": number(spread),
        "over": _without_aw(variant) if difference else None,
        "difference": difference.value if difference else None,
        "interval": [number(difference.low), number(difference.high)] if difference else None,
        "level": difference.level if difference else None,
    }
