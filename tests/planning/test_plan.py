"""The planner: how many runs, which, at what cost, in which order."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from claim_files import claim, claims_only
from sample_records import training_record

from awbench.errors import UserError
from awbench.planning.plan import cost_of, plan
from awbench.planning.power import power_of
from awbench.planning.protocols import default_protocol
from awbench.planning.requirements import PlannedRun
from awbench.recipes.classification import load_recipe
from awbench.records import RecordStore
from awbench.reference.load import load_references

IMAGENET, COCO = default_protocol("imagenet"), default_protocol("coco")
OURS = load_references()
RERUNS = 0.26084  # standard deviation of 75.878, 75.382, 75.490


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path / "results")


def add(store, *records):
    for record in records:
        store.add(record)


def pairs(made, id):
    return next(step.claim for step in made.steps if step.claim.id == id).pairs


def seeds(step, network):
    return sorted(run.seed for run in step.runs if run.network == network)


def test_on_a_fresh_machine_all_four_claims_are_planned_at_the_level_of_all_four(store):
    made = plan(store.read(), OURS)
    assert [step.claim.id for step in made.steps] == [
        "imagenet-r101", "imagenet-combined", "coco-r101-fpn", "coco-combined"
    ]  # fmt: skip
    assert [pair.level for step in made.steps for pair in step.claim.pairs] == pytest.approx(
        [0.9875, 0.99375, 0.99375, 0.9875, 0.99375, 0.99375]  # four claims, two of which have two pairs
    )
    for id, margin, level in (("imagenet-r101", 0.5, 0.9875), ("imagenet-combined", 0.285, 0.99375)):
        for pair in pairs(made, id):
            assert power_of(pair.runs - 1, margin, RERUNS, level) < 0.8 <= power_of(pair.runs, margin, RERUNS, level)
            assert pair.deviation.origin == "torchvision ResNet-50 V1 recipe, retrained"


def test_where_nothing_says_how_runs_scatter_there_is_a_pilot(store):
    steps = plan(store.read(), OURS).steps[2:]
    for step in steps:
        assert step.claim.pilot
        assert all((pair.deviation, pair.runs, pair.add) == (None, 2, (2, 2)) for pair in step.claim.pairs)


def test_an_assumed_deviation_is_used_where_none_is_known_and_only_there(store):
    made = plan(store.read(), OURS, assumed={"box_ap": 0.2, "top1": 0.01})
    (pair,) = pairs(made, "coco-r101-fpn")
    assert (pair.deviation.deviation, pair.deviation.origin) == (0.2, "assumed")
    assert power_of(pair.runs - 1, 0.315, 0.2, 0.9875) < 0.8 <= power_of(pair.runs, 0.315, 0.2, 0.9875)
    assert not any(step.claim.pilot for step in made.steps)
    assert pairs(made, "imagenet-r101")[0].deviation.deviation == pytest.approx(RERUNS, abs=1e-4)
    assert list(made.unused) == ["top1"]


def test_runs_that_are_there_say_how_far_runs_scatter(store):
    add(store, *(training_record("resnet101", value, seed) for seed, value in enumerate((77.0, 77.2))))
    add(store, *(training_record("aw_resnet101", value, seed) for seed, value in enumerate((78.0, 78.3, 78.6))))
    (pair,) = pairs(plan(store.read(), OURS), "imagenet-r101")
    pooled = math.sqrt((1 * 0.02 + 2 * 0.09) / 3)
    assert (pair.deviation.origin, pair.deviation.freedom) == ("these runs", 3)
    assert pair.deviation.deviation == pytest.approx(pooled)
    assert pair.have == (3, 2)


def test_more_power_never_takes_fewer_runs(store):
    counts = [
        [pair.runs for step in plan(store.read(), OURS, power).steps for pair in step.claim.pairs]
        for power in (0.1, 0.8, 0.99)
    ]
    assert all(a <= b for less, more in pairwise(counts) for a, b in zip(less, more, strict=True))
    assert counts[0] != counts[-1]


def test_runs_that_are_there_are_not_made_again_and_their_seeds_are_not_used_again(store):
    fresh = pairs(plan(store.read(), OURS), "imagenet-r101")[0].runs
    add(store, *(training_record("resnet101", 77.0, seed) for seed in (0, 2)))  # no spread: nothing to learn from
    step = plan(store.read(), OURS).steps[0]
    (pair,) = step.claim.pairs
    assert (pair.runs, pair.have, pair.add) == (fresh, (0, 2), (fresh, fresh - 2))
    assert seeds(step, "resnet101") == [1, *range(3, fresh)]
    assert seeds(step, "aw_resnet101") == list(range(fresh))


def test_an_inconclusive_claim_needs_one_run_more_whatever_was_promised(store):
    values = [77.3, 77.4, 77.5] * 2
    add(store, *(training_record("resnet101", value, seed) for seed, value in enumerate(values)))
    add(store, *(training_record("aw_resnet101", value + 0.5, seed) for seed, value in enumerate(values)))
    (pair,) = pairs(plan(store.read(), OURS), "imagenet-r101")
    assert pair.runs < 6 and pair.add == (1, 1)


def test_settled_claims_are_not_planned_but_their_intervals_count(store):
    for seed, noise in enumerate((-0.05, 0.0, 0.05)):
        add(store, training_record("resnet101", 77 + noise, seed), training_record("aw_resnet101", 78 + noise, seed))
    made = plan(store.read(), OURS)
    assert "imagenet-r101" not in [step.claim.id for step in made.steps]
    assert made.claims_judged == 4


def test_runs_of_several_claims_are_made_once(store, tmp_path):
    references = claims_only(
        tmp_path / "refs",
        claim("a", "aw_resnet50", "resnet50"),
        claim("b", "aw_se_resnet50", "resnet50", margin=0.4),
        claim("c", "aw_resnet50", "resnet50", metric="top5"),
    )
    made = plan(store.read(), references, assumed={"top5": 0.2})
    every = [run for step in made.steps for run in step.runs]
    assert len(every) == len(set(every))
    most = {network: max(run.seed for run in every if run.network == network) + 1 for network in ("resnet50",)}
    assert most["resnet50"] == max(pair.runs for step in made.steps for pair in step.claim.pairs)
    alone = {one.id: len(one.runs) for one in (step.claim for step in made.steps)}
    assert len(every) < sum(alone.values())


def test_equal_speaks_of_every_pair_and_each_gets_the_power_to_show_it(store, tmp_path):
    references = claims_only(tmp_path / "refs", claim("all", "eca", "plain", dataset="CIFAR-10 test"))
    (step,) = plan(store.read(), references, 0.8).steps
    assert [pair.variant for pair in step.claim.pairs] == ["eca_resnet20", "eca_resnet32", "eca_resnet56"]
    assert [pair.power for pair in step.claim.pairs] == pytest.approx([1 - 0.2 / 3] * 3)
    assert {run.protocol for run in step.runs} == {default_protocol("cifar10")}


def test_up_to_is_planned_at_one_depth(store, tmp_path):
    references = claims_only(
        tmp_path / "refs",
        claim("best", "aw", "plain", relation="up_to"),
        claim("small", "aw", "plain", relation="up_to", dataset="CIFAR-100 test"),
    )
    assert [pairs(plan(store.read(), references), id)[0].variant for id in ("best", "small")] == [
        "aw_resnet101",
        "aw_resnet20",
    ]
    at_50 = plan(store.read(), references, depth=50)
    assert [pairs(at_50, id)[0].variant for id in ("best", "small")] == ["aw_resnet50", "aw_resnet20"]
    at_56 = plan(store.read(), references, depth=56)
    assert [pairs(at_56, id)[0].variant for id in ("best", "small")] == ["aw_resnet101", "aw_resnet56"]


@pytest.mark.parametrize(("depth", "claim_id"), [(34, "coco-combined"), (51, "imagenet-combined")])
def test_a_depth_that_does_not_fit_is_refused(store, depth, claim_id):
    with pytest.raises(UserError, match=f"--depth {depth} is not offered for claim {claim_id}"):
        plan(store.read(), OURS, depth=depth)


def test_where_a_depth_is_decided_the_undecided_pairs_of_another_are_planned(store):
    """Both pairs at 101 show less than claimed, so only the pair at 50 can still show it."""
    for seed, noise in enumerate((-0.05, 0.0, 0.05)):
        for name in ("se_resnet101", "aw_se_resnet101", "cbam_resnet101", "aw_cbam_resnet101", "se_resnet50"):
            add(store, training_record(name, 77 + noise, seed))
        add(store, training_record("aw_se_resnet50", 77.3 + noise, seed))
    (pair,) = pairs(plan(store.read(), OURS), "imagenet-combined")
    assert (pair.variant, pair.have) == ("aw_se_resnet50", (3, 3)) and pair.add[0] >= 1
    assert pair.level == pytest.approx(1 - 0.05 / 4 / 3)  # of four claims, and three pairs of this one


@pytest.mark.parametrize(
    "protocol", [("torchvision-v1", ()), ("cbam", ()), ("cbam", ("epochs=90", "optimizer.lr=0.05"))], ids=str
)
def test_runs_go_on_by_the_protocol_they_were_trained_by(store, protocol):
    name, changes = protocol
    recipe = load_recipe(name, changes)
    for seed, value in enumerate((77.0, 77.5)):
        add(store, training_record("resnet101", value, seed, recipe=recipe))
        add(store, training_record("aw_resnet101", value + 1, seed, recipe=recipe))
    (step,) = [step for step in plan(store.read(), OURS).steps if step.claim.id == "imagenet-r101"]
    assert {(run.protocol.recipe, run.protocol.changes) for run in step.runs} == {(name, changes)}
    assert min(run.seed for run in step.runs) == 2


def test_runs_of_a_recipe_that_is_not_ours_are_left_aside_and_outnumbered(store):
    recipe = load_recipe("cbam").model_copy(update={"name": "mine"})
    for seed in range(12):
        add(store, training_record("resnet101", 77.0 + seed % 3 / 2, seed, recipe=recipe))
        add(store, training_record("aw_resnet101", 77.6 + seed % 3 / 2, seed, recipe=recipe))
    (step,) = [step for step in plan(store.read(), OURS).steps if step.claim.id == "imagenet-r101"]
    assert step.claim.restarted == ("aw_resnet101", "resnet101")
    assert step.claim.pairs[0].have == (0, 0)
    assert seeds(step, "resnet101") == list(range(13))  # of two protocols, the one with more runs is judged


def test_runs_that_cannot_be_compared_are_not_counted_together(store):
    """Both by the project's recipe, but evaluated on other images: one side begins anew."""
    for seed, value in enumerate((77.0, 77.2, 77.4)):
        add(store, training_record("resnet101", value, seed))
        other = training_record("aw_resnet101", value, seed)
        add(store, other.model_copy(update={"inputs": {**other.inputs, "val_sha256": "1"}}))
    (step,) = [step for step in plan(store.read(), OURS).steps if step.claim.id == "imagenet-r101"]
    (pair,) = step.claim.pairs
    assert sorted(pair.have) == [0, 3] and max(pair.add) == pair.runs
    assert len(step.claim.restarted) == 1


