"""The claims table from made-up runs of the studies: answers change as they should."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from study_files import write_study
from study_records import COCO, IMAGENET, imagenet_pair, runs_of

from awbench.planning.outcomes import outcome, question_of_claim
from awbench.planning.outlook import outlook
from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.answers import shown_answer
from awbench.report.claims import claims_table, requirement
from awbench.report.page import render_page
from awbench.report.page.summary import settles
from awbench.report.tables import TABLES
from awbench.studies import load_studies, load_study
from awbench.text import shown_probability
from awbench.verdicts.claims import judge_claims


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def fill(store, runs):
    for run in runs:
        store.add(run)


def table(store):
    return TABLES["claims"](store.read(), load_references())


def claims(store):
    return {row["id"]: row for row in table(store).objects}


def cells(store, claim, variant):
    found = table(store)
    rows = (dict(zip(found.columns, row, strict=True)) for row in found.rows)
    return next(row for row in rows if (row["claim"], row["variant"]) == (claim, variant))


def test_on_a_fresh_machine_all_four_say_which_study_answers_them(store):
    found = claims(store)
    assert [row["status"] for row in found.values()] == ["not measured"] * 4
    for name, row in found.items():
        study = "imagenet" if name.startswith("imagenet") else "coco"
        assert row["verdict"] == f"not measured: needs 'awbench study run {study} --data DIR'" and row["study"] == study


@pytest.mark.parametrize(
    ("gain", "status", "answer"),
    [
        (1.0, "as claimed", "gain; as claimed"), (0.0, "less than claimed", "gain undecided; less than claimed"),
        (2.0, "more than claimed", "gain; more than claimed"), (0.5, "undecided", "gain; size undecided"),
        (-1.0, "less than claimed", "loss; less than claimed"),
    ],
)  # fmt: skip
def test_the_gain_gives_both_answers(store, gain, status, answer):
    fill(store, imagenet_pair(gain, 4))
    judged = claims(store)["imagenet-r101"]
    (pair,) = judged["pairs"]
    assert (judged["status"], judged["verdict"]) == (status, answer)
    assert pair["difference"] == pytest.approx(gain) and pair["runs"] == [4, 4] and pair["look"] == 2
    assert pair["interval"][0] < gain < pair["interval"][1]
    others = [row["status"] for name, row in claims(store).items() if name == "coco-r101-fpn"]
    assert others == ["not measured"]


def test_before_the_first_look_it_is_too_early(store):
    fill(store, imagenet_pair(1.0, 2))
    judged = claims(store)["imagenet-r101"]
    assert judged["status"] == "too early" and judged["interval"] is None
    row = cells(store, "imagenet-r101", "aw_resnet101")
    assert row["look"] == "too early: 2 and 2 runs, the first look is at 3 of each"
    assert row["what would decide"].startswith("4 runs of each network: a true claim is answered by then with ")


def test_before_any_run_it_says_what_would_decide_and_how_probably(store):
    """By the deviation of published runs, with the simulation that the plan uses."""
    for name, row in claims(store).items():
        runs, probability, deviation = re.fullmatch(
            r"(\d+) runs of each network: a true claim is answered by then with >?(\d+)% probability "
            r"\(deviation ([\d.]+)\)", row["would_decide"],
        ).groups()  # fmt: skip
        assert int(probability) >= 80 and int(runs) > 3, "the first look, of 3 runs, seldom answers"
        assert deviation == ("0.09" if name.startswith("imagenet") else "0.10")
    (judged,) = (one for one in judge_claims(store.read(), load_references()) if one.claim.id == "coco-combined")
    expected = outcome(question_of_claim(judged), "true", 0.1)
    first = next(look for look in expected.looks if expected.answered_by(look) >= 0.8)
    assert row["would_decide"].startswith(f"{first} runs of each network: ")
    assert f"with {shown_probability(expected.answered_by(first))} probability" in row["would_decide"]


def test_where_no_look_is_likely_to_answer_it_is_the_last(store, monkeypatch):
    monkeypatch.setattr("awbench.planning.outlook.POWER", 1.01)
    (judged,) = (one for one in judge_claims(store.read(), load_references()) if one.claim.id == "imagenet-r101")
    assert outlook(judged, load_references()).startswith("10 runs of each network, the last look: a true claim is")


def test_a_claim_of_several_pairs_waits_for_the_one_with_the_fewest_runs(store):
    noise = (-0.1, 0.0, 0.1, 0.0)
    for name, gain in (("se_resnet101", 0.0), ("aw_se_resnet101", 0.4)):
        fill(store, runs_of(IMAGENET, name, [78.0 + gain + n for n in noise]))
    found = claims(store)["imagenet-combined"]
    assert [pair["look"] for pair in found["pairs"]] == [2, 0]
    assert found["would_decide"].startswith("6 runs of each network: ")


@pytest.mark.parametrize(
    ("runs", "says"),
    [(8, "at most 10 runs of each network, its last look"), (10, "no look is left: a new study")],
)
def test_a_pair_that_is_answered_and_gets_no_runs_is_not_waited_for(store, runs, says):
    """Of two pairs one is less than claimed after three runs, so the other alone still decides."""
    noise = [0.1, -0.1, 0.0] * 4
    for name, mean, of_each in (("se", 77.6, 3), ("aw_se", 77.6, 3), ("cbam", 78.0, runs), ("aw_cbam", 78.29, runs)):
        scatter = 0.1 if of_each == 3 else 1.0
        fill(store, runs_of(IMAGENET, f"{name}_resnet101", [mean + scatter * n for n in noise[:of_each]]))
    found = claims(store)["imagenet-combined"]
    assert [(pair["look"], pair["size"]) for pair in found["pairs"]] == [(1, "less"), (runs - 2, "undecided")]
    assert found["would_decide"].startswith(says)
    (judged,) = (one for one in judge_claims(store.read(), load_references()) if one.claim.id == "imagenet-combined")
    assert bool(settles(judged, "")[1]) == (runs < 10)


def test_without_a_look_to_come_only_a_new_study_decides(store):
    fill(store, imagenet_pair(0.5, 10))
    assert claims(store)["imagenet-r101"]["would_decide"] == "no look is left: a new study, with more runs"
    card = render_page(store.read(), load_references(), []).split('id="claim-imagenet-r101">')[1].split("</article>")[0]
    assert card.count("no look is left: a new study") == 1 and "awbench study run" not in card


@pytest.mark.parametrize(
    ("treated", "baseline", "look"),
    [
        ([], [], "no run counts yet, the first look is at 3 of each"),
        ([], [77.4] * 5, "too early: 0 and 5 runs, the first look is at 3 of each"),
        ([78.4] * 3, [77.4] * 5, "look 1 of 8, 3 runs each; 0 and 2 further runs wait for look 2"),
    ],
)
def test_every_run_that_counts_is_in_the_row(store, treated, baseline, look):
    fill(store, [*runs_of(IMAGENET, "resnet101", baseline), *runs_of(IMAGENET, "aw_resnet101", treated)])
    row = cells(store, "imagenet-r101", "aw_resnet101")
    assert row["look"] == look and (row["without"] != "") == bool(baseline)


def test_a_row_says_what_it_rests_on(store):
    fill(store, imagenet_pair(0.5, 4))
    fill(store, runs_of(IMAGENET, "aw_resnet101", [90.0], protocol=0))
    row = cells(store, "imagenet-r101", "aw_resnet101")
    assert row["with"] == "77.88, sd 0.10" and row["without"] == "77.38, sd 0.10"
    assert (
        row["look"] == "look 2 of 8, 4 runs each"
        and row["trained"] == "cbam, precision=bfloat16, channels_last=true, 100 epochs"
    )
    assert (
        row["left aside"] == "1: protocol 0 of the training code, now 1"
        and row["AW setting"] == "default (5 choices ours, 3 recalled)"
    )
    assert row["what would decide"].startswith("5 runs of each network: a true claim is answered by then with ")
    assert any(note.startswith("AW as built here: 5 choices ours, 3 recalled") for note in table(store).notes)


def test_runs_are_left_aside_from_the_claims_of_their_networks_alone(store):
    fill(store, runs_of(IMAGENET, "aw_resnet101", [90.0], protocol=0))
    found = claims(store)
    assert found["imagenet-r101"]["left_aside"] == {"protocol 0 of the training code, now 1": 1}
    assert found["imagenet-combined"]["left_aside"] == {}
    assert "1 run left aside" in found["imagenet-r101"]["verdict"]
    assert "left aside" not in found["imagenet-combined"]["verdict"]


def combined(store, se, cbam, noise=(-0.02, 0.0, 0.02, 0.01, -0.01)):
    for setting, gain in (("se", se), ("cbam", cbam)):
        fill(store, runs_of(IMAGENET, f"{setting}_resnet101", [78.0 + n for n in noise]))
        fill(store, runs_of(IMAGENET, f"aw_{setting}_resnet101", [78.0 + gain + n for n in noise]))
    return claims(store)["imagenet-combined"]


@pytest.mark.parametrize(
    ("gains", "status"),
    [((0.57, 0.1), "as claimed"), ((0.1, 0.57), "as claimed"), ((0.1, 0.0), "less than claimed"),
     ((0.57, 1.5), "more than claimed"), ((0.28, 0.28), "undecided")],
)  # fmt: skip
def test_up_to_is_about_the_largest_gain(store, gains, status):
    judged = combined(store, *gains)
    assert judged["status"] == status
    assert judged["interval"][0] < max(gains) < judged["interval"][1]
    ends = [pair["interval"] for pair in judged["pairs"]]
    assert judged["interval"][0] == max(low for low, _ in ends)
    assert judged["interval"][1] < max(high for _, high in ends)  # the best pair alone can miss it


def test_up_to_waits_for_all_its_pairs_and_other_depths_are_no_pair(store):
    fill(store, runs_of(IMAGENET, "se_resnet101", [78.0, 78.1, 78.2]))
    fill(store, runs_of(IMAGENET, "aw_se_resnet101", [78.6, 78.7, 78.8]))
    judged = claims(store)["imagenet-combined"]
    assert judged["status"] == "undecided" and judged["interval"] is None
    assert {pair["over"] for pair in judged["pairs"]} == {"se_resnet101", "cbam_resnet101"}


def test_a_publication_that_single_runs_may_well_show_is_compatible(store):
    fill(store, imagenet_pair(0.8, 4))
    assert claims(store)["imagenet-r101"]["pairs"][0]["publication_compatible"] is True


def test_a_claim_without_a_study_says_so(store):
    (source, claim), *_ = load_references().claims
    other = claim.model_copy(update={"id": "somebody's"})
    from awbench.report.claims import verdict_text

    references = load_references()
    references = type(references)(**{**vars(references), "sources": [source.model_copy(update={"claims": [other]})]})
    (judged,) = judge_claims(store.read(), references)
    assert verdict_text(judged) == "not measured: no study is about it: write one (docs/verdicts.md in the source)"


def test_detectors_need_their_backbones_runs(store):
    fill(store, runs_of(COCO, "faster_rcnn_resnet101_fpn", [42.0, 42.1, 42.2]))
    assert claims(store)["coco-r101-fpn"]["left_aside"] == {
        f"study imagenet has no run of its backbone with seed {seed} that counts": 1 for seed in range(3)
    }


def own_study(folder, **changes):
    """A study of the headline claim by another recipe."""
    pair = {"variant": "aw_resnet101", "over": "resnet101", "claim": "imagenet-r101"}
    design = {"dataset": "imagenet", "recipe": "torchvision-v1", "changes": [], "purpose": "confirmatory"}
    return write_study(folder, **{"name": "mine", "comparisons": [pair], "looks": [3, 5], **design, **changes})


def runs_of_pair(study, gain):
    noise = (-0.01, 0.0, 0.01)
    plain = runs_of(study, "resnet101", [77.4 + n for n in noise])
    return plain + runs_of(study, "aw_resnet101", [77.4 + gain + n for n in noise])


@pytest.mark.parametrize(("own", "other"), [(1.0, 0.0), (0.0, 1.0), (0.5, 1.0), (None, 1.0), (1.0, None)])
def test_of_several_studies_about_a_claim_the_first_with_a_look_answers_and_the_others_are_listed(
    own, other, store, tmp_path
):
    """The project's own before others; never the one whose answer is better."""
    mine = load_study(own_study(tmp_path / "studies"))
    gains = [(study, gain) for study, gain in ((IMAGENET, own), (mine, other)) if gain is not None]
    fill(store, [run for study, gain in gains for run in runs_of_pair(study, gain)])
    judged = next(one for one in judge_claims(store.read(), load_references(), [*load_studies(), mine]))
    (listed,) = judged.others
    names = [one.study.study.name for one in (judged, listed)]
    assert names == (["mine", "imagenet"] if own is None else ["imagenet", "mine"])
    assert judged.interval.value == pytest.approx(gains[0][1])
    alone = next(one for one in judge_claims(store.read(), load_references(), [gains[0][0]]))
    assert (judged.interval, judged.gain, judged.size) == (alone.interval, alone.gain, alone.size)


