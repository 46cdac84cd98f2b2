"""Figures from records and references. Nothing is measured here."""

from __future__ import annotations

from awbench.records import Records
from awbench.reference.load import References
from awbench.report.figures.aw_speed import aw_speed_figures
from awbench.report.figures.claims import claims_figure
from awbench.report.figures.complexity import complexity_figure
from awbench.report.figures.figure import Figure
from awbench.report.figures.latency import latency_figures
from awbench.report.figures.published import published_figures
from awbench.report.figures.studies import study_figures
from awbench.report.figures.training import training_figures
from awbench.verdicts.claims import judge_claims

__all__ = ["Figure", "all_figures"]


def all_figures(records: Records, references: References) -> list[Figure]:
    """Every figure that the records and references give, in the order in which a reader wants them."""
    single = claims_figure(judge_claims(records, references)), complexity_figure(records)
    claims, complexity = ([figure] if figure else [] for figure in single)
    return [
        *claims,
        *study_figures(records),
        *published_figures(records, references),
        *complexity,
        *latency_figures(records),
        *aw_speed_figures(records),
        *training_figures(records),
    ]
