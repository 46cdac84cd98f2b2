"""A forest plot of claimed and measured gains."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from awbench.report.claims import ClaimRow, claim_rows, claimed, describe, requirement, shown_gain
from awbench.report.figures.figure import Figure, new_figure
from awbench.verdicts.claims import JudgedClaim, margin_of, values_of

OUTCOME_COLOURS = {
    "reproduced": "#00714f",
    "contradicted": "#b3261e",
    "inconclusive": "#8a6100",
    "not measured": "#6b6b6b",
}


def claims_figure(claims: Sequence[JudgedClaim]) -> Figure:
    """One line for each claim, and one below it for each pair of networks that was measured."""
    rows = [row for judged in claims for row in claim_rows(judged)]
    with new_figure(
        "claims",
        "Claims of gains, and what was measured",
        "Bands: the claimed gain and the margin within which a gain counts as it. Points: measured gains with the "
        "confidence intervals that decide. A band without a point was not measured here.",
        1.0 + 0.46 * len(rows),
    ) as figure:
        axes = figure.drawing.subplots()
        for place, row in enumerate(rows):
            _draw_claim(figure, axes, place, row)
            _draw_pair(figure, axes, place, row)
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("gain (percentage points, or AP points)")
    return figure


def _label(row: ClaimRow) -> str:
    if row.below and row.pair:
        return f"{row.pair.variant.removeprefix('faster_rcnn_').removesuffix('_fpn')}\n{row.pair.verdict.outcome}"
    return f"{row.claim.id}\n{row.judged.outcome}"


def _draw_claim(figure: Figure, axes: Axes, place: int, row: ClaimRow) -> None:
    claim, judged = row.claim, row.judged
    delta, margin = float(claim.delta), margin_of(claim)
    band = axes.barh(place, 2 * margin, left=delta - margin, height=0.62, color="#dfe7ee", linewidth=0)[0]
    text = f"{claim.id}: {claimed(claim)}, margin {margin:g}; {judged.source.title}, {judged.standing}"
    figure.describe(band, f"{text}; {requirement(judged)}" if judged.outcome == "not measured" else text)
    axes.plot([delta, delta], [place - 0.31, place + 0.31], color="#7a97b0", linewidth=1.2)


def _draw_pair(figure: Figure, axes: Axes, place: int, row: ClaimRow) -> None:
    pair, metric = row.pair, row.claim.metric
    if pair is None or pair.verdict.difference is None:
        return
    difference, colour = pair.verdict.difference, OUTCOME_COLOURS[pair.verdict.outcome]
    if not math.isnan(difference.low):
        axes.plot([difference.low, difference.high], [place, place], color=colour, linewidth=1.6)
    (point,) = axes.plot(difference.value, place, "o", color=colour, markersize=5)
    runs = "; ".join(
        f"{name}: {', '.join(f'{value:.2f}' for value in values_of(records, metric))}"
        for name, records in ((pair.variant, pair.treated), (pair.over, pair.baseline))
    )
    figure.describe(point, f"{shown_gain(pair)}; {describe(pair.verdict, row.claim)}; runs {runs}")
