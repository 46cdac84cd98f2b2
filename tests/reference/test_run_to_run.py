"""Published scatter between runs: rows, what is no estimate, error rates."""

from __future__ import annotations

import statistics

import pytest
from pydantic import ValidationError

from awbench.reference.load import load_references
from awbench.reference.run_to_run import RunToRun, run_to_run

OURS = load_references().run_to_run


def row(**changes):
    fields = {
        "what": "somebody", "of": "training", "dataset": "ImageNet-1k val", "metric": "top1", "unit": "percent",
        "provenance": "primary", "url": "https://example.org",
    }  # fmt: skip
    return RunToRun.model_validate({**fields, **changes})


def test_reruns_and_stated_deviations_are_read_alike():
    reruns, stated = row(reruns=[77.0, 77.2, 77.1]), row(deviation=0.06, variant="resnet101")
    first, second = run_to_run([reruns, stated, row(tolerance=0.3)], "imagenet", "top1")
    assert (first.deviation, first.runs) == (pytest.approx(0.1), 3)
    assert (second.deviation, second.runs, second.variant) == (0.06, None, "resnet101"), "runs are not known"


def test_what_is_no_estimate_of_scatter_is_left_out():
    assert run_to_run([row(reruns=[77.0, 77.2], no_estimate="two recipes")], "imagenet", "top1") == []
    torchvision = next(entry for entry in OURS if len(entry.reruns) == 3 and entry.url.endswith("issues/5593"))
    assert "below the published value" in torchvision.no_estimate
    assert 0.2 < statistics.stdev(torchvision.reruns) < 0.3
    known = run_to_run(OURS, "ImageNet-1k val", "top1")
    assert all(found.deviation < 0.2 for found in known if found.runs)


def test_an_error_rate_deviates_as_its_accuracy_does():
    error = row(metric="top1_error", mean=22.08, deviation=0.06, runs=5)
    assert float(error.in_accuracy.mean) == pytest.approx(77.92)
    assert run_to_run([error], "imagenet", "top1") == run_to_run([error], "imagenet", "top1_error") != []
    assert not any(entry.metric.endswith("_error") for entry in OURS)


@pytest.mark.parametrize(
    ("dataset", "metric", "expected"),
    [
        ("imagenet", "top1", {(0.06, 5), (0.12, 5), (0.118, 1000), (0.085, 8)}),
        ("coco", "box_ap", {(0.1, 5), (0.2, 5), (0.136, 15)}),
        ("cifar10", "top1", {(0.16, 5), (0.149, 60000)}),
        ("cifar100", "top1", {(0.24, 3)}),
        ("fashion-mnist", "top1", {(0.04, None), (0.07, None)}),
    ],
)
def test_the_facts_that_were_handed_over_are_there(dataset, metric, expected):
    assert {(found.deviation, found.runs) for found in run_to_run(OURS, dataset, metric)} >= expected


def test_detectors_say_whether_runs_shared_their_backbone():
    found = run_to_run(OURS, "coco", "box_ap")
    shared = [entry.deviation for entry in found if entry.pre_training == "shared"]
    each = [entry.deviation for entry in found if entry.pre_training == "each"]
    assert shared == [pytest.approx(0.065, abs=0.001)]
    assert len(each) == 7 and min(each) == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "give reruns, deviation or tolerance"),
        ({"reruns": [1, 2], "deviation": 0.1}, "not both"),
        ({"tolerance": 0.1, "runs": 3}, "give deviation too"),
        ({"deviation": 0.1, "pre_training": "each"}, "stated of detectors"),
        ({"deviation": 0.1, "variant": "resnet51"}, "did you mean"),
        ({"deviation": 0}, "greater than 0"),
        ({"deviation": 0.1, "runs": 1}, "greater than or equal to 2"),
        ({"deviation": 0.1, "dataset": "MNIST"}, "dataset 'MNIST' is not known"),
    ],
)
def test_a_wrong_row(changes, message):
    with pytest.raises(ValidationError, match=message):
        row(**changes)