def test_runs_of_one_engine_go_on_in_it(store):
    name = "faster_rcnn_resnet101_fpn"
    add(store, *(training_record(name, 42.0 + seed / 10, seed, engine="torchvision") for seed in (0, 1)))
    (step,) = [step for step in plan(store.read(), OURS).steps if step.claim.id == "coco-r101-fpn"]
    assert {run.protocol.engine for run in step.runs if run.protocol.dataset == "coco"} == {"torchvision"}
    assert step.claim.pairs[0].have == (0, 2) and not step.claim.pilot


def test_a_detector_needs_one_imagenet_run_of_its_backbone(store, tmp_path):
    detectors = ("faster_rcnn_aw_resnet50_fpn", "faster_rcnn_resnet50_fpn")
    of_ap = claim("d", *detectors, metric="box_ap", unit="AP points", dataset="COCO val2017")
    references = claims_only(tmp_path / "refs", of_ap)

    def backbones(made):
        return {run for step in made.steps for run in step.runs if run.protocol.dataset == "imagenet"}

    both = {PlannedRun("resnet50", IMAGENET, 0), PlannedRun("aw_resnet50", IMAGENET, 0)}
    assert backbones(plan(store.read(), references)) == both
    assert backbones(plan(store.read(), references, backbones=["resnet50"])) == {PlannedRun("aw_resnet50", IMAGENET, 0)}
    add(store, training_record("aw_resnet50", 76.0, seed=4))  # any run of it has weights
    add(store, training_record("resnet50", 76.0, recipe=load_recipe("digits-quick"), dataset="digits"))
    assert backbones(plan(store.read(), references)) == {PlannedRun("resnet50", IMAGENET, 0)}
    both_claims = claims_only(tmp_path / "refs", of_ap, claim("c", "aw_resnet50", "resnet50"))
    made = plan(store.read(), both_claims)
    assert sum(run.network == "resnet50" and run.seed == 0 for step in made.steps for run in step.runs) == 1


