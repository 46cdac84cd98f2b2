"""Pictures from records and references. Nothing is measured here."""

from __future__ import annotations

from awbench.records import Records
from awbench.reference.load import References
from awbench.report.figures.accuracy import accuracy_pictures
from awbench.report.figures.aw_speed import aw_speed_pictures
from awbench.report.figures.claims import claims_picture
from awbench.report.figures.complexity import complexity_picture
from awbench.report.figures.latency import latency_pictures
from awbench.report.figures.picture import Picture
from awbench.report.figures.training import training_pictures

__all__ = ["Picture", "all_pictures"]


def all_pictures(records: Records, references: References) -> list[Picture]:
    """Every picture that the records and references give, in the order in which a reader wants them."""
    pictures = [claims_picture(records, references)]
    pictures += accuracy_pictures(records, references)
    pictures += latency_pictures(records)
    pictures += aw_speed_pictures(records)
    pictures += training_pictures(records)
    complexity = complexity_picture(records)
    return pictures + ([complexity] if complexity else [])
