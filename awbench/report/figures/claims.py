"""A forest plot of claimed and measured gains."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from awbench.report.answers import shown_answer, shown_interval, shown_look
from awbench.report.claims import ClaimRow, claim_rows, claimed, headline, status_of, verdict_text
from awbench.report.figures.figure import Figure, new_figure
from awbench.verdicts.claims import JudgedClaim
from awbench.verdicts.runs import values_of
from awbench.verdicts.study import claimed_gain

STATUS_COLOURS = {
    "as claimed": "#00714f",
    "less than claimed": "#b3261e",
    "more than claimed": "#00558c",
    "undecided": "#8a6100",
    "too early": "#6b6b6b",
    "not measured": "#6b6b6b",
}


def claims_figure(claims: Sequence[JudgedClaim]) -> Figure:
    """One line for each claim, and one below it for each of several pairs that was measured."""
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
            _draw_gain(figure, axes, place, row)
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("gain (percentage points, or AP points)")
    return figure


def _label(row: ClaimRow) -> str:
    if row.pair and row.comparison:
        variant = row.comparison.comparison.variant.removeprefix("faster_rcnn_").removesuffix("_fpn")
        return f"{variant}\n{shown_answer(row.comparison)}"
    return f"{row.claim.id}\n{headline(row.judged)}"


def _draw_claim(figure: Figure, axes: Axes, place: int, row: ClaimRow) -> None:
    claim, judged, gain = row.claim, row.judged, claimed_gain(row.claim)
    band = axes.barh(place, 2 * gain.margin, left=gain.low, height=0.62, color="#dfe7ee", linewidth=0)[0]
    text = f"{claim.id}: {claimed(claim)}, margin {gain.margin:g}; {judged.source.title}, {judged.provenance}"
    figure.describe(band, f"{text}; {verdict_text(judged)}")
    axes.plot([gain.value, gain.value], [place - 0.31, place + 0.31], color="#7a97b0", linewidth=1.2)


def _draw_gain(figure: Figure, axes: Axes, place: int, row: ClaimRow) -> None:
    interval = row.comparison.interval if row.comparison else row.judged.interval
    if interval is None:
        return
    colour = STATUS_COLOURS[status_of(row.comparison if row.pair and row.comparison else row.judged)]
    axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=1.6)
    (point,) = axes.plot(interval.value, place, "o", color=colour, markersize=5)
    text = shown_interval(interval)
    if row.comparison:
        pair = row.comparison
        runs = "; ".join(
            f"{name}: {', '.join(f'{value:.2f}' for value in values_of(side, pair.study.metric))}"
            for name, side in ((pair.comparison.variant, pair.treated), (pair.comparison.over, pair.baseline))
        )
        text = f"{text}; {shown_answer(pair)}; {shown_look(pair)}; runs {runs}"
    figure.describe(point, text)
