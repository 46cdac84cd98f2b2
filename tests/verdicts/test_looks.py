"""The levels of looks: together they spend what is stated, no more and hardly less."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from study_records import IMAGENET, as_records, runs_of

from awbench.verdicts.interval import runs_to_pool
from awbench.verdicts.looks import look_levels
from awbench.verdicts.study import judge_study

NETWORKS = [label for pair in IMAGENET.comparisons for label in (pair.over, pair.variant)]


@pytest.mark.parametrize("looks", [(3, 4, 5, 6, 7, 8, 9, 10), (2, 3), (3, 5, 10), (1, 50)])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_some_look_misses_as_often_as_stated(looks, level):
    """Means of more and more runs of a known deviation, simulated."""
    studies = 100_000
    runs = np.random.default_rng(0).standard_normal((studies, looks[-1]), dtype=np.float32)
    missed = np.zeros(studies, bool)
    spent = []
    for look, own in zip(looks, look_levels(level, looks), strict=True):
        missed |= abs(runs[:, :look].mean(axis=1)) > norm.ppf((1 + own) / 2) / math.sqrt(look)
        spent.append(missed.mean())
    error = 4 * math.sqrt(level * (1 - level) / studies)
    assert spent[-1] == pytest.approx(1 - level, abs=error)
    assert spent[0] == pytest.approx((1 - level) * (looks[0] / looks[-1]) ** 1.5, abs=error)


def test_a_single_look_has_the_level_itself():
    assert look_levels(0.95, (3,)) == (0.95,)


def test_no_look_has_less_than_its_share_alone_would_give():
    """Looks at the same runs again say much the same: more is left for each than if they were apart (Bonferroni)."""
    looks = (3, 4, 5, 6, 7, 8, 9, 10)
    errors = [1 - level for level in look_levels(0.95, looks)]
    assert min(errors) > 0.05 / 8 and errors[-1] > 3 * 0.05 / 8


def judged_with(pair: int, others: int):
    """The interval of AW-ResNet-101's gain, after so many runs of its pair and of each other network."""
    noise = [0.0, 0.1, -0.1, 0.05, -0.05, 0.2]
    records = []
    for place, label in enumerate(NETWORKS):
        count = pair if label in ("resnet101", "aw_resnet101") else others
        records.append(runs_of(IMAGENET, label, [77 + place + (place + 1) * one for one in noise[:count]]))
    judged = judge_study(IMAGENET, as_records(*records))
    return next(one for one in judged.comparisons if one.comparison.variant == "aw_resnet101").interval


@pytest.mark.parametrize(("pair", "others"), [(3, (3, 4, 5)), (4, (3, 4, 5)), (5, (3, 4, 6))])
def test_a_look_keeps_its_answer_while_other_networks_go_on(pair, others):
    """A verdict that changes though no run of its pair was added would be one look more than the level counts."""
    first, *later = (judged_with(pair, each) for each in others)
    assert first is not None and later == [first] * 2


def test_other_networks_say_how_far_runs_deviate_once_they_have_the_first_look():
    assert judged_with(4, 3) != judged_with(4, 2)
    assert judged_with(3, 3) != judged_with(3, 2)


def test_below_three_runs_other_networks_say_nothing_and_a_first_look_at_more_waits_for_them():
    assert [runs_to_pool(looks) for looks in ((1, 3), (2, 5), (3, 4, 5), (5, 10))] == [3, 3, 3, 5]


def test_many_looks_cost_no_accuracy():
    """A look more that takes next to nothing changes next to nothing."""
    few, many = look_levels(0.95, (50, 100)), look_levels(0.95, (1, *range(2, 101, 2)))
    assert few[-1] < many[-1] < 0.99
    assert all(0.95 < level < 1 for level in many)
