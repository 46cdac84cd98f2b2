"""Records that were made up to fool the judge: what should not count is left aside, with the reason."""

from __future__ import annotations

import itertools
import math

import pytest
from study_files import write_study
from study_records import COCO, IMAGENET, as_records, imagenet_pair, runs_of, study_run

from awbench.errors import UserError
from awbench.records import Quantity, Records, RecordStore
from awbench.reference.load import load_references
from awbench.studies import load_study
from awbench.verdicts.evidence import gather_evidence
from awbench.verdicts.study import answer_claim, judge_study

CLAIMS = [claim for _, claim in load_references().claims]


def percent(value: float) -> dict[str, Quantity]:
    return {"top1": Quantity.model_construct(value=value, unit="percent")}  # NaN too, which no file may hold


def reasons(records: Records, study=IMAGENET) -> list[str]:
    return [left.reason for left in gather_evidence(study, records).left_aside]


def one_changed(name: str, value: object) -> dict[str, object]:
    """The study's recipe with one hyper-parameter changed, by its dotted name."""
    recipe = IMAGENET.resolved_recipe.identity()
    *path, last = name.split(".")
    inner = recipe
    for key in path:
        inner[key] = dict(inner[key])
        inner = inner[key]
    inner[last] = value
    return recipe


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipe": one_changed("optimizer.lr", 0.2)}, "recipe: optimizer.lr is 0.2, not 0.1"),
        ({"recipe": one_changed("precision", "float32")}, "recipe: precision is float32, not bfloat16"),
        ({"recipe": one_changed("batch_size", 128)}, "recipe: batch_size is 128, not 256"),
        ({"recipe": one_changed("mixup", 0.2)}, "recipe: mixup is 0.2 and should not be set"),
        ({"ema_decay": 0.999}, "settings: ema_decay is not known to this version"),
        ({"inputs": {"val_sha256": "other"}}, "validation images other, the study's first run has v"),
        ({"inputs": {"train_sha256": "other"}}, "training images other, the study's first run has t"),
        ({"inputs": {"val_sha256": "unknown"}}, "validation images is unknown"),
        ({"options": {"num_classes": 1001}}, "options: num_classes is 1001, not 1000"),
        ({"values": percent(1.0) | {"top5": Quantity(value=0.9, unit="percent")}}, "top5 is 0.90, below top1, 1.00"),
        ({"values": percent(78.4333)}, "top1, 78.4333 %, is no whole number of 50,000 images"),
        ({"values": percent(78.431)}, "top1, 78.431 %, is no whole number of 50,000 images"),
        (
            {"values": percent(78.43) | {"top5": Quantity(value=94.001, unit="percent")}},
            "top5, 94.001 %, is no whole number of 50,000 images",
        ),
        ({"values": {"steps": Quantity(value=1, unit="steps")}}, "trained for 1 of 500,400 steps"),
        ({"environment": {"weights_sha256": None}}, "what weights it left is unknown"),
        ({"values": percent(math.nan)}, "top1 is nan, not between 0 and 100"),
        ({"values": percent(math.inf)}, "top1 is inf, not between 0 and 100"),
        ({"values": percent(780.0)}, "top1 is 780.0, not between 0 and 100"),
        ({"values": {"images_left_out": Quantity(value=3, unit="images")}}, "3 images could not be decoded"),
        ({"inputs": {"initial_weights_sha256": "unknown"}}, "what weights it began from is unknown"),
        ({"environment": {"torch": None}}, "torch is unknown"),
        ({"environment": {"source_sha256": "unknown"}}, "modelling code is unknown"),
        ({"environment": {"study": "imagenet"}}, "not made by the study"),
        ({"environment": {"study": {"name": "imagenet"}}}, "the study's design was changed since"),
        ({"seed": -1}, "seed -1 is not one of the study's 10"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_run_among_many_that_differs_in_one_thing_is_left_aside(changes, reason):
    """The last run of one side; all others count, and the comparison is too early."""
    *pair, last = imagenet_pair(1.0)
    judged = judge_study(IMAGENET, as_records(imagenet_pair(1.0)))
    assert judged.comparisons[0].look == 1
    spoilt = study_run(IMAGENET, "aw_resnet101", **{"seed": 2, "value": last.value("top1"), **changes})
    records = as_records(pair, [spoilt])
    (found,) = reasons(records)
    assert found.startswith(reason)
    comparison = judge_study(IMAGENET, records).comparisons[0]
    assert (comparison.look, len(comparison.treated), len(comparison.baseline)) == (0, 2, 3)


def test_an_option_given_at_its_default_is_the_same_network():
    """Records of before have it as it was given; another value is named."""
    runs = [study_run(IMAGENET, "se_resnet101", seed, 77.0) for seed in range(2)]
    for value, said in ((16, []), (8, ["options: attention.reduction is 8"])):
        options = {**runs[1].options, "attention": {"reduction": value}}
        records = as_records([runs[0], runs[1].model_copy(update={"options": options})])
        found = gather_evidence(IMAGENET, records)
        assert len(found.runs["se_resnet101"]) == 2 - len(said)
        assert [reason[: len(said[0])] for reason in reasons(records)] == said if said else not reasons(records)


def detectors(**changes) -> list:
    """A pair of detectors with one seed; `changes` are of the treated."""
    backbones = [study_run(IMAGENET, name, 0, 77.0) for name in ("resnet101", "aw_resnet101")]
    plain = study_run(COCO, "faster_rcnn_resnet101_fpn", 0, 42.0)
    return [*backbones, plain, study_run(COCO, "faster_rcnn_aw_resnet101_fpn", 0, 42.6, **changes)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engine": "torchvision"}, "engine torchvision, the study has detectron2"),
        ({"inputs": {"engine_version": "0.7"}}, "engine detectron2 0.7, the study's first run has detectron2 0.6"),
        ({"inputs": {"engine_version": ""}}, "engine is unknown"),
        ({"complete": False}, "not the complete dataset"),
        ({"inputs": {"backbone_weights_sha256": "random"}}, "its backbone is not the run with seed 0"),
        ({"inputs": {"backbone_weights_sha256": "unknown"}}, "what weights it began from is unknown"),
        ({"inputs": {"backbone_weights_sha256": "resnet101-0"}}, "its backbone is not the run with seed 0"),
        ({"notes": ["left out: 7.jpg is truncated"]}, "1 images could not be decoded and were left out"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_detector_that_differs_in_one_thing_is_left_aside(changes, reason):
    assert reasons(as_records(detectors()), COCO) == []
    notes = changes.pop("notes", None)
    *others, treated = detectors(**changes)
    treated = treated.model_copy(update={"notes": notes}) if notes else treated
    (found,) = reasons(as_records([*others, treated]), COCO)
    assert found.startswith(reason)


def test_a_backbone_whose_weights_are_not_known_is_none():
    """Else two unknown digests would be equal."""
    others = detectors()[1:]
    nameless = study_run(IMAGENET, "resnet101", 0, 77.0)
    del nameless.environment["weights_sha256"]
    assert "study imagenet has no run of its backbone with seed 0 that counts" in reasons(
        as_records([nameless, *others]), COCO
    )


def test_detectors_of_a_study_that_names_no_engine_have_that_of_its_first_run():
    digits = load_study("digits-detection")
    assert digits.engine == "" and digits.backbone_study is not None
    backbones = [study_run(digits.backbone_study, label, 0, 90.0) for label in digits.backbone_study.labels]
    runs = [
        study_run(digits, label, 0, 30.0, engine=engine, inputs={"engine_version": "1"})
        for label, engine in zip(digits.labels, ("torchvision", "detectron2"), strict=True)
    ]
    assert reasons(as_records(backbones, runs), digits) == [
        "engine detectron2 1, the study's first run has torchvision 1"
    ]


def test_the_order_of_files_and_their_numbers_change_nothing(tmp_path):
    """Which run of a seed came first is said by its date: numbers begin at 1 in every folder that is put to others."""
    runs = [
        study_run(IMAGENET, "resnet101", 0, 79.0, finished="2031-01-01T00:00:00.000000Z", skip_bad_images=True),
        study_run(IMAGENET, "resnet101", 0, 77.0, finished="2031-01-01T09:00:00+14:00"),
        study_run(IMAGENET, "resnet101", 2, 77.2),
        study_run(IMAGENET, "resnet101", 1, 77.1, finished="2031-01-01T00:00:00"),
    ]
    paths = [RecordStore(tmp_path / f"folder {run.value('top1')}").add(run) for run in runs]
    texts = [path.read_text() for path in paths]
    for number, order in enumerate(itertools.permutations(range(4))):
        folder = tmp_path / str(number) / "records" / "accuracy"
        folder.mkdir(parents=True)
        for index in order:
            (folder / paths[index].name).write_text(texts[index])
        evidence = gather_evidence(IMAGENET, Records.read(tmp_path / str(number)))
        assert [run.value("top1") for run in evidence.runs["resnet101"]] == [77.0, 77.1, 77.2]
        assert [left.reason for left in evidence.left_aside] == ["seed 0 was recorded before"]


def test_what_was_measured_does_not_decide_what_counts():
    """Neither the order of values nor how good they are."""
    for value in (0.0, 50.0, 100.0):
        first = study_run(IMAGENET, "resnet101", 0, value)
        again = study_run(IMAGENET, "resnet101", 0, 77.0, skip_bad_images=True)
        assert gather_evidence(IMAGENET, as_records([first, again])).runs["resnet101"] == (first,)


def test_a_run_of_another_study_of_the_same_design_is_not_of_this_one(tmp_path):
    """Two studies that ask the same: each has its own runs."""
    twins = [load_study(write_study(tmp_path, name=name)) for name in ("first", "second")]
    made = study_run(twins[0], "resnet20", 0, 90.0)
    assert reasons(as_records([made]), twins[0]) == []
    assert reasons(as_records([made]), twins[1]) == [
        f"not made by the study (awbench study run {tmp_path}/second.yaml)"
    ]


def test_before_the_first_look_all_runs_are_shown_and_from_then_on_those_of_the_look():
    plain = runs_of(IMAGENET, "resnet101", [77.0, 77.1])
    (early, *_) = judge_study(IMAGENET, as_records(plain)).comparisons
    assert (early.treated, early.baseline, early.waiting) == ((), tuple(plain), (0, 0)) and early.interval is None
    more = [*imagenet_pair(1.0), study_run(IMAGENET, "resnet101", 3, 99.0)]
    (looked, *_) = judge_study(IMAGENET, as_records(more)).comparisons
    assert (len(looked.treated), len(looked.baseline), looked.waiting) == (3, 3, (0, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "digits", "recipe": "digits-quick"},
        {"metric": "top5"},
        {"comparisons": [{"variant": "aw_resnet50", "over": "resnet50", "claim": "imagenet-r101"}]},
        {"comparisons": [{"variant": "aw_se_resnet101", "over": "resnet101", "claim": "imagenet-r101"}]},
        {"comparisons": [{"variant": "aw_se_resnet101", "over": "se_resnet50", "claim": "imagenet-combined"}]},
        {"comparisons": [{"variant": "resnet101", "over": "aw_resnet101", "claim": "imagenet-r101"}]},
    ],
)
def test_a_claim_is_answered_by_what_it_names(changes, tmp_path):
    """Not by another dataset, metric, depth or baseline."""
    design = {"dataset": "imagenet", "recipe": "cbam", "changes": [], "purpose": "confirmatory", "looks": [3]}
    pair = {"variant": "aw_resnet101", "over": "resnet101", "claim": "imagenet-r101"}
    study = load_study(write_study(tmp_path, **{**design, "comparisons": [pair], **changes}))
    with pytest.raises(UserError, match="is not what claim imagenet-"):
        judge_study(study, as_records(), CLAIMS)


@pytest.mark.parametrize("purpose", ["smoke test", "exploratory"])
def test_only_a_confirmatory_study_answers_a_claim(purpose, tmp_path):
    pair = {"variant": "aw_resnet101", "over": "resnet101", "claim": "imagenet-r101"}
    design = {"dataset": "imagenet", "recipe": "cbam", "changes": [], "looks": [3]}
    path = write_study(tmp_path, **design, comparisons=[pair], purpose=purpose)
    with pytest.raises(UserError, match=f"claim imagenet-r101 in a study whose purpose is {purpose}"):
        load_study(path)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("aw_se", "se", 101)], "no comparisons are aw_cbam over cbam of claim imagenet-combined"),
        ([("aw_se", "se", 101), ("aw_se", "se", 50), ("aw_cbam", "cbam", 101)], "2 comparisons are aw_se over se"),
    ],
)
def test_a_claim_about_the_largest_gain_is_answered_by_all_its_pairs_of_one_depth(pairs, message, tmp_path):
    """With one pair alone, "less than claimed" would say nothing of the other."""
    comparisons = [
        {"variant": f"{variant}_resnet{depth}", "over": f"{over}_resnet{depth}", "claim": "imagenet-combined"}
        for variant, over, depth in pairs
    ]
    design = {"dataset": "imagenet", "recipe": "cbam", "changes": [], "purpose": "confirmatory", "looks": [3]}
    study = load_study(write_study(tmp_path, **design, comparisons=comparisons))
    with pytest.raises(UserError, match=message):
        judge_study(study, as_records(), CLAIMS)


