"""A forest plot for each study that has an interval to show: of our own questions, and of the smoke test on digits."""

from __future__ import annotations

from awbench.records import Records
from awbench.report.answers import shown_interval
from awbench.report.figures.figure import Figure, new_figure
from awbench.report.figures.forest import ForestRow, draw_forest, forest_key, limits
from awbench.report.names import architecture_title, metric_title, pair_title
from awbench.report.studies import answer_sentence, own_questions
from awbench.studies import load_study
from awbench.verdicts.answers import Gain
from awbench.verdicts.study import JudgedComparison, JudgedStudy, judge_study

_COLOURS: dict[Gain, str] = {
    "gain": "#00714f",
    "loss": "#b3261e",
    "no difference that matters": "#00558c",
    "undecided": "#8a6100",
}
_PROXY = " A smoke test on {title}: no evidence on ImageNet or COCO."


def study_figures(records: Records) -> list[Figure]:
    """Of every study that has an interval to show, the smoke test last."""
    judged = [*own_questions(records), judge_study(load_study("digits"), records)]
    return [_figure(study) for study in judged if any(pair.interval for pair in study.comparisons)]


def _figure(judged: JudgedStudy) -> Figure:
    study = judged.study
    rows = [_row(compared) for compared in judged.comparisons]
    matters = f" Band: less than the {study.matters:g} points that were decided to matter." if study.matters else ""
    proxy = _PROXY.format(title=study.facts.title) if study.facts.proxy else ""
    networks = sorted({study.variant_of(label).architecture_name for label in study.labels})
    with new_figure(
        f"study-{study.name}",
        study.title,
        f"{', '.join(map(architecture_title, networks))}. Points: measured gains with the intervals that decide, "
        f"at the study's level over all looks; hollow ones are too wide to say anything, and clipped.{matters}{proxy}",
        1.0 + 0.42 * len(rows),
    ) as figure:
        axes = figure.drawing.subplots()
        ends = limits(rows, 0)
        draw_forest(figure, axes, rows, 0, ends)
        forest_key(figure, [rows], ends, f"less than the {study.matters or 0:g} points that matter")
        unit = "percentage" if study.task == "classification" else "AP"
        axes.set_xlabel(f"gain ({unit} points of {metric_title(study.metric)})")
    return figure


def _row(judged: JudgedComparison) -> ForestRow:
    study, interval = judged.study, judged.interval
    return ForestRow(
        label=pair_title(study, judged.comparison),
        shown=shown_interval(interval) if interval else "too early to look at",
        value=interval.value if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        colour=_COLOURS[judged.gain],
        text=answer_sentence(judged),
        band=(-study.matters, study.matters) if study.matters else None,
    )
