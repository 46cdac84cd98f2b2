"""Which runs studies still need, counted by hand from made-up records."""

from __future__ import annotations

import pytest
from study_records import COCO, IMAGENET, as_records, imagenet_pair, runs_of

from awbench.planning.hours import Hours, RunHours
from awbench.planning.missing import Missing, missing_backbones, total
from awbench.planning.outcomes import outcome, question_of_comparison
from awbench.planning.plan import plan
from awbench.planning.throughput import throughputs
from awbench.records import Records
from awbench.reference.load import load_references
from awbench.report.plan import study_line
from awbench.report.plan_table import plan_table
from awbench.studies import load_studies, load_study

OURS = load_references()
DETECTORS = list(COCO.labels)


def planned(records=None, asked=(), deviations=None, **given):
    records = records or Records()
    hours = Hours(throughputs(records, OURS), records, **given)
    return plan(records, OURS, load_studies(), asked, deviations or {}, hours)


def by_name(parts):
    return {part.network: part for part in parts}


def test_without_runs_both_studies_are_planned_backbones_first():
    made = planned()
    assert [one.study.name for one in made.studies] == ["imagenet", "coco"] and made.unstudied == ()
    for one in made.studies:
        assert total(one.networks, lambda part: part.next)[0] == 6 * 3
        assert total(one.networks, lambda part: part.largest)[0] == 6 * 10
        assert one.first_open.name in ("imagenet-r101", "coco-r101-fpn")


def test_expected_runs_are_those_of_each_comparison():
    imagenet = planned(deviations={"top1": 0.1}).studies[0]
    headline, se, cbam = (outcome(question_of_comparison(one), "true", 0.1).runs for one in imagenet.judged.comparisons)
    found = {name: part.expected["true", "middle"] for name, part in by_name(imagenet.networks).items()}
    assert found["resnet101"] == found["aw_resnet101"] == pytest.approx(headline)
    assert found["se_resnet101"] == found["aw_se_resnet101"] == pytest.approx(se)
    runs, hours = total(imagenet.networks, lambda part: part.expect())
    assert runs == pytest.approx(2 * (headline + se + cbam))
    each = {name: part.run_hours.hours for name, part in by_name(imagenet.networks).items()}
    assert hours.hours == pytest.approx(sum(found[name] * each[name] for name in found)) and hours.known == "at least"


def test_runs_that_are_there_are_not_planned_again():
    half = as_records(runs_of(IMAGENET, "resnet101", [77.0, 77.1]))
    networks = by_name(planned(half, deviations={"top1": 0.1}).studies[0].networks)
    assert (networks["resnet101"].have, networks["resnet101"].next, networks["resnet101"].largest) == (2, 1, 8)
    assert networks["aw_resnet101"].next == 3
    assert networks["resnet101"].expect() == pytest.approx(networks["aw_resnet101"].expect() - 2)


def test_where_the_looks_do_not_suffice_it_says_how_many_would():
    """METHOD.md's 98 %: reached by all of the study's questions at 0.1, and not by the combined one at 0.15."""
    alike, apart = (planned(deviations={"top1": value}).studies[0].questions for value in (0.1, 0.15))
    assert [question.enough for question in alike] == [{}, {}]
    assert [list(question.enough) for question in apart] == [[], ["middle"]] and apart[1].enough["middle"] > 10
    rows = {row["what"]: row["enough"] for row in plan_table(planned(deviations={"top1": 0.15}).studies[0]).objects}
    assert rows["imagenet-r101: runs of each"] is None and rows["imagenet-combined: runs of each"] > 10


def test_an_answered_comparison_needs_no_runs():
    imagenet = planned(as_records(imagenet_pair(1.0, runs=6))).studies[0]
    networks = by_name(imagenet.networks)
    assert [networks[name].largest for name in ("resnet101", "aw_resnet101", "se_resnet101")] == [0, 0, 10]
    assert imagenet.first_open.name == "imagenet-combined"