@pytest.mark.parametrize("earlier", ["one", "two"])
def test_of_two_studies_of_ones_own_the_one_that_had_a_look_first_answers_however_they_are_given(
    earlier, store, tmp_path
):
    """Whose answer is better must not be what the order of --study chooses by."""
    studies = {name: load_study(own_study(tmp_path, name=name)) for name in ("one", "two")}
    (later,) = studies.keys() - {earlier}
    late, early = (runs_of_pair(studies[name], gain) for name, gain in ((later, 1.0), (earlier, 0.0)))
    fill(store, late[:5] + early + late[5:])  # begun first, and not looked at before the other
    for names in (("one", "two"), ("two", "one")):
        of_studies = [*load_studies(), *(studies[name] for name in names)]
        judged = next(one for one in judge_claims(store.read(), load_references(), of_studies))
        assert [one.study.study.name for one in (judged, *judged.others)] == [earlier, later, "imagenet"]


def test_the_table_has_a_row_for_each_further_study(store, tmp_path):
    mine = load_study(own_study(tmp_path / "studies"))
    fill(store, runs_of_pair(IMAGENET, 1.0) + runs_of_pair(mine, 0.0))
    found = claims_table(store.read(), load_references(), [*load_studies(), mine])
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows if row[0] == "imagenet-r101"]
    assert [row["verdict"] for row in rows] == [
        "gain; as claimed", "in study mine: gain undecided; less than claimed"
    ]  # fmt: skip
    assert [row["trained"].partition(",")[0] for row in rows] == ["cbam", "torchvision-v1"]
    (listed,) = next(row for row in found.objects if row["id"] == "imagenet-r101")["other_studies"]
    assert (listed["study"], listed["size"]) == ("mine", "less") and len(found.objects) == 4