def test_a_gain_too_small_for_a_thousand_runs_is_said_to_be(store, tmp_path, monkeypatch):
    monkeypatch.setattr("awbench.planning.power.MOST_RUNS", 50)  # sooner than after a thousand
    references = claims_only(tmp_path / "refs", claim("tiny", "aw_resnet50", "resnet50", 0.01))
    made = plan(store.read(), references)
    assert made.steps == () and [one.id for one in made.impossible] == ["tiny"]
    assert made.impossible[0].pairs[0].runs is None


def test_unknown_hours_are_named_and_never_nothing(store):
    made = plan(store.read(), OURS)
    first = made.steps[0]
    assert (first.cost.hours, first.cost.known) == (0.0, False)
    assert first.cost.unknown == ("aw_resnet101", "resnet101")
    assert cost_of(first.runs, made.costs) == first.cost
    coco = made.steps[2]
    assert coco.cost.at_least and not coco.cost.known


def fast_and_slow(store, networks, seconds=100.0, **changes):
    """Each network takes a second more than the one before it, on 1,000 steps of 256 images of noise."""
    for index, network in enumerate(networks):
        add(store, training_record(network, 0.1, dataset="fake", seconds=seconds + index, **changes))


FOUR = ("se_resnet101", "aw_se_resnet101", "cbam_resnet101", "aw_cbam_resnet101")


def test_the_cheapest_answer_comes_first_then_the_unknown_then_pilots(store):
    fast_and_slow(store, FOUR)
    made = plan(store.read(), OURS)
    order = ["imagenet-combined", "imagenet-r101", "coco-r101-fpn", "coco-combined"]
    assert [step.claim.id for step in made.steps] == order
    fast_and_slow(store, ["resnet101", "aw_resnet101"])
    made = plan(store.read(), OURS)
    assert [step.claim.id for step in made.steps] == ["imagenet-r101", *["imagenet-combined"], *order[2:]]
    assert made.steps[0].cost.known and made.steps[0].cost.hours < made.steps[1].cost.hours


def test_costs_are_in_the_order_of_names_whatever_the_hashes(store):
    add(store, training_record("resnet101", 77.0, recipe=load_recipe("torchvision-v1")))
    made = plan(store.read(), OURS)
    assert len(made.costs) > 5 and list(made.costs) == sorted(made.costs)
