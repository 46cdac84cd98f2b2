"""A forest plot for each study of a question of our own."""

from __future__ import annotations

from awbench.records import Records
from awbench.report.answers import shown_answer
from awbench.report.figures.figure import Figure, new_figure
from awbench.report.studies import answer_sentence, own_questions
from awbench.verdicts.answers import Gain
from awbench.verdicts.study import JudgedStudy

_COLOURS: dict[Gain, str] = {
    "gain": "#00714f",
    "loss": "#b3261e",
    "no difference that matters": "#00558c",
    "undecided": "#8a6100",
}


def study_figures(records: Records) -> list[Figure]:
    """Of every study that has an interval to show."""
    return [
        _figure(judged)
        for judged in own_questions(records)
        if any(compared.interval for compared in judged.comparisons)
    ]


def _figure(judged: JudgedStudy) -> Figure:
    study = judged.study
    matters = f" Band: the {study.matters:g} points that were decided to matter." if study.matters else ""
    with new_figure(
        f"study-{study.name}",
        study.title,
        f"Points: measured gains with the intervals that decide, at the study's level over all looks.{matters}",
        0.9 + 0.42 * len(judged.comparisons),
    ) as figure:
        axes = figure.drawing.subplots()
        if study.matters:
            axes.axvspan(-study.matters, study.matters, color="#eef1f4", linewidth=0)
        axes.axvline(0, color="#999999", linewidth=0.8)
        labels = []
        for place, compared in enumerate(judged.comparisons):
            state = shown_answer(compared) if compared.interval else "too early"
            labels.append(f"{compared.comparison.variant}\nover {compared.comparison.over}: {state}")
            if compared.interval is None:
                continue
            interval, colour = compared.interval, _COLOURS[compared.gain]
            axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=1.6)
            (point,) = axes.plot(interval.value, place, "o", color=colour, markersize=5)
            figure.describe(point, answer_sentence(compared))
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel(f"gain ({'percentage' if study.task == 'classification' else 'AP'} points of {study.metric})")
    return figure
