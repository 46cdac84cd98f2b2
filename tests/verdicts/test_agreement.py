"""Whether what was measured agrees with what was published: tolerances, spreads, what is too good."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from awbench.reference.load import ReferenceNumber, load_references
from awbench.verdicts.agreement import judge
from awbench.verdicts.measured import Evidence

RUN_TO_RUN = load_references().run_to_run


def number(metric="top1", value="76.130", unit="percent", variant="resnet50"):
    convention = None
    return ReferenceNumber("torchvision", variant, metric, Decimal(value), unit, "primary", "https://x", convention)


def status(published, origin, *values):
    return judge(published, Evidence(origin, values, ""), RUN_TO_RUN).status


def test_published_weights_must_give_the_published_number():
    assert status(number(), "weights", 76.13) == "agrees"
    assert status(number(), "weights", 76.08) == "agrees"
    assert status(number(), "weights", 76.07) == status(number(), "weights", 76.2) == "differs"
    ap = number("box_ap", "37.9", "AP points", "faster_rcnn_resnet50_fpn")
    assert status(ap, "weights", 37.93) == "agrees"  # half a unit of the last printed digit is 0.05
    assert status(ap, "weights", 37.96) == "differs"
    exact = number("box_ap", "37.900", "AP points", "faster_rcnn_resnet50_fpn")
    assert status(exact, "weights", 37.93) == "differs"  # Detectron2's own check tolerates 0.02


def test_one_training_is_held_to_the_known_spread_of_reruns():
    """torchvision's three reruns scatter by 0.261, so one run is within 4.30 * 0.261 * sqrt 2."""
    assert status(number(), "trained", 76.13 - 1.58) == "agrees"
    assert status(number(), "trained", 76.13 - 1.60) == "differs"
    error = number("top1_error", "23.87")
    assert status(error, "trained", 23.87 + 1.58) == "agrees"


def test_three_runs_bring_their_own_spread():
    assert status(number(), "trained", 75.5, 75.6, 75.7) == "differs"
    assert status(number(), "trained", 75.8, 76.0, 76.3) == "agrees"


def test_too_good_differs_and_is_said_to_be_suspect():
    found = judge(number(), Evidence("trained", (78.0, 78.1, 78.2), ""), RUN_TO_RUN)
    assert found.status == "differs" and "better than published: suspect" in found.words


def test_better_is_less_of_an_error_rate():
    error = number("top1_error", "23.870")
    fewer, more = (judge(error, Evidence("trained", (e, e + 0.1, e + 0.2), ""), RUN_TO_RUN) for e in (21.0, 26.0))
    assert fewer.status == more.status == "differs"
    assert "suspect" in fewer.words and "suspect" not in more.words


def test_several_networks_as_published_are_off_together_no_more_often_than_one():
    from awbench.verdicts.interval import simultaneous

    random, level, off = np.random.default_rng(1), simultaneous(0.95, 3), 0
    for _ in range(2000):
        rows = random.normal(76.0, 0.3, (3, 4))
        judged = [
            judge(number(value=f"{row[0]:.3f}"), Evidence("trained", tuple(row[1:]), ""), RUN_TO_RUN, level)
            for row in rows
        ]
        off += any(found.status == "differs" for found in judged)
    assert off / 2000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_an_unknown_spread_is_undecided_and_says_what_is_missing():
    ap = number("ap_small", "21.8", "AP points", "faster_rcnn_resnet50_fpn")
    found = judge(ap, Evidence("trained", (37.5,), ""), RUN_TO_RUN)
    assert found.status == "undecided" and "needs 2 more run(s)" in found.words


def test_the_prediction_interval_is_wrong_as_often_as_it_says():
    """Runs and published number from one distribution: one in twenty differs, within simulation error."""
    draws = np.random.default_rng(0).normal(76.0, 0.3, (2000, 5))
    differs = sum(status(number(value=f"{row[0]:.3f}"), "trained", *row[1:]) == "differs" for row in draws)
    assert differs == pytest.approx(100, abs=3 * 9.7)
