"""A forest plot of claimed and measured gains."""

from __future__ import annotations

from collections.abc import Sequence

from awbench.recipes.datasets import title_of
from awbench.report.answers import shown_answer, shown_interval, shown_look
from awbench.report.claims import ClaimRow, claim_rows, claimed, status_of, verdict_text
from awbench.report.figures.figure import SOFT, Figure, new_figure
from awbench.report.figures.forest import ForestRow, draw_forest, forest_key, limits
from awbench.report.names import display_name, setting_title
from awbench.variants import list_settings
from awbench.verdicts.claims import JudgedClaim
from awbench.verdicts.runs import values_of
from awbench.verdicts.study import claimed_gain

STATUS_COLOURS = {
    "as claimed": "#00714f",
    "less than claimed": "#b3261e",
    "more than claimed": "#00558c",
    "undecided": "#8a6100",
    "too early": SOFT,
    "not measured": SOFT,
}


def claims_figure(claims: Sequence[JudgedClaim]) -> Figure | None:
    """A row for each claim, and one below it for each of several pairs that was measured; None before any was."""
    rows = [_row(row) for judged in claims for row in claim_rows(judged)]
    if all(row.value is None for row in rows):
        return None
    with new_figure(
        "claims",
        "Claims of gains, and what was measured",
        "Bands: the claimed gain and the margin within which a gain counts as it. Points: measured gains with the "
        "confidence intervals that decide; hollow ones are too wide to say anything, and clipped. "
        "A band without a point was not measured here.",
        1.1 + 0.42 * len(rows),
    ) as figure:
        axes = figure.drawing.subplots()
        ends = limits(rows, 0)
        draw_forest(figure, axes, rows, 0, ends)
        forest_key(figure, [rows], ends, "the claimed gain and its margin")
        axes.set_xlabel("gain (percentage points, or AP points)")
    return figure


def _row(row: ClaimRow) -> ForestRow:
    claim, judged, gain = row.claim, row.judged, claimed_gain(row.claim)
    interval = row.comparison.interval if row.comparison else judged.interval
    status = status_of(row.comparison if row.pair and row.comparison else judged)
    text = f"{claim.id}: {claimed(claim)}, margin {gain.margin:g}; {judged.source.title}, {judged.provenance}"
    return ForestRow(
        label=_label(row),
        shown=shown_interval(interval) if interval else status,
        value=interval.value if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        colour=STATUS_COLOURS[status],
        text=_text(row),
        band=(gain.low, gain.high),
        band_text=f"{text}; {verdict_text(judged)}",
    )


def _label(row: ClaimRow) -> str:
    """E.g. "ImageNet: AW-ResNet-101", "ImageNet: AW-SE or AW-CBAM"."""
    if row.pair and row.comparison:
        return display_name(row.comparison.comparison.variant).removeprefix("Faster R-CNN ")
    settings, variants = list_settings(), row.claim.sides[0]
    named = [setting_title(name) if name in settings else display_name(name) for name in variants]
    title = title_of(row.claim.dataset_name).split("-1k")[0].split(" 20")[0]
    return f"{title}: {' or '.join(named).removeprefix('Faster R-CNN ')}"


def _text(row: ClaimRow) -> str:
    interval = row.comparison.interval if row.comparison else row.judged.interval
    if row.comparison is None:
        return shown_interval(interval)
    pair = row.comparison
    runs = "; ".join(
        f"{name}: {', '.join(f'{value:.2f}' for value in values_of(side, pair.study.metric))}"
        for name, side in ((pair.comparison.variant, pair.treated), (pair.comparison.over, pair.baseline))
    )
    return f"{shown_interval(interval)}; {shown_answer(pair)}; {shown_look(pair)}; runs {runs}"
