"""Error rates of the rules that judge, simulated where their promise is weakest."""

from __future__ import annotations

import numpy as np
import pytest

from awbench.verdicts.answers import Claimed, answer_size
from awbench.verdicts.interval import gain_interval
from awbench.verdicts.looks import look_levels
from awbench.verdicts.simulation import Design, simulate, skewed

STUDIES = 10_000
LEVEL = 0.05
MOST = LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / STUDIES)
LOOKS = (3, 4, 5, 6, 7, 8, 9, 10)
COMBINED = Claimed(0.57, 0.285)


def test_simulated_studies_are_judged_as_real_ones():
    """Their numbers are fed to the functions that judge records."""
    design, deviations = Design((3, 5), pairs=1, others=2), [0.3, 0.3, 0.2, 0.4]
    runs = np.random.default_rng(5).standard_normal((300, 4, 5)) * np.array(deviations)[:, None]
    runs[:, 0] += 1.0
    missed, answers = [], []
    for study in runs:
        intervals = []
        others = [list(side[:3]) for side in study[2:]]  # of the first look
        for count, level in zip(design.looks, look_levels(0.95, design.looks), strict=True):
            intervals.append(gain_interval(list(study[0, :count]), list(study[1, :count]), others, level))
        missed.append(any(not one.low <= 1.0 <= one.high for one in intervals))
        sizes = [answer_size(interval, design.claimed) for interval in intervals]
        answers.append(next((size for size in sizes if size != "undecided"), "undecided"))
    found = simulate(design, [1.0], deviations, studies=300, seed=5)
    assert found.missed == np.mean(missed) > 0
    assert found.answers == {size: answers.count(size) / 300 for size in found.answers}
    assert 0.1 < found.answers["undecided"] < 0.9


@pytest.mark.parametrize("gain", [0.5 - 1e-9, 1.5 + 1e-9, 0.0])
@pytest.mark.parametrize("others", [0, 4])
@pytest.mark.parametrize("runs", [2, 3, 5, 10])
def test_answers_are_wrong_at_most_as_often_as_stated(runs, others, gain):
    found = simulate(Design((runs,), 1, others), [gain], [0.3] * (2 + others), STUDIES)
    assert found.wrong <= MOST and found.missed <= MOST


@pytest.mark.parametrize(("runs", "others"), [(2, 4), (3, 0), (3, 4), (5, 0), (5, 4), (10, 0), (10, 4)])
def test_unequal_deviations_are_held_too(runs, others):
    """One network of the pair scatters three times as much as all others."""
    found = simulate(Design((runs,), 1, others), [0.5 - 1e-9], [0.9, 0.3, *[0.3] * others], STUDIES)
    assert found.missed <= MOST


@pytest.mark.parametrize("others", [0, 4])
def test_skewed_runs_are_held_too(others):
    for runs in (3, 5, 10):
        found = simulate(Design((runs,), 1, others), [0.5 - 1e-9], [0.3] * (2 + others), STUDIES, draw=skewed)
        assert found.missed <= MOST


def test_repeated_looks_keep_the_level():
    for deviations in ([0.3] * 6, [0.9, *[0.3] * 5], [0.6, *[0.3] * 5]):
        found = simulate(Design(LOOKS, 1, 4), [0.5 - 1e-9], deviations, STUDIES)
        assert found.missed <= MOST


def test_up_to_is_held_where_the_best_pair_is_just_beyond():
    design = Design(LOOKS, 2, 2, claimed=COMBINED, up_to=True)
    for gains in ([COMBINED.high + 1e-9] * 2, [COMBINED.high + 1e-9, 0.0], [COMBINED.low - 1e-9] * 2):
        found = simulate(design, gains, [0.1] * 6, STUDIES)
        assert found.wrong <= MOST


def test_one_backbone_for_all_seeds_is_not_what_a_replication_would_draw():
    """Why a backbone a seed is required: with a shared one the interval misses the gain of a replication."""
    apart = simulate(Design((5,), 1, 4), [0.63], [np.hypot(0.1, 0.1)] * 6, STUDIES)
    shared = simulate(Design((5,), 1, 4), [0.63], [0.1] * 6, STUDIES, shared=0.1)
    assert apart.missed <= MOST < 0.2 < shared.missed


def test_two_runs_against_ten_are_held():
    """For the comparison of any runs from Python; studies have equal numbers."""
    random = np.random.default_rng(0)
    missed = 0
    for deviation in (0.1, 0.3):
        for _ in range(1500):
            found = gain_interval(random.normal(0, deviation, 2), random.normal(0, 0.1, 10))
            missed += not found.low <= 0 <= found.high
        assert missed / 1500 <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 1500)
        missed = 0


def test_a_true_claim_is_answered_with_few_runs():
    """At the deviation that ImageNet runs have; the promise is 98 % power with about a fixed plan's runs on average."""
    found = simulate(Design(LOOKS, 1, 4), [1.0], [0.1] * 6, STUDIES)
    assert found.answers["as claimed"] > 0.98 and found.runs < 5
    assert simulate(Design(LOOKS, 1, 4), [0.0], [0.1] * 6, STUDIES).answers["less"] > 0.98
