"""The claims table from made-up ImageNet and COCO records: verdicts change as they should."""

from __future__ import annotations

import pytest
from sample_records import add_top1

from awbench.errors import UserError
from awbench.recipes.classification import load_recipe
from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.tables import TABLES

NOISE = (-0.05, 0.0, 0.05)


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def claims(store):
    return {row["id"]: row for row in TABLES["claims"](store.read(), load_references()).objects}


def runs(mean):
    return [mean + noise for noise in NOISE]


def test_on_a_fresh_machine_all_four_say_what_they_need(store):
    table = TABLES["claims"](store.read(), load_references())
    assert len(table.rows) == len(table.objects) == 4
    for row, one in zip(table.rows, table.objects, strict=True):
        assert one["outcome"] == "not measured" and one["pairs"] == []
        variable = "AWBENCH_IMAGENET" if one["metric"] == "top1" else "AWBENCH_COCO"
        assert f"{variable}=DIR awbench reproduce" in row[-1]


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [(1.0, "reproduced"), (0.8, "reproduced"), (0.0, "contradicted"), (2.0, "contradicted"), (0.45, "inconclusive")],
)
def test_the_gain_decides(store, gain, outcome):
    add_top1(store, "resnet101", *runs(77.4))
    add_top1(store, "aw_resnet101", *runs(77.4 + gain))
    judged = claims(store)["imagenet-r101"]
    (pair,) = judged["pairs"]
    assert judged["outcome"] == outcome
    assert pair["difference"] == pytest.approx(gain) and pair["runs"] == [3, 3]
    assert pair["interval"][0] < gain < pair["interval"][1] and pair["spread"] == "these runs"
    others = [row["outcome"] for name, row in claims(store).items() if name != "imagenet-r101"]
    assert others == ["not measured"] * 3


def test_inconclusive_says_how_many_runs_are_missing(store):
    add_top1(store, "resnet101", 77.1, 77.4, 77.7)
    add_top1(store, "aw_resnet101", 78.1, 78.4, 78.7)
    table = TABLES["claims"](store.read(), load_references())
    (row,) = [row for row in table.rows if row[0] == "imagenet-r101"]
    assert "inconclusive: about 2 more run(s) of each would settle it; spread of these runs" in row[-1]


def test_a_single_run_uses_the_published_reruns_and_says_so(store):
    add_top1(store, "resnet101", 77.4)
    add_top1(store, "aw_resnet101", 78.4)
    (pair,) = claims(store)["imagenet-r101"]["pairs"]
    assert pair["outcome"] == "inconclusive" and "torchvision ResNet-50 V1 recipe, retrained" in pair["spread"]


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "digits"}, {"images": 1000}, {"origin": "weights", "weights": "a.pth"}, {"protocol": 0},
        {"recipe": load_recipe("torchvision-v1").identity()}, {"evaluation": {"resize": 232, "crop": 224}},
    ],
)  # fmt: skip
def test_what_was_not_trained_and_evaluated_alike_is_no_evidence(store, changes):
    add_top1(store, "resnet101", *runs(77.4))
    add_top1(store, "aw_resnet101", *runs(78.4), **changes)
    assert claims(store)["imagenet-r101"]["outcome"] == "not measured"


def test_runs_that_cannot_be_compared_are_named_with_what_differs(store):
    add_top1(store, "resnet101", *runs(77.4))
    add_top1(store, "aw_resnet101", *runs(78.4), recipe=load_recipe("torchvision-v1").identity())
    (row,) = [row for row in TABLES["claims"](store.read(), load_references()).rows if row[0] == "imagenet-r101"]
    assert row[-1] == (
        "not measured: needs runs of aw_resnet101 and resnet101 that were trained and evaluated alike; "
        "those there are differ in recipe"
    )


@pytest.mark.parametrize(
    ("gain", "words"), [(2.0, "more than claimed, too good is suspect"), (0.0, "less than claimed")]
)
def test_a_contradiction_says_on_which_side(store, gain, words):
    add_top1(store, "resnet101", *runs(77.4))
    add_top1(store, "aw_resnet101", *runs(77.4 + gain))
    (pair,) = claims(store)["imagenet-r101"]["pairs"]
    assert pair["verdict"] == f"contradicted: {words}; spread of these runs"


OWN_CLAIM = """
schema_version: 1
id: other_paper
title: Another paper
url: https://example.org
read_from: this test
standing: primary
claims:
  - id: eca-cifar
    metric: top1
    unit: percentage points
    variant: eca
    over: plain
    delta: 0.50
    relation: equal
    dataset: CIFAR-10 test
    text: ECA adds half a point at every depth
"""


@pytest.fixture
def own_claim(tmp_path):
    """Writes the claim of another paper, with replacements, into a folder of references; returns the folder."""

    def write(*replacements: tuple[str, str]):
        text = OWN_CLAIM
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        folder = tmp_path / "refs"
        folder.mkdir()
        (folder / "other_paper.yaml").write_text(text)
        return folder

    return write


