"""Which runs are found, and that nothing but the records decides it."""

from __future__ import annotations

from sample_records import training_record

from awbench.records import Records
from awbench.verdicts.runs import by_seed, values_of


def test_records_of_a_network_are_those_of_a_search_through_all():
    names = ("resnet50", "aw_resnet50", "faster_rcnn_resnet50_fpn")
    runs = [training_record(name, seed=seed) for seed in range(3) for name in names]
    records, others = Records(runs), Records(runs[:3])
    for kind in ("accuracy", "detection", "latency"):
        for name in (*names, "resnet18"):
            assert records.of_network(kind, name) == [r for r in records.of_kind(kind) if r.variant == name]
            assert len(others.of_network(kind, name)) <= 1


def test_the_run_of_a_seed_that_was_recorded_last_counts_whatever_the_clock_said():
    later = "2026-02-01T00:00:00.000000Z"
    runs = [
        training_record("resnet50", 76.0, 2),
        training_record("resnet50", 75.0, 0, finished=later),
        training_record("resnet50", 74.0, 0),
    ]
    assert values_of(by_seed(runs).values(), "top1") == [74.0, 76.0]