@pytest.mark.parametrize("gains", [(0.57, 0.1), (0.1, 0.57), (0.1, 0.0), (0.57, 1.5), (-0.57, 0.57)])
def test_a_loss_of_up_to_so_much_is_judged_as_a_gain_of_up_to_so_much(gains):
    """By its largest loss, not by the pair that loses least."""
    (claim,) = (claim for claim in CLAIMS if claim.id == "imagenet-combined")
    answers = []
    for sign in (1, -1):
        runs = []
        for setting, gain in zip(("se", "cbam"), gains, strict=True):
            for label, mean in ((f"{setting}_resnet101", 0.0), (f"aw_{setting}_resnet101", gain)):
                runs += runs_of(IMAGENET, label, [78 + sign * (mean + n) for n in (-0.02, 0.0, 0.02, 0.01, -0.01)])
        signed = claim.model_copy(update={"delta": sign * claim.delta})
        pairs = judge_study(IMAGENET, as_records(runs), [signed]).comparisons[1:]
        interval, gain, size = answer_claim(signed, pairs, None)
        answers.append(
            (round(sign * interval.value, 6), sorted(round(abs(end), 6) for end in (interval.low, interval.high)), size)
        )
        assert gain == {1: "gain", -1: "loss"}[sign] or max(gains) < 0.2
    assert answers[0] == answers[1]


