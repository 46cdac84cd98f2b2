"""Records and references to tables. Nothing is measured here: a table can always be made again."""

from __future__ import annotations

from collections.abc import Callable

from awbench.records import Records
from awbench.reference.load import References
from awbench.report.aw_speed import aw_speed_table
from awbench.report.claims import claims_table
from awbench.report.complexity import complexity_table, detectors_table, grid_table
from awbench.report.imported import imported_table
from awbench.report.latency import speed_table
from awbench.report.looks import looks_table
from awbench.report.proxies import digits_detection_table, proxy_table
from awbench.report.published import published_table
from awbench.report.repeats import repeats_table
from awbench.report.runs import runs_table
from awbench.report.studies import studies_table
from awbench.report.table import Table

TABLES: dict[str, Callable[[Records, References], Table]] = {
    "complexity": complexity_table,
    "grid": grid_table,
    "accuracy": published_table("accuracy"),
    "proxy": proxy_table,
    "detectors": detectors_table,
    "digits-detection": digits_detection_table,
    "detection": published_table("detection"),
    "latency": speed_table,
    "published-latency": published_table("latency"),
    "aw-speed": aw_speed_table,
    "claims": claims_table,
    "studies": studies_table,
    "looks": looks_table,
    "runs": runs_table,
    "repeats": repeats_table,
    "imported": imported_table,
}
