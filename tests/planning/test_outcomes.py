"""When questions are answered, against the simulation and against studies judged one by one."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from study_records import COCO, IMAGENET, as_records, imagenet_pair

from awbench.planning.outcomes import (
    Outcome,
    Question,
    fixed_runs,
    mean_of_largest,
    outcome,
    question_of_claim,
    question_of_comparison,
    runs_for_enough,
)
from awbench.records import Records
from awbench.reference.load import load_references
from awbench.verdicts.answers import Claimed, answer_size
from awbench.verdicts.claims import judge_claims
from awbench.verdicts.interval import gain_interval, simultaneous
from awbench.verdicts.looks import look_levels
from awbench.verdicts.simulation import Design, simulate
from awbench.verdicts.study import judge_study

OURS = load_references()
CLAIMS = [claim for _, claim in OURS.claims]
LOOKS = (3, 4, 5, 6, 7, 8, 9, 10)
HEADLINE = Question(Design(LOOKS, 1, 4), 1.0)
COMBINED = Question(Design(LOOKS, 2, 2, 0.95, Claimed(0.57, 0.285), True), 0.57)


def range_of(last):
    return tuple(range(LOOKS[0], last + 1))


def judged_claim(id, records=None):
    return next(one for one in judge_claims(records or Records(), OURS) if one.claim.id == id)


def test_a_question_has_the_design_that_its_claim_is_judged_by():
    assert question_of_claim(judged_claim("imagenet-r101")) == HEADLINE
    combined = question_of_claim(judged_claim("coco-combined"))
    assert combined == Question(Design(LOOKS, 2, 2, 0.95, Claimed(0.45, 0.225), True), 0.45)


def test_one_pair_of_two_has_its_level():
    """As `judge_study` gives it: two pairs are corrected for."""
    se = judge_study(IMAGENET, Records(), CLAIMS).comparisons[1]
    design = question_of_comparison(se).design
    assert design.level == simultaneous(0.95, 2) and (design.pairs, design.others) == (1, 4)


@pytest.mark.parametrize(("truth", "part"), [("true", 1.0), ("half", 0.5), ("nothing", 0.0)])
def test_it_is_what_the_simulation_says(truth, part):
    found = outcome(HEADLINE, truth, 0.1)
    simulated = simulate(HEADLINE.design, [part], [0.1] * 6, 2000)
    assert found.runs == pytest.approx(simulated.runs)
    assert found.answered == simulated.decided_by
    assert found.as_claimed == simulated.answers["as claimed"]


def test_mean_runs_of_studies_that_are_judged_one_by_one():
    random, ends = np.random.default_rng(1), []
    for _ in range(150):
        runs = random.normal(0, 0.15, (6, 10))
        runs[0] += 1
        for count, level in zip(LOOKS, look_levels(0.95, LOOKS), strict=True):
            x, y, *others = (list(side[:count]) for side in runs)
            interval = gain_interval(x, y, others, level)
            if answer_size(interval, Claimed(1.0, 0.5)) != "undecided":
                break
        ends.append(count)
    expected = outcome(HEADLINE, "true", 0.15).runs
    assert np.mean(ends) == pytest.approx(expected, abs=4 * np.std(ends) / math.sqrt(len(ends)))


def test_of_a_study_that_is_undecided_the_rest_is_conditional_on_that():
    whole, rest = outcome(HEADLINE, "true", 0.15), outcome(HEADLINE, "true", 0.15, look=2)
    open_ = 1 - whole.answered[1]
    assert rest.still_open == pytest.approx(open_)
    assert rest.answered[3] == pytest.approx((whole.answered[3] - whole.answered[1]) / open_)
    by_hand = sum(count * (whole.ended_by(count) - whole.ended_by(before)) for before, count in pairwise(LOOKS[1:]))
    assert rest.runs == pytest.approx(by_hand / open_)
    late = outcome(HEADLINE, "true", 0.06, look=6)
    assert late.surprising and late.runs == 10 and not whole.surprising


def test_a_network_of_two_questions_stays_for_the_longer_one():
    one, other = Outcome(0, (2, 4), (0.5, 1.0), 1, 1), Outcome(0, (2, 4), (0.2, 0.4), 1, 1)
    assert one.runs == 3.0 and other.runs == pytest.approx(2 * 0.2 + 4 * 0.8)
    assert mean_of_largest([one, other]) == pytest.approx(2 * 0.1 + 4 * 0.9)
    assert one.answered_by(3) == 0.5 and one.answered_by(1) == 0.0


@pytest.mark.parametrize("deviation", [0.1, 0.26])
def test_the_fixed_design_is_the_smallest_with_its_power(deviation):
    runs = int(fixed_runs(HEADLINE, deviation))

    def power(count):
        design = Design((count,), 1, 4)
        return simulate(design, [1.0], [deviation] * 6, 2000).answers["as claimed"]

    assert power(runs) >= 0.8 > power(runs - 1)
    assert fixed_runs(HEADLINE, 20.0) == math.inf


def test_looks_enough_for_a_true_claim_are_the_fewest_with_that_power():
    runs = int(runs_for_enough(COMBINED, 0.15))

    def power(last):
        return simulate(Design(range_of(last), 2, 2, 0.95, Claimed(0.57, 0.285), True), [0.57] * 2, [0.15] * 6, 2000)

    assert power(runs).answers["as claimed"] >= 0.98 > power(runs - 1).answers["as claimed"] and runs > LOOKS[-1]
    assert runs_for_enough(COMBINED, 5.0) == math.inf


@pytest.mark.parametrize(("question", "deviations"), [(HEADLINE, (0.06, 0.1, 0.15)), (COMBINED, (0.06, 0.1, 0.12))])
def test_sequential_takes_about_the_runs_of_a_fixed_plan_and_has_more_power(question, deviations):
    """About one run more, for 98 % power instead of 80."""
    for deviation in deviations:
        found = outcome(question, "true", deviation)
        assert found.as_claimed > 0.975 and found.runs < fixed_runs(question, deviation) + 1.25


def test_without_a_claim_it_is_asked_for_a_gain_that_matters():
    claimless = IMAGENET.model_copy(update={"matters": 0.5})
    (first, *_) = judge_study(claimless, as_records(imagenet_pair(0.3))).comparisons
    question = question_of_comparison(first)
    assert question.gain == 0.5
    assert outcome(question, "true", 0.05).answered[-1] == 1.0
    assert outcome(question, "nothing", 0.05).answered[-1] < 0.05
    assert question_of_comparison(judge_study(IMAGENET, Records()).comparisons[0]) is None
    assert question_of_comparison(judge_study(COCO, Records(), CLAIMS).comparisons[0]) is not None