def on_processors(treated: list, baseline: list):
    """Three runs of each on processors of these models; None for a GPU's."""
    runs = []
    for label, models, mean in (("aw_resnet20", treated, 93.0), ("resnet20", baseline, 92.0)):
        for seed, model in enumerate(models):
            device = {"training_device": "cpu", "cpu": model} if model else {}
            runs.append(study_run(PRIMARY, label, seed, mean + seed / 10, environment=device))
    return judge_study(PRIMARY, as_records(runs)).comparisons[0]


@pytest.mark.parametrize(
    ("treated", "baseline", "said"),
    [
        (["A"] * 3, ["B"] * 3, "with the change were made on A, those without it on B"),
        (["A", "A", "B"], ["A"] * 3, "with the change were made on A and B, those without it on A"),
        (["A", "B", "A"], ["B", "A", "A"], "with the change were made on A and B, those without it on A and B"),
        (["A", "A", ""], ["A"] * 3, None),
        (["A"] * 3, ["A"] * 3, None),
        (["A", "B", "B"], ["A", "B", "B"], None),
        ([None] * 3, [None] * 3, None),
    ],
)
def test_that_the_sides_were_trained_on_other_processors_is_said_beside_the_verdict(treated, baseline, said):
    """They count all the same: how a processor rounds is part of how runs scatter, but not of a gain."""
    judged = on_processors(treated, baseline)
    found = [caveat for caveat in judged.caveats if "processors round" in caveat]
    if "" in treated:  # a GPU's run beside those of a processor is another device, and does not count
        assert judged.interval is None
    else:
        assert judged.interval is not None and len(found) == bool(said)
    assert said is None or said in found[0]


