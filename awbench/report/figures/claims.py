"""A forest plot of claimed and measured gains."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from awbench.records import Records
from awbench.reference.load import References
from awbench.report.claims import claimed, describe, needs
from awbench.report.figures.picture import WIDTH_INCHES, Picture, style
from awbench.verdicts.claims import JudgedClaim, Pair, judge_claims, margin_of, values_of

OUTCOME_COLOURS = {
    "reproduced": "#00714f",
    "contradicted": "#b3261e",
    "inconclusive": "#8a6100",
    "not measured": "#6b6b6b",
}


def claims_picture(records: Records, references: References) -> Picture:
    """A line for each claim, and one below it for each pair of networks that was measured."""
    lines: list[tuple[JudgedClaim, Pair | None]] = []
    for judged in judge_claims(records, references):
        measured = [pair for pair in judged.pairs if pair.measured]
        lines += [(judged, measured[0])] if len(judged.pairs) == 1 and measured else [(judged, None)]
        lines += [(judged, pair) for pair in measured] if len(judged.pairs) > 1 else []
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, 1.0 + 0.46 * len(lines)), layout="constrained")
        picture = Picture(
            "claims",
            "Claims of gains, and what was measured",
            "Bands: the claimed gain and the margin within which a gain counts as it. Points: measured gains with the "
            "confidence intervals that decide. A band without a point was not measured here.",
            figure,
        )
        axes = figure.subplots()
        for place, (judged, pair) in enumerate(lines):
            _draw_line(picture, axes, place, judged, pair)
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_yticks(range(len(lines)), [_label(judged, pair) for judged, pair in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlabel("gain (percentage points, or AP points)")
    return picture


def _label(judged: JudgedClaim, pair: Pair | None) -> str:
    if pair is None or len(judged.pairs) == 1:
        return f"{judged.claim.id}\n{judged.outcome}"
    return f"{pair.variant.removeprefix('faster_rcnn_').removesuffix('_fpn')}\n{pair.verdict.outcome}"


def _draw_line(picture: Picture, axes: Axes, place: int, judged: JudgedClaim, pair: Pair | None) -> None:
    claim = judged.claim
    delta, margin = float(claim.delta), margin_of(claim)
    band = axes.barh(place, 2 * margin, left=delta - margin, height=0.62, color="#dfe7ee", linewidth=0)[0]
    words = f"{claim.id}: {claimed(claim)}, margin {margin:g}; {judged.source.title}, {judged.standing}"
    picture.mark(band, f"{words}; {needs(judged)}" if judged.outcome == "not measured" else words)
    axes.plot([delta, delta], [place - 0.31, place + 0.31], color="#7a97b0", linewidth=1.2)
    if pair is None:
        return
    difference = pair.verdict.difference
    assert difference is not None, "it was measured"
    colour = OUTCOME_COLOURS[pair.verdict.outcome]
    if not math.isnan(difference.low):
        axes.plot([difference.low, difference.high], [place, place], color=colour, linewidth=1.6)
    (point,) = axes.plot(difference.value, place, "o", color=colour, markersize=5)
    runs = "; ".join(
        f"{name}: {', '.join(f'{value:.2f}' for value in values_of(of, claim.metric))}"
        for name, of in ((pair.variant, pair.treated), (pair.over, pair.baseline))
    )
    interval = f"{difference.low:+.2f} to {difference.high:+.2f}" if not math.isnan(difference.low) else "unknown"
    picture.mark(point, f"{difference.value:+.2f} ({interval}); {describe(pair.verdict, claim)}; runs {runs}")