@pytest.mark.parametrize(("gains", "missing"), [((0.57, 0.285), 0), ((0.28, 0.285), 5)])
def test_a_pair_whose_claim_is_answered_needs_no_runs_though_its_own_size_is_undecided(gains, missing):
    """The largest gain is as claimed: how large the other one is no longer matters."""
    noise, runs = (-0.02, 0.0, 0.02, 0.01, -0.01), []
    for setting, gain in zip(("se", "cbam"), gains, strict=True):
        runs += runs_of(IMAGENET, f"{setting}_resnet101", [78.0 + one for one in noise])
        runs += runs_of(IMAGENET, f"aw_{setting}_resnet101", [78.0 + gain + one for one in noise])
    imagenet = planned(as_records(runs, imagenet_pair(1.0, runs=6)), [IMAGENET]).studies[0]
    pairs = {pair.comparison.variant: pair for pair in imagenet.judged.comparisons}
    assert pairs["aw_cbam_resnet101"].size == "undecided"
    assert by_name(imagenet.networks)["aw_cbam_resnet101"].largest == missing
    assert ("nothing to run (answered)" in study_line(imagenet)) == (missing == 0)


def test_an_undecided_one_is_expected_to_go_on_from_its_look():
    """A gain at the claim's edge after four runs, the second look of eight."""
    records = as_records(imagenet_pair(0.55, runs=4))
    imagenet = planned(records, deviations={"top1": 0.15}).studies[0]
    first = imagenet.judged.comparisons[0]
    assert first.look == 2 and not first.decided
    rest = outcome(question_of_comparison(first), "true", 0.15, look=2).runs
    network = by_name(imagenet.networks)["aw_resnet101"]
    assert network.next == 1 and network.expect() == pytest.approx(rest - 4)


def test_detectors_need_the_backbones_of_their_seeds():
    coco = planned().studies[1]
    for backbone in coco.backbones:
        prefix = backbone.network.removesuffix("resnet101")
        detector = by_name(coco.networks)[f"faster_rcnn_{prefix}resnet101_fpn"]
        assert (backbone.have, backbone.next, backbone.largest) == (0, 3, 10)
        assert backbone.expect() == pytest.approx(detector.expect())
        assert backbone.run_hours.device == "RTX 3090" and detector.run_hours.device == "V100"
    some = planned(as_records(imagenet_pair(1.0, runs=6))).studies[1]
    backbones = by_name(some.backbones)
    assert (backbones["resnet101"].have, backbones["resnet101"].next, backbones["resnet101"].largest) == (6, 0, 4)
    assert backbones["se_resnet101"].next == 3


def test_a_claim_that_no_study_answers_is_listed():
    records = Records()
    made = plan(records, OURS, [IMAGENET], [], {}, Hours(throughputs(records, OURS), records))
    assert [one.claim.id for one in made.unstudied] == ["coco-r101-fpn", "coco-combined"]
    assert [one.study.name for one in made.studies] == ["imagenet"]


def test_a_smoke_test_makes_all_its_runs_and_nothing_is_expected_of_it():
    (digits,) = planned(asked=[load_study("digits")]).studies
    assert all((part.next, part.largest, part.expected) == (3, 3, {}) for part in digits.networks)
    assert all(not question.outcomes for question in digits.questions) and digits.deviations is None
    assert total(digits.networks, lambda part: part.largest)[1].hours is None


def test_a_fixed_design_is_the_larger_of_a_networks_questions():
    imagenet = planned(deviations={"top1": 0.15}).studies[0]
    headline, combined = (question.fixed["middle"] for question in imagenet.questions)
    networks = by_name(imagenet.networks)
    assert networks["resnet101"].fixed == {"middle": headline}
    assert networks["aw_cbam_resnet101"].until_fixed("middle") == combined > headline


def test_a_sum_is_known_as_well_as_the_worst_of_what_it_has_runs_of():
    def part(runs, hours, known="", device="GPU A"):
        return Missing("resnet101", 0, runs, runs, {}, RunHours(hours, known, device))

    def of(*parts):
        return total(parts, lambda one: one.next)

    assert of(part(2, 3.0), part(1, 4.0, "about"), part(0, 9.0, "at least", "B"), part(0, None)) == (
        3, RunHours(10.0, "about", "GPU A"),
    )  # fmt: skip
    assert of(part(1, 3.0, "about"), part(1, 4.0, "at least", "B"))[1].apart == (
        RunHours(3.0, "about", "GPU A"), RunHours(4.0, "at least", "B"),
    )  # fmt: skip
    assert of(part(1, 3.0), part(1, None)) == (2, RunHours())


def test_detectors_that_have_all_their_runs_need_no_backbone_any_more():
    assert missing_backbones(2, [(6, 0)]) == 0
    assert missing_backbones(2, [(6, 0), (3, 1)]) == 2