PRIMARY, CHOICES = load_study("fashion-mnist"), load_study("fashion-mnist-choices")


def shared_runs(**changes):
    return runs_of(PRIMARY, "aw_resnet20", [94.0, 94.1, 94.2, 94.3], **changes)


def test_runs_that_a_study_shares_count_for_the_same_network_and_its_own_seeds():
    tanh = runs_of(CHOICES, "tanh", [94.5, 94.6, 94.7])
    records = as_records(shared_runs(), tanh)
    evidence = gather_evidence(CHOICES, records)
    assert [len(evidence.runs[label]) for label in ("aw_resnet20", "tanh", "e1")] == [3, 3, 0]
    assert reasons(records, CHOICES) == ["a further seed of study fashion-mnist"]
    assert reasons(records, PRIMARY) == ["made for study fashion-mnist-choices"] * 3, "which has these options"
    judged = {one.comparison.variant: one for one in judge_study(CHOICES, records).comparisons}
    assert judged["tanh"].look == 1 and judged["e1"].look == 0
    assert gather_evidence(PRIMARY, records).runs["aw_resnet20"][0].value("top1") == 94.0
    assert "not made by the study (awbench study run fashion-mnist)" in reasons(
        as_records(runs_of(CHOICES, "aw_resnet20", [94.0])), PRIMARY
    )  # one way alone