def test_a_claim_of_another_paper_is_judged_without_a_change_of_code(store, own_claim):
    references = load_references(own_claim())
    (fresh,) = TABLES["claims"](store.read(), references).objects
    assert fresh["verdict"].startswith("not measured: needs CIFAR-10 test (awbench sweep --dataset cifar10")
    for depth in (20, 32, 56):
        add_top1(store, f"resnet{depth}", *runs(92.0), dataset="cifar10", images=10_000)
        add_top1(store, f"eca_resnet{depth}", *runs(92.5), dataset="cifar10", images=10_000)
    (judged,) = TABLES["claims"](store.read(), references).objects
    assert (judged["outcome"], len(judged["pairs"])) == ("reproduced", 3)
    later = "2026-01-02T00:00:00.000000Z"  # the newest run of a seed counts
    add_top1(store, "eca_resnet56", *runs(92.0), dataset="cifar10", images=10_000, finished=later)
    (judged,) = TABLES["claims"](store.read(), references).objects
    assert judged["outcome"] == "contradicted"


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (("variant: eca", "variant: eca_resnet21"), "eca_resnet21 is not a variant; did you mean"),
        (("variant: eca", "variant: faster_rcnn_resnet50_fpn"), "is not a classification variant"),
        (("over: plain", "over: [plain, se]"), "variant names 1 and over 2"),
        (("CIFAR-10 test", "CIFAR-11 test"), "dataset 'CIFAR-11 test' is not known; did you mean"),
        (("CIFAR-10 test", "COCO val2017"), "top1 is not measured on COCO val2017"),
        (("metric: top1", "metric: params"), "unit 'percent' does not fit params"),
        (("metric: top1", "metric: top1_error"), "use top1, top5, box_ap"),
        (("relation: equal", "relation: about"), "relation"),
        (("variant: eca", "variant: aw_resnet101"), "aw_resnet101 is not a network for CIFAR-10 test"),
        (("variant: eca", "variant: plain"), "is a network over itself"),
        (("delta: 0.50", "delta: 1e999"), "must be at most 100 percentage points"),
        (("ECA adds half a point at every depth", '"\\x1b"'), "has the control character '\\x1b'; remove it"),
        (("url: https://example.org", "url: 'https://a\"><script>'"), "a plain address"),
        (("delta: 0.50", "delta: .nan"), "delta"),
        (("delta: 0.50", "delta: half"), "delta"),
        (("delta: 0.50", "delta: 0.0"), "delta 0 has no half to take for a margin"),
        (("delta: 0.50", "delta: 0.50\n    margin: 0"), "margin"),
        (("relation: equal", "relation: equal\n    url: 'javascript:alert(1)'"), "must begin with https"),
    ],
)
def test_a_claim_that_makes_no_sense_is_one_line_and_exit_code_2(replacement, message, own_claim, awbench):
    folder = own_claim(replacement)
    code, out, err = awbench("table", "claims", "--references", folder)
    assert (code, out) == (2, "")
    assert message in err and "other_paper.yaml" in err and len(err.splitlines()) == 1


def test_reruns_on_one_dataset_say_nothing_of_another(store, own_claim, root):
    folder = own_claim(("variant: eca", "variant: eca_resnet56"), ("over: plain", "over: resnet56"))
    (folder / "run_to_run.yaml").write_text((root / "reference_results/run_to_run.yaml").read_text())
    add_top1(store, "resnet56", 92.0, dataset="cifar10", images=10_000)
    add_top1(store, "eca_resnet56", 92.5, dataset="cifar10", images=10_000)
    (judged,) = TABLES["claims"](store.read(), load_references(folder)).objects
    (pair,) = judged["pairs"]
    assert (pair["outcome"], pair["interval"]) == ("inconclusive", None)
    assert pair["spread"] == "unknown: needs a second run of the network and its baseline"


def test_a_claims_id_stands_once(own_claim):
    folder = own_claim()
    (folder / "twin.yaml").write_text((folder / "other_paper.yaml").read_text().replace("other_paper", "twin"))
    with pytest.raises(UserError, match="claim 'eca-cifar' is given twice"):
        load_references(folder)


def test_up_to_is_about_the_best_of_several(store):
    for base in ("se", "cbam"):
        add_top1(store, f"{base}_resnet101", *runs(78.0))
    add_top1(store, "aw_se_resnet101", *runs(78.0))
    assert claims(store)["imagenet-combined"]["outcome"] == "inconclusive"  # the other pair may show it
    add_top1(store, "aw_cbam_resnet101", *runs(78.57))
    judged = claims(store)["imagenet-combined"]
    assert judged["outcome"] == "reproduced"
    assert [pair["outcome"] for pair in judged["pairs"]] == ["contradicted", "reproduced"]


def test_up_to_is_contradicted_by_all_showing_less_or_one_showing_more(store, tmp_path):
    for base in ("se", "cbam"):
        add_top1(store, f"{base}_resnet101", *runs(78.0))
        add_top1(store, f"aw_{base}_resnet101", *runs(78.0))
    assert claims(store)["imagenet-combined"]["outcome"] == "contradicted"
    other = RecordStore(tmp_path / "other")
    add_top1(other, "se_resnet101", *runs(78.0))
    add_top1(other, "aw_se_resnet101", *runs(80.0))
    assert claims(other)["imagenet-combined"]["outcome"] == "contradicted"
