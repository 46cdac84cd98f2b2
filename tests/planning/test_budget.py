"""What a budget buys, against sums by hand."""

from __future__ import annotations

import pytest
from study_records import COCO, IMAGENET, as_records, imagenet_pair, runs_of

from awbench.planning.budget import buy
from awbench.planning.hours import Hours
from awbench.planning.plan import plan
from awbench.planning.throughput import throughputs
from awbench.records import Records
from awbench.reference.load import load_references
from awbench.studies import load_studies

OURS = load_references()
# Hours of a run: six ImageNet networks of 10, six detectors of 100.
GIVEN = {**dict.fromkeys(IMAGENET.labels, 10.0), **dict.fromkeys(COCO.labels, 100.0)}


def bought(budget, records=None, asked=(), gpu_hours=GIVEN, **deviations):
    records = records or Records()
    hours = Hours(throughputs(records, OURS), records, gpu_hours=gpu_hours)
    return buy(plan(records, OURS, load_studies(), asked, deviations, hours), budget)


@pytest.mark.parametrize(
    ("budget", "runs", "left", "next_hours"),
    [(179, 0, 179, 1), (180, 3, 0, 60), (299, 4, 59, 1), (599, 9, 59, 1), (600, 10, 0, None)],
)
def test_looks_are_bought_whole(budget, runs, left, next_hours):
    found = bought(budget, asked=[IMAGENET])
    (one,) = found.bought
    assert (one.runs, found.left, one.next_hours, one.at_least) == (runs, left, next_hours, False)
    assert one.hours == budget - left


def test_it_says_how_probable_an_answer_is_by_then():
    (few,) = bought(180, asked=[IMAGENET], top1=0.15).bought
    (many,) = bought(600, asked=[IMAGENET], top1=0.15).bought
    headline = few.plan.questions[0].outcomes["true", "middle"]
    assert few.answered["imagenet-r101"] == headline.answered[0] < many.answered["imagenet-r101"]
    assert many.answered["imagenet-r101"] > 0.99 > many.answered["imagenet-combined"]
    (none,) = bought(1, asked=[IMAGENET]).bought
    assert set(none.answered.values()) == {0.0}


def test_backbones_that_were_bought_before_are_paid_once():
    """All of imagenet is 600; the first look of coco 1,800, and no backbone more."""
    found = bought(2400)
    assert [one.runs for one in found.bought] == [10, 3] and found.left == 0
    alone = bought(2400, asked=[COCO])
    assert alone.bought[0].hours == 18 * 100 + 18 * 10
    there = as_records(*(runs_of(IMAGENET, label, [77.0, 77.1, 77.2]) for label in IMAGENET.labels))
    assert bought(1800, there, asked=[COCO]).bought[0].hours == 1800


def test_networks_that_are_answered_cost_nothing():
    records = as_records(imagenet_pair(1.0, runs=6))
    assert bought(120, records, asked=[IMAGENET]).bought[0].hours == 4 * 3 * 10


def test_bounds_and_unknown_hours_are_named():
    (bound,) = bought(2000, asked=[IMAGENET], gpu_hours={}).bought
    assert bound.at_least and bound.runs > 3
    (unknown,) = bought(2000, asked=[next(s for s in load_studies() if s.name == "digits")]).bought
    assert unknown.runs == 0 and "aw_resnet20" in unknown.unknown


def test_hours_of_several_devices_are_said_to_be():
    mixed = bought(100_000, gpu_hours={})
    assert set(mixed.devices) == {"RTX 3090", "V100"}
    assert bought(100_000).devices == ("your device",)
    assert bought(4000, gpu_hours={}).devices == ("RTX 3090",)  # nothing of coco, on V100s, fits


def test_runs_that_are_there_are_paid_already():
    half = as_records(runs_of(IMAGENET, "resnet101", [77.0, 77.1]))
    found = bought(160, half, asked=[IMAGENET])
    assert (found.bought[0].runs, found.bought[0].hours, found.left) == (3, 160, 0)
