"""Verdicts on simulated studies whose truth is known, and the planner's promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from awbench.planning.power import power_of, runs_for_power
from awbench.verdicts.deviation import RunToRunDeviation
from awbench.verdicts.gain import bonferroni, judge_gain

CLAIMED, MARGIN, DEVIATION = 1.0, 0.5, 0.25
STUDIES = 1000


def outcomes(true_gain: float, runs: int, spread_ratio: float = 1.0, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [
        judge_gain(
            random.normal(77.4 + true_gain, DEVIATION * spread_ratio, runs).tolist(),
            random.normal(77.4, DEVIATION, runs).tolist(),
            CLAIMED,
            MARGIN,
        ).outcome
        for _ in range(STUDIES)
    ]


def wrong_no_more_often_than(wrong: int, level: float) -> bool:
    return binomtest(wrong, STUDIES, level, "greater").pvalue > 0.001


SLOW = pytest.mark.slow  # a thousand studies each take seconds


@pytest.mark.parametrize("runs", [pytest.param(2, marks=SLOW), 3, *(pytest.param(n, marks=SLOW) for n in (5, 10))])
@pytest.mark.parametrize("spread_ratio", [1.0, pytest.param(3.0, marks=SLOW)])
def test_a_gain_just_beyond_the_margin_is_not_called_reproduced(runs, spread_ratio):
    for truth in (CLAIMED - MARGIN, CLAIMED + MARGIN, 0.0):
        found = outcomes(truth, runs, spread_ratio)
        assert wrong_no_more_often_than(found.count("reproduced"), 0.025)


@pytest.mark.parametrize("runs", [pytest.param(2, marks=SLOW), 3, *(pytest.param(n, marks=SLOW) for n in (5, 10))])
def test_a_gain_within_the_margin_is_not_called_contradicted(runs):
    for truth in (CLAIMED, CLAIMED - MARGIN, CLAIMED + MARGIN):
        assert wrong_no_more_often_than(outcomes(truth, runs).count("contradicted"), 0.05)


@SLOW
def test_enough_runs_decide_either_way():
    assert outcomes(CLAIMED, 10).count("reproduced") > 900
    assert outcomes(0.0, 10).count("contradicted") > 900
    assert outcomes(2.0, 10).count("contradicted") > 900  # too good is not what was claimed


@SLOW
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_the_planners_number_of_runs_reaches_the_promised_power(power):
    runs = runs_for_power(MARGIN, DEVIATION, power)
    reached = outcomes(CLAIMED, runs, seed=1).count("reproduced")
    assert binomtest(reached, STUDIES, power, "less").pvalue > 0.001
    fewer = outcomes(CLAIMED, runs - 1, seed=2).count("reproduced")
    assert binomtest(fewer, STUDIES, power, "greater").pvalue > 0.001  # one less would not be promised
    assert power_of(runs - 1, MARGIN, DEVIATION) < power <= power_of(runs, MARGIN, DEVIATION)


def test_a_single_run_is_judged_by_the_known_spread_or_not_at_all():
    alone = judge_gain([78.4], [77.4], CLAIMED, MARGIN)
    assert alone.outcome == "inconclusive" and "second run" in alone.deviation_origin and alone.more_runs == 1
    known = RunToRunDeviation(0.05, 30, "published reruns")
    found = judge_gain([78.4], [77.4], CLAIMED, MARGIN, known=known)
    assert (found.outcome, found.deviation_origin) == ("reproduced", "published reruns")
    assert found.difference.high - 1.0 == pytest.approx(2.0423 * 0.05 * 2**0.5, rel=1e-3)  # t of 30 at 97.5 %
    assert judge_gain([77.4], [77.4], CLAIMED, MARGIN, known=known).outcome == "contradicted"


def test_a_single_run_beside_several_that_scatter_more_than_known_is_judged_by_those():
    """One run against twelve: wrong verdicts stay within the level, whatever published reruns show."""
    known, rng = RunToRunDeviation(0.26, 2, "published reruns"), np.random.default_rng(3)

    def found(gain, margin):
        return [
            judge_gain([rng.normal(gain, 2.0)], list(rng.normal(0, 2.0, 12)), 1.0, margin, known=known).outcome
            for _ in range(400)
        ]

    assert wrong_no_more_often_than(found(3.0, 2.0).count("reproduced"), 0.025)
    assert wrong_no_more_often_than(found(1.0, 1.5).count("contradicted"), 0.05)
    few = judge_gain(
        [78.0], [77.0, 77.01, 77.02], CLAIMED, MARGIN, known=RunToRunDeviation(0.05, 30, "published reruns")
    )
    assert few.deviation_origin == "published reruns"
    unknown = judge_gain([78.0], [77.0, 77.1], CLAIMED, MARGIN)
    assert unknown.deviation_origin == "unknown: needs a second run of the network"


def test_nothing_measured_is_not_judged():
    assert judge_gain([], [77.4], CLAIMED, MARGIN).outcome == "not measured"


def test_an_inconclusive_verdict_says_how_many_more_runs_would_settle_it():
    treated, baseline = [78.1, 78.4, 78.7], [77.2, 77.5, 77.5]
    found = judge_gain(treated, baseline, CLAIMED, MARGIN)
    assert found.outcome == "inconclusive"
    more = found.more_runs
    assert 1 <= more <= 10
    # the same spread and gain with as many runs more does settle it, and with two fewer it does not
    assert judge_gain(treated * 4, baseline * 4, CLAIMED, MARGIN).outcome == "reproduced"
    assert found.difference.low < CLAIMED - MARGIN or found.difference.high > CLAIMED + MARGIN


def test_several_claims_are_corrected():
    assert bonferroni(0.95, 4) == pytest.approx(0.9875)
    assert bonferroni(0.95, 0) == 0.95
