"""Whole studies, simulated from a known truth: planned, trained as planned, and judged as records are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sample_records import training_record
from scipy.stats import binomtest

from awbench.planning.plan import plan
from awbench.records import Quantity, Records
from awbench.reference.load import load_references
from awbench.verdicts.claims import judge_claims, margin_of

OURS = load_references()
AP_DEVIATION = 0.2  # assumed: no reference says how AP scatters
POWER = 0.8
CLAIMS = [claim.id for _, claim in OURS.claims]
SLOW = pytest.mark.slow


class Study:
    """The runs of a plan, as records in memory: their values are drawn anew for each study."""

    def __init__(self, folder, power: float = POWER) -> None:
        self.plan = plan(Records(), OURS, power, assumed={"box_ap": AP_DEVIATION})
        self.pairs = [(step.claim, pair) for step in self.plan.steps for pair in step.claim.pairs]
        self.blanks = {
            name: [training_record(name, seed=seed) for seed in range(pair.runs)]
            for _, pair in self.pairs
            for name in (pair.variant, pair.over)
        }
        self.records = []

    def draw(self, gains, random) -> None:
        """Train every network of the plan; gains are by the pair's variant."""
        self.records = []
        for _, pair in self.pairs:
            for name, gain in ((pair.variant, gains[pair.variant]), (pair.over, 0.0)):
                values = random.normal(50 + gain, pair.deviation.deviation, pair.runs)
                for blank, value in zip(self.blanks[name], values, strict=True):
                    metric, unit = ("top1", "percent") if blank.kind == "accuracy" else ("box_ap", "AP points")
                    drawn = {**blank.values, metric: Quantity(value=float(value), unit=unit)}
                    self.records.append(blank.model_copy(update={"values": drawn}))

    def runs_of(self, claim, variant, records):
        """What `trained_runs` finds, without looking for it."""
        runs = [record for record in self.records if record.variant == variant]
        return {"planned": tuple(runs)} if runs else {}

    def gains(self, of_best, of_others):
        """By the pair's variant: of a claim's first pair, and of its others, from (claim) -> gain."""
        found = {}
        for planned, pair in self.pairs:
            first = pair is planned.pairs[0]
            found[pair.variant] = (of_best if first else of_others)(planned.judged.claim)
        return found


def simulate(study, studies, of_best, of_others, wrong, seed=0):
    """(outcome counts by claim, studies in which any claim's verdict was wrong)"""
    random, gains = np.random.default_rng(seed), study.gains(of_best, of_others)
    counts, any_wrong = Counter(), 0
    for _ in range(studies):
        study.draw(gains, random)
        outcomes = {judged.claim.id: judged.outcome for judged in judge_claims(Records(study.records), OURS)}
        counts.update(outcomes.items())
        any_wrong += wrong in outcomes.values()
    return counts, any_wrong


def exactly(claim):
    return float(claim.delta)


def nothing(claim):
    return 0.0


def just_below(claim):
    return float(claim.delta) - margin_of(claim) - 1e-6


def just_above(claim):
    return float(claim.delta) + margin_of(claim) + 1e-6


def lower_edge(claim):
    return float(claim.delta) - margin_of(claim)


def upper_edge(claim):
    return float(claim.delta) + margin_of(claim)


def test_a_few_studies_reach_the_promised_power(tmp_path):
    studies, study = 25, Study(tmp_path)
    counts, wrong = simulate(study, studies, exactly, nothing, "contradicted")
    reproduced = sum(counts[id, "reproduced"] for id in CLAIMS)
    assert binomtest(reproduced, studies * len(CLAIMS), POWER, "less").pvalue > 0.001
    assert binomtest(wrong, studies, 0.05, "greater").pvalue > 0.001
    assert sum(counts.values()) == studies * len(CLAIMS)


@pytest.fixture
def thousands(tmp_path, monkeypatch):
    """Studies whose runs need not be found among records, which takes most of the time."""

    def make(power: float = POWER) -> Study:
        study = Study(tmp_path, power)
        monkeypatch.setattr("awbench.verdicts.claims.trained_runs", study.runs_of)
        return study

    return make


@SLOW
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_each_claim_that_is_exactly_true_is_reproduced_with_the_promised_power(thousands, power):
    studies = 1000
    counts, wrong = simulate(thousands(power), studies, exactly, nothing, "contradicted")
    for id in CLAIMS:
        reached = counts[id, "reproduced"]
        print(f"power {power}, {id}: reproduced {reached} of {studies}")
        assert binomtest(reached, studies, power, "less").pvalue > 0.001
        assert reached / studies < power + 0.1  # nor many more runs than it takes
    print(f"power {power}: any verdict wrong in {wrong} of {studies} studies")
    assert binomtest(wrong, studies, 0.05, "greater").pvalue > 0.001


@SLOW
@pytest.mark.parametrize(
    ("of_best", "of_others", "wrong"),
    [
        (just_below, just_below, "reproduced"),
        (just_above, just_above, "reproduced"),
        (nothing, nothing, "reproduced"),
        (lower_edge, lower_edge, "contradicted"),
        (upper_edge, upper_edge, "contradicted"),
        (exactly, exactly, "contradicted"),
    ],
)
def test_in_whole_studies_any_wrong_verdict_is_rarer_than_the_level(thousands, of_best, of_others, wrong):
    """The hardest truths: at and just beyond the ends of what counts as the claimed gain."""
    studies = 1000
    _, any_wrong = simulate(thousands(), studies, of_best, of_others, wrong, seed=1)
    print(f"{of_best.__name__}, {of_others.__name__}: {wrong} wrongly in {any_wrong} of {studies} studies")
    assert binomtest(any_wrong, studies, 0.05, "greater").pvalue > 0.001