def test_shared_runs_of_a_changed_design_or_of_another_platform_do_not_count():
    changed = shared_runs(environment={"study": {"name": "fashion-mnist", "sha256": "0" * 64}})
    found = reasons(as_records(changed), CHOICES)
    assert len(found) == 4 and all(
        "study fashion-mnist's design was changed since (000000000000" in one for one in found
    )
    # Though recorded before: else no run of its own could count any more.
    older = shared_runs(environment={"torch": "2.13.0"})
    own = runs_of(CHOICES, "tanh", [94.5, 94.6, 94.7])
    evidence = gather_evidence(CHOICES, as_records(older, own))
    assert (len(evidence.runs["aw_resnet20"]), len(evidence.runs["tanh"])) == (0, 3)
    assert evidence.left_aside[0].reason == "torch 2.13.0, the study's first run has 2.14.1"
    again = runs_of(CHOICES, "aw_resnet20", [95.0])
    runs = gather_evidence(CHOICES, as_records(shared_runs(), again)).runs["aw_resnet20"]
    assert [run.value("top1") for run in runs] == [94.0, 94.1, 94.2], "a seed that was looked at is not run again"
    assert "seed 0 was recorded before" in reasons(as_records(shared_runs(), again), CHOICES)


def test_a_run_that_waits_for_an_earlier_seed_says_which_platform_counts():
    """It is the study's first run, so one with another torch would not count, and none is made."""
    waiting = study_run(PRIMARY, "resnet20", 1, 92.0)
    later = study_run(PRIMARY, "resnet20", 0, 92.1, environment={"torch": "2.13.0"})
    evidence = gather_evidence(PRIMARY, as_records([waiting, later]))
    assert not any(evidence.runs.values()) and evidence.platform["torch"] == "2.14.1"
    assert evidence.left_aside[0].reason == "torch 2.13.0, the study's first run has 2.14.1"