def test_a_study_that_is_given_again_is_not_another_one_and_is_named_by_its_file(store, tmp_path):
    path = own_study(tmp_path / "studies")
    studies = load_studies((path, "imagenet", path))
    judged = next(one for one in judge_claims(store.read(), load_references(), studies))
    assert [one.study.study.name for one in (judged, *judged.others)] == ["imagenet", "mine"]
    assert f"awbench study run {path} --data DIR" in requirement(judged.others[0])


def test_pairs_of_a_claim_that_are_answered_each_in_its_way_leave_nothing_to_run(store):
    """Of a claim about each of its pairs; it said that a look more would decide it, or that none was left."""
    noise = [-0.1, 0.0, 0.1]
    for name, mean in (("se", 78.0), ("aw_se", 76.0), ("cbam", 78.0), ("aw_cbam", 76.0)):
        fill(store, runs_of(IMAGENET, f"{name}_resnet101", [mean + n for n in noise]))
    found = next(one for one in judge_claims(store.read(), load_references()) if one.claim.id == "imagenet-combined")
    each = replace(found, claim=found.claim.model_copy(update={"relation": "equal"}), size="undecided", interval=None)
    assert all(pair.decided for pair in each.comparisons) and outlook(found, load_references()) == "answered"
    assert outlook(each, load_references()) == "nothing: its pairs are answered, and not alike"
    assert shown_answer(replace(each, gain="undecided", size="less")) == "gain undecided; less than claimed"
