"""Records with odd or copied parts: none counts twice or for what it does not say, and none stops the judge."""

from __future__ import annotations

import math

import pytest
from study_files import write_study
from study_records import COCO, IMAGENET, as_records, imagenet_pair, runs_of, study_run

from awbench.records import Quantity
from awbench.reference.load import load_references
from awbench.report.answers import study_text
from awbench.report.claims import claims_table
from awbench.studies import load_study
from awbench.verdicts.evidence import gather_evidence
from awbench.verdicts.study import judge_study

OURS = load_references()
CLAIMS = [claim for _, claim in OURS.claims]
ODD = [None, "", [], {}, ["a"], {"a": 1}, 0, -1, 1.5, True, math.nan, "x" * 1000, "a\n|b"]


def reasons(records, study=IMAGENET) -> list[str]:
    return [left.reason for left in gather_evidence(study, records).left_aside]


@pytest.mark.parametrize(
    "field", ["study", "train_images", "source_sha256", "torch", "torchvision", "device", "training_device"]
)
def test_what_a_record_says_of_its_making_may_be_anything_and_then_it_does_not_count(field):
    for odd in ODD:
        if field == "train_images" and odd == IMAGENET.facts.train_images:
            continue
        records = as_records(imagenet_pair(1.0, environment={field: odd}))
        judged = judge_study(IMAGENET, records, CLAIMS)
        assert len(judged.comparisons[0].treated) == 0, odd
        assert len(judged.evidence.left_aside) == 3 and study_text(judged)
        assert claims_table(records, OURS).rows


@pytest.mark.parametrize("field", ["weights_sha256", "cpu", "git_commit", "world_size"])
def test_what_does_not_decide_may_be_anything_too(field):
    for odd in ODD:
        records = as_records(imagenet_pair(1.0, environment={field: odd, "training_device": "cpu"}))
        assert study_text(judge_study(IMAGENET, records, CLAIMS)) and claims_table(records, OURS).rows


def test_the_same_weights_count_once():
    """One training that was copied under other seeds, or under the other network's name."""
    copied = runs_of(IMAGENET, "aw_resnet101", [78.4] * 3, environment={"weights_sha256": "one"})
    plain = runs_of(IMAGENET, "resnet101", [77.3, 77.4, 77.5])
    assert reasons(as_records(plain, copied)) == ["its weights are those of a run recorded before"] * 2
    theirs = [{"weights_sha256": run.environment["weights_sha256"]} for run in plain]
    stolen = [study_run(IMAGENET, "aw_resnet101", seed, 78.4, environment=one) for seed, one in enumerate(theirs)]
    assert reasons(as_records(plain, stolen)) == ["its weights are those of a run recorded before"] * 3
    unknown = runs_of(IMAGENET, "aw_resnet101", [78.4] * 3, environment={"weights_sha256": None})
    assert reasons(as_records(plain, unknown)) == ["what weights it left is unknown"] * 3


def test_backbones_of_all_seeds_that_are_one_training_are_one_backbone():
    names = ("resnet101", "aw_resnet101")
    backbones = [
        run for name in names for run in runs_of(IMAGENET, name, [77.0] * 3, environment={"weights_sha256": name})
    ]
    started = [
        study_run(COCO, f"faster_rcnn_{name}_fpn", seed, 42.0, inputs={"backbone_weights_sha256": name})
        for name in names for seed in range(3)
    ]  # fmt: skip
    found = reasons(as_records(backbones, started), COCO)
    assert len(found) == 4 and all("has no run of its backbone with seed" in reason for reason in found)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"inputs": {"train_sha256": "v", "val_sha256": "v"}}, "evaluated on the images that it was trained on"),
        ({"environment": {"torchvision": "0.10"}}, "torchvision 0.10, the study's first run has 0.29.1"),
        ({"environment": {"training_device": None}}, "device is unknown"),
        ({"values": {"images_left_out": Quantity(value=0.5, unit="images")}}, "1 images could not be decoded"),
        ({"values": {"images_left_out": Quantity(value=-3, unit="images")}}, "3 images could not be decoded"),
        ({"environment": {"train_images": "1281167"}}, "trained on an unknown number of 1,281,167 images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_with_one_odd_part_does_not_count(changes, reason):
    found = reasons(as_records(imagenet_pair(1.0, **changes)))
    assert len(found) == 3 and all(one.startswith(reason) for one in found)


@pytest.mark.parametrize(("level", "said"), [(0.51, True), (0.9, True), (0.95, False), (0.99, False)])
def test_a_study_of_a_low_level_says_so_beside_its_verdict(level, said, tmp_path):
    pair = {"variant": "aw_resnet101", "over": "resnet101", "claim": "imagenet-r101"}
    design = {"dataset": "imagenet", "recipe": "cbam", "changes": [], "purpose": "confirmatory", "looks": [3]}
    study = load_study(write_study(tmp_path, **design, comparisons=[pair], level=level))
    plain = runs_of(study, "resnet101", [77.3, 77.4, 77.5])
    (judged,) = judge_study(
        study, as_records(plain, runs_of(study, "aw_resnet101", [78.3, 78.4, 78.5])), CLAIMS
    ).comparisons
    assert judged.interval and any(f"level is {level:.0%}" in caveat for caveat in judged.caveats) == said


@pytest.mark.parametrize("backbones", ["given", "imagenet"])
def test_detectors_from_given_backbones_answer_a_narrower_question_and_say_so(backbones, tmp_path):
    pair = {"variant": "faster_rcnn_aw_resnet101_fpn", "over": "faster_rcnn_resnet101_fpn", "claim": "coco-r101-fpn"}
    design = {"dataset": "coco", "metric": "box_ap", "recipe": "detectron2-3x", "engine": "detectron2", "changes": []}
    design |= {"purpose": "confirmatory", "looks": [3], "comparisons": [pair], "backbones": backbones}
    study = load_study(write_study(tmp_path, **design))
    trained = [run for name in ("resnet101", "aw_resnet101") for run in runs_of(IMAGENET, name, [77.0, 77.1, 77.2])]
    detectors = [run for label in study.labels for run in runs_of(study, label, [42.0, 42.1, 42.2])]
    (judged,) = judge_study(study, as_records(trained, detectors), CLAIMS).comparisons
    assert judged.interval and any("about these backbones alone" in one for one in judged.caveats) == (
        backbones == "given"
    )
