"""Tables of detectors, from records."""

from __future__ import annotations

import math
from typing import Any

from awbench.records import Record, Records
from awbench.reference.load import ReferenceNumber, References
from awbench.reference.source import METRICS
from awbench.report.accuracy import shown_difference
from awbench.report.formats import Table
from awbench.variants import (
    STRIDE_PLACEMENTS,
    Variant,
    list_variants,
)
from awbench.verdicts.complexity import ComplexityIndex, Setting
from awbench.verdicts.evidence import ENGINES, by_seed, shapes_runs
from awbench.verdicts.statistics import mean_and_spread, welch_difference

# The size that `awbench complexity` counts detectors at by default, see `awbench.detection.complexity.DetectorInput`.
COUNTED_AT = ((800, 1088), 1000)
AP_METRICS = tuple(name for name, metric in METRICS.items() if metric.kind == "detection")
SHAPES_NOTE = (
    "A proxy on procedural shapes, from random weights in minutes: it shows that detectors train, resume and are "
    "evaluated through the same code as on COCO; it is no evidence on COCO."
)


def detectors_table(records: Records, references: References) -> Table:
    """The counts of every detector with default options, with either engine."""
    index = ComplexityIndex(records.of_kind("complexity"))
    size, proposals = COUNTED_AT
    rows: list[tuple[str, ...]] = []
    objects: list[dict[str, Any]] = []
    origins: list[tuple[str, ...]] = []
    for engine in ENGINES:
        for variant in list_variants("detection"):
            v1, v15 = (
                index.get_detector(variant.name, Setting(placement, size, engine, proposals))
                for placement in STRIDE_PLACEMENTS
            )
            if v15 is None:
                needs = f"not measured: needs 'awbench complexity {variant.name} --engine {engine}'"
                rows.append((variant.name, engine, needs, "", "", "", ""))
                objects.append({"variant": variant.name, "engine": engine, "measured": None, "needs": needs})
                origins.append(())
                continue
            values = v15.values
            origins.append(tuple(counted.record for counted in (v15, v1) if counted))
            rows.append(
                (
                    variant.name,
                    engine,
                    f"{values['params']:,}",
                    f"{values['trainable_params']:,}",
                    f"{values['macs'] / 1e9:.4f}",
                    f"{v1.values['macs'] / 1e9:.4f}" if v1 else "",
                    f"{values['aw_kernel_forming'] / 1e6:.3f}" if values["aw_kernel_forming"] else "0",
                )
            )
            objects.append(
                {
                    "variant": variant.name,
                    "engine": engine,
                    "image_size": list(size),
                    "proposals": proposals,
                    "params": values["params"],
                    "trainable_params": values["trainable_params"],
                    "macs": {"v1.5": values["macs"], **({"v1": v1.values["macs"]} if v1 else {})},
                    "aw_kernel_forming": values["aw_kernel_forming"],
                }
            )
    columns = (
        "variant", "engine", "params", "trainable", "GMACs (v1.5)", "GMACs (v1)", "kernel forming (M)",
    )  # fmt: skip
    return Table(
        title="Complexity of the detectors",
        columns=columns,
        rows=rows,
        objects=objects,
        notes=(
            f"For COCO's 80 categories: 80 and a background output with Detectron2, 91 with torchvision, whose outputs "
            f"are category ids. Multiply-accumulates of one image padded to {size[0]}x{size[1]} pixels, with "
            f"{proposals:,} proposals.",
            "Trainable: stem and first stage frozen, normalisations a fixed scale and shift, as both model zoos train.",
        ),
        right_aligned=frozenset(columns[2:]),
        origins=origins,
    )


def shapes_table(records: Records, references: References) -> Table:
    """Procedural shapes: mean AP over seeds, and what AW adds, for each engine."""
    trained = shapes_runs(records)
    rows: list[tuple[str, ...]] = []
    objects: list[dict[str, Any]] = []
    origins: list[tuple[str, ...]] = []
    for engine in ENGINES:
        for variant in list_variants("detection"):
            runs = _by_seed(trained, variant.name, engine)
            if not runs:
                continue
            baseline = _by_seed(trained, _without_aw(variant), engine) if variant.aw else {}
            points = {name: _mean(runs, name) for name in AP_METRICS}
            ours, theirs = ([float(r.value("box_ap")) for r in side.values()] for side in (runs, baseline))
            difference = welch_difference(ours, theirs) if baseline else None
            seconds = _mean(runs, "train_time_per_iteration")
            origins.append(tuple(record.key for record in (*runs.values(), *baseline.values())))
            rows.append(
                (
                    variant.name,
                    engine,
                    str(len(runs)),
                    *("" if value is None else f"{value:.2f}" for value in points.values()),
                    "" if seconds is None else f"{seconds:.2f}",
                    shown_difference(difference),
                )
            )
            objects.append(
                {
                    "variant": variant.name,
                    "engine": engine,
                    "dataset": "shapes",
                    "proxy": True,
                    "runs": len(runs),
                    **points,
                    "train_time_per_iteration": seconds,
                    "over": _without_aw(variant) if difference else None,
                    "difference": difference.value if difference else None,
                    "interval": [_number(difference.low), _number(difference.high)] if difference else None,
                }
            )
    columns = ("variant", "engine", "runs", "AP", "AP50", "AP75", "APs", "APm", "APl", "s/iteration", "AW adds (AP)")
    if not rows:
        needs = "not measured: needs 'awbench reproduce' or 'awbench train faster_rcnn_resnet18_fpn'"
        rows, objects = [("shapes", "", needs, *[""] * 8)], [{"variant": "shapes", "verdict": needs}]
    return Table(
        "Procedural shapes, a proxy", columns, rows, objects, (SHAPES_NOTE,), frozenset(columns[2:10]), origins
    )


def _by_seed(records: list[Record], variant: str, engine: str) -> dict[int, Record]:
    return by_seed(r for r in records if r.variant == variant and r.settings["engine"] == engine)


def _mean(runs: dict[int, Record], name: str) -> float | None:
    values = [float(record.value(name)) for record in runs.values() if name in record.values]
    return mean_and_spread(values)[0] if values else None


def _without_aw(variant: Variant) -> str:
    return variant.name.replace("_aw_", "_")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def needs(number: ReferenceNumber) -> str:
    """What a detection number that is not measured needs."""
    engine = "Detectron2 (make detectron2), " if "detectron2" in number.convention.detector.lower() else ""
    return f"not measured: needs {engine}COCO and a CUDA GPU (AWBENCH_COCO=DIR awbench reproduce)"
