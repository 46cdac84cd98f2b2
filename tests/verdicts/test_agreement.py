"""Whether what was measured agrees with what was published: tolerances, directions, how often that is wrong."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from awbench.reference.conventions import AccuracyConvention, DetectionConvention
from awbench.reference.load import ReferenceNumber
from awbench.reference.run_to_run import RunToRun
from awbench.verdicts.agreement import judge, judge_all
from awbench.verdicts.measured import Evidence, Measured

ACCURACY = AccuracyConvention(dataset="ImageNet-1k val", stride_placement="v1.5", crop=224, resize=256, crops=1)
DETECTION = DetectionConvention(dataset="COCO val2017", detector="Detectron2 Faster R-CNN FPN")


def reruns(*values: float, what: str = "a recipe") -> RunToRun:
    """A source that repeated a training."""
    return RunToRun(
        what=what, of="training", dataset="ImageNet-1k val", metric="top1", unit="percent",
        reruns=[Decimal(str(value)) for value in values], provenance="primary", url="https://x.org",
    )  # fmt: skip


RERUNS = [reruns(75.878, 75.382, 75.490)]  # deviation 0.261


def number(metric="top1", value="76.130", unit="percent", variant="resnet50"):
    convention = ACCURACY if unit == "percent" else DETECTION
    return ReferenceNumber("torchvision", variant, metric, Decimal(value), unit, "primary", "https://x", convention)


AP = number("box_ap", "37.9", "AP points", "faster_rcnn_resnet50_fpn")


def judged(published, origin, *values, rows=RERUNS):
    return judge(published, Evidence(origin, values, ""), rows)


def status(published, origin, *values, rows=RERUNS):
    return judged(published, origin, *values, rows=rows).status


def test_published_weights_must_give_the_published_number():
    """Evaluations of the same weights differ by up to 0.06 top-1."""
    assert status(number(), "weights", 76.13) == status(number(), "weights", 76.07) == "agrees"
    assert status(number(), "weights", 76.06) == status(number(), "weights", 76.2) == "differs"


def test_evaluations_that_a_source_made_again_say_how_far_they_lie_apart():
    """Somebody's tolerance says nothing: Detectron2's 0.02 is for 100 images."""
    again = reruns(78.50).model_copy(update={"of": "evaluation", "published": Decimal("78.52")})
    tolerated = again.model_copy(update={"reruns": [], "tolerance": Decimal("0.001")})
    assert "0.02 between evaluations (published)" in judged(number(), "weights", 76.13, rows=[again, tolerated]).words
    assert status(number(), "weights", 76.16, rows=[again]) == "differs"
    assert status(number(), "weights", 76.16, rows=[tolerated]) == "agrees"


def test_a_number_is_not_held_to_more_digits_than_were_printed():
    """37.9 was printed of 37.85 to 37.95: 37.93 is that number, and so is 37.95 of another decoder."""
    assert status(AP, "weights", 37.93) == status(AP, "weights", 37.99) == status(AP, "weights", 37.81) == "agrees"
    assert status(AP, "weights", 38.01) == status(AP, "weights", 37.79) == "differs"
    words = judged(AP, "weights", 37.93).words
    assert words == (
        "+0.030 AP points, within +-0.100; the same weights: 0.05 for the last printed digit, 0.05 between evaluations "
        "(chosen)"
    )
    coarse = number("top1_error", "24.7")
    assert status(coarse, "weights", 24.80) == "agrees"
    assert status(coarse, "weights", 24.82) == "differs"


def test_published_reruns_that_are_equal_deviate_by_the_resolution():
    """It was divided by nothing."""
    found = judged(number(), "training", 76.1, 76.12, 76.11, rows=[reruns(76.0, 76.0, 76.0)])
    assert found.status == "agrees"


def test_one_training_is_held_to_the_deviation_of_published_reruns():
    """Three reruns scatter by 0.261, so one run is within 4.30 * 0.261 * sqrt 2 and half a digit."""
    assert status(number(), "trained", 76.13 - 1.58) == "agrees"
    assert status(number(), "trained", 76.13 - 1.60) == "differs"
    assert status(number("top1_error", "23.87"), "trained", 23.87 + 1.58) == "agrees"


def test_published_deviations_are_pooled_and_others_left_out():
    """(2 * 0.01 + 2 * 0.04) / 4 is a variance of 0.025, with 4 degrees of freedom: t is 2.776."""
    rows = [reruns(76.0, 76.1, 76.2), reruns(75.0, 75.2, 75.4)]
    margin = 2.776 * 0.025**0.5 * 2**0.5 + 0.0005
    for further in ([], [reruns(70.0, 80.0)], [rows[0].model_copy(update={"dataset": "CIFAR-10 test"})]):
        assert status(number(), "trained", 76.13 - margin + 0.002, rows=rows + further) == "agrees"
        assert status(number(), "trained", 76.13 - margin - 0.002, rows=rows + further) == "differs"


def test_runs_that_scatter_more_than_published_ones_are_held_to_their_own_deviation():
    assert status(number(), "trained", 75.4, 75.5, 75.6, rows=[reruns(*np.linspace(75.9, 76.1, 40))]) == "differs"
    wide = judged(number(), "trained", 74.5, 75.5, 76.5, rows=[reruns(*np.linspace(75.9, 76.1, 40))])
    assert wide.status == "agrees" and "of these runs, level" in wide.words


def test_three_runs_bring_their_own_deviation():
    assert status(number(), "trained", 75.5, 75.6, 75.7, rows=[]) == "differs"
    assert status(number(), "trained", 75.8, 76.0, 76.3, rows=[]) == "agrees"


def test_equal_runs_are_taken_to_scatter_by_the_resolution():
    assert status(number(value="76.134"), "trained", 76.13, 76.13, 76.13, rows=[]) == "agrees"


@pytest.mark.parametrize(("metric", "better"), [("top1", 80.0), ("top1_error", 20.0)])
def test_too_good_differs_and_is_suspect_in_the_direction_of_the_metric(metric, better):
    published = number(metric, "23.870" if metric == "top1_error" else "76.130")
    worse = 2 * float(published.value) - better
    found = judged(published, "trained", better, better + 0.1, better - 0.1)
    assert found.status == "differs" and "better than published: suspect" in found.words
    found = judged(published, "trained", worse, worse + 0.1, worse - 0.1)
    assert found.status == "differs" and "better" not in found.words


def test_an_unknown_deviation_is_undecided_and_says_what_is_missing():
    found = judged(AP, "trained", 37.5)
    assert found.status == "undecided" and "needs 2 more run(s)" in found.words


DRAWS, LARGEST = 10_000, 0.05 + 3 * (0.05 * 0.95 / 10_000) ** 0.5


def rate_of_any_difference(networks: int, runs: int, rows: list[RunToRun], deviation: float = 0.1) -> float:
    """How often one of several networks, all truly as published in top-1 and top-5, is said to differ."""
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(DRAWS):
        found = []
        for _ in range(networks):
            top1 = rng.normal(76.0, deviation, runs + 1)
            top5 = 93.0 + 0.5 * (top1 - 76.0) + rng.normal(0, deviation / 3, runs + 1)  # moves with top-1
            for metric, (published, *values) in (("top1", top1), ("top5", top5)):
                evidence = Evidence("trained", tuple(values), "")
                found.append((number(metric, f"{published:.3f}"), Measured(evidence)))
        false += any(one.agreement.status == "differs" for one in judge_all(found, rows))
    return false / DRAWS


@pytest.mark.parametrize(("networks", "runs"), [(1, 3), (3, 3), (3, 5)])
def test_networks_as_published_seldom_differ_however_many_are_checked(networks, runs):
    """Three networks differed in 24 % when each number was held to 95 % by itself."""
    assert rate_of_any_difference(networks, runs, []) <= LARGEST


@pytest.mark.parametrize("runs", [1, 3])
def test_networks_as_published_seldom_differ_beside_published_deviations(runs):
    """Twenty published runs scatter as these do."""
    rng = np.random.default_rng(1)
    sample = rng.normal(0, 1, 20)
    sample = 76 + 0.1 * (sample - sample.mean()) / sample.std(ddof=1)
    top1 = reruns(*sample)
    top5 = top1.model_copy(update={"metric": "top5", "reruns": [Decimal(str(93 + 0.6 * (v - 76))) for v in sample]})
    assert rate_of_any_difference(3, runs, [top1, top5]) <= LARGEST


def test_a_network_that_is_a_point_below_is_found_among_others():
    rng = np.random.default_rng(2)
    rows = [reruns(*np.linspace(75.85, 76.15, 20))]
    found = [(number(), Measured(Evidence("trained", tuple(rng.normal(76.13, 0.1, 3)), ""))) for _ in range(9)]
    found.append((number(), Measured(Evidence("trained", tuple(rng.normal(75.13, 0.1, 3)), ""))))
    assert [one.agreement.status for one in judge_all(found, rows)] == ["agrees"] * 9 + ["differs"]
