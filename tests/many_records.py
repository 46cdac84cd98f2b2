"""A results folder with thousands of made-up records, as a long campaign leaves it, and training curves beside some.

PYTHONPATH=tests python tests/many_records.py FOLDER [COUNT]
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from sample_records import aw_speed_record, latency_record, make_record, training_record
from study_records import COCO, IMAGENET, study_run

from awbench.records import Quantity, Record
from awbench.studies import load_study
from awbench.variants import STRIDE_PLACEMENTS, ModelOptions, describe_options, list_variants

_DIGITS = load_study("digits")
_CURVES = 240  # runs that still have their metrics
_STEPS = 400


def many_records(count: int) -> list[Record]:
    """So many records, none equal to another: half trainings, a fifth each of counts and latencies, a tenth of AW."""
    parts = ((_trainings, 0.5), (_counts, 0.2), (_latencies, 0.2), (_aw_speeds, 0.1))
    return [record for make, share in parts for record in islice(make(), round(count * share))]


def _trainings() -> Iterator[Record]:
    """The studies to the last look, then trainings that no study made, on ever more seeds."""
    noise = random.Random(1)
    for study, mean in ((IMAGENET, 78.0), (COCO, 42.0), (_DIGITS, 98.0)):
        for label in study.labels:
            for seed in range(study.runs_of(label)):
                yield study_run(study, label, seed, mean + noise.gauss(0, 0.1))
    names = [v.name for v in list_variants() if v.architecture.family == "imagenet" and v.architecture.is_resnet]
    for seed in range(10**9):
        for name in names:
            mean = 42 if name.startswith("faster_rcnn") else 77
            yield training_record(name, mean + noise.gauss(0, 0.1), seed, device=f"GPU {seed % 3}", world=8)


def _counts() -> Iterator[Record]:
    values = make_record().values
    for source in range(10**9):
        for placement in STRIDE_PLACEMENTS:
            for place, variant in enumerate(list_variants("classification")):
                yield make_record(
                    variant=variant.name,
                    options=describe_options(variant, ModelOptions(stride_placement=placement)),
                    settings={"image_size": variant.architecture.image_size, "cross_check": False},
                    inputs={"source_sha256": f"{source:064d}"},
                    values={n: Quantity(value=q.value + 1000 * place, unit=q.unit) for n, q in values.items()},
                )


def _latencies() -> Iterator[Record]:
    names = [variant.name for variant in list_variants("classification")]
    for run, batch in enumerate(cycle((1, 2, 4, 8, 16, 32))):
        for place, name in enumerate(names):
            ratio = 1 + place / 100
            record = latency_record(name, (ratio, ratio - 0.01, ratio + 0.01), batch_size=batch, source=f"{run:064d}")
            yield record.model_copy(update={"environment": {"run": str(run)}})


def _aw_speeds() -> Iterator[Record]:
    for run in range(10**9):
        for method, ratio in (("plain", None), ("grouped", 4.0), ("direct", 1.2), ("auto", 1.25), ("se", 0.1)):
            record = aw_speed_record(method, ratio, str(run % 10), 2 ** (run % 6))
            environment = {**record.environment, "run": str(run)}
            inputs = {**record.inputs, "source_sha256": f"{run:064d}"}
            yield record.model_copy(update={"environment": environment, "inputs": inputs})


def write(folder: Path, records: list[Record]) -> None:
    """Files as `RecordStore.add` names them, without its fsync and its listing of the folder for each."""
    for number, record in enumerate(records, 1):
        name = f"{record.variant}-{record.key[:12]}-20260101T000000Z-{number:06d}-{number:06x}.json"
        path = folder / "records" / record.kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.to_json())
    trained = [record for record in records if record.kind in ("accuracy", "detection")]
    for record in trained[:: max(1, len(trained) // _CURVES)]:
        metric = "top1_percent" if record.kind == "accuracy" else "ap50"
        losses = ({"step": 50 * n, "loss": 7 / n} for n in range(1, _STEPS))
        rows = [{**row, metric: 70 - row["loss"]} if row["step"] % 500 == 0 else row for row in losses]
        path = folder / "runs" / f"{record.variant}-run-{record.key[:8]}" / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write(Path(sys.argv[1]), many_records(int(sys.argv[2]) if len(sys.argv) > 2 else 5000))
