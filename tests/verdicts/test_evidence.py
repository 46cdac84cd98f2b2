"""Which runs count: those of the study, whole and alike; the others are left aside, each with its reason."""

from __future__ import annotations

import subprocess
import sys

import pytest
from study_records import COCO, IMAGENET, as_records, imagenet_pair, runs_of, study_run

from awbench.recipes import load_recipe
from awbench.records import Quantity
from awbench.reference.load import load_references
from awbench.verdicts.claims import judge_claims
from awbench.verdicts.evidence import gather_evidence
from awbench.verdicts.interval import simultaneous
from awbench.verdicts.looks import look_levels
from awbench.verdicts.study import judge_study

CLAIMS = [claim for _, claim in load_references().claims]
NOISE = [77.3, 77.4, 77.5]


def reasons(records, study=IMAGENET) -> list[str]:
    return [left.reason for left in gather_evidence(study, records).left_aside]


def claim(records, name="imagenet-r101"):
    return next(judged for judged in judge_claims(records, load_references()) if judged.claim.id == name)


def test_complete_runs_of_the_study_count():
    evidence = gather_evidence(IMAGENET, as_records(imagenet_pair(1.0)))
    assert [len(evidence.runs[label]) for label in ("resnet101", "aw_resnet101")] == [3, 3]
    assert evidence.left_aside == () and evidence.platform["torch"] == "2.14.1"


SHORT = load_recipe("cbam", [*IMAGENET.changes, "epochs=1"]).identity()
ANOTHER_DESIGN = {"study": {"name": "imagenet", "sha256": "0" * 64}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipe": SHORT}, "recipe: epochs is 1, not 100"),
        ({"recipe": load_recipe("torchvision-v1").identity()}, "recipe: name is torchvision-v1, not cbam"),
        ({"evaluation": {"resize": 72, "crop": 64}}, "evaluation: resize is 72, not 256; crop is 64, not 224"),
        ({"values": {"images": Quantity(value=49_999, unit="images")}}, "evaluated on 49,999 of 50,000 images"),
        ({"environment": {"train_images": 1000}}, "trained on 1,000 of 1,281,167 images"),
        ({"environment": {"train_images": None}}, "trained on an unknown number of 1,281,167 images"),
        ({"inputs": {"initial_weights_sha256": "5" * 64}}, "began from given weights"),
        ({"protocol": 0}, "protocol 0 of the training code, now 1"),
        ({"environment": {"study": None}}, "not made by the study (awbench study run imagenet)"),
        (
            {"environment": {"study": {"name": "imagenet", "sha256": "0" * 64}}},
            "design was changed since (000000000000",
        ),
        ({"environment": {"torch": "2.13.0"}}, "torch 2.13.0, the study's first run has 2.14.1"),
        ({"environment": {"source_sha256": "o" * 64}}, "modelling code oooooo"),
        ({"environment": {"device": "GPU B"}}, "device GPU B, the study's first run has GPU A"),
        ({"options": {"stride_placement": "v1"}}, "options: stride_placement is v1, not v1.5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_is_not_as_the_study_says_is_left_aside(changes, reason):
    """On one side alone, or on both: neither is evidence."""
    records = as_records(imagenet_pair(1.0), [])
    assert claim(records).interval is not None
    spoilt = as_records(imagenet_pair(1.0, **changes))
    assert claim(spoilt).interval is None
    assert len(reasons(spoilt)) == 3 and all(reason in found for found in reasons(spoilt))


def combined(runs: int) -> list:
    """SE and CBAM with and without AW."""
    names = ("se_resnet101", "aw_se_resnet101", "cbam_resnet101", "aw_cbam_resnet101")
    return [run for name in names for run in runs_of(IMAGENET, name, [78.0 + seed / 10 for seed in range(runs)])]


def test_another_aw_option_is_named():
    changed = dict(study_run(IMAGENET, "aw_resnet101", 0, 78.0).options["aw"]) | {"expansion": 16}
    records = as_records(runs_of(IMAGENET, "aw_resnet101", NOISE, options={"aw": changed}))
    assert set(reasons(records)) == {"options: aw.expansion is 16, not None"}


def test_contradicting_runs_of_another_recipe_do_not_replace_the_studys(tmp_path):
    other = load_recipe("torchvision-v1").identity()
    evaluation = {"evaluation": other["evaluation"]}
    rivals = runs_of(IMAGENET, "resnet101", [77.0] * 4, recipe=other, **evaluation)
    rivals += runs_of(IMAGENET, "aw_resnet101", [70.0] * 4, recipe=other, **evaluation)
    alone, beside = claim(as_records(imagenet_pair(1.0))), claim(as_records(rivals, imagenet_pair(1.0)))
    assert beside.interval == alone.interval and beside.size == alone.size


def test_of_a_seed_the_run_recorded_first_counts():
    first, again = (
        study_run(IMAGENET, "resnet101", 0, 77.0),
        study_run(IMAGENET, "resnet101", 0, 79.0, skip_bad_images=True),
    )
    evidence = gather_evidence(IMAGENET, as_records([first, again]))
    assert evidence.runs["resnet101"] == (first,)
    assert reasons(as_records([first, again])) == ["seed 0 was recorded before"]


def test_seeds_count_from_0_on_without_a_gap_and_none_beyond_the_studys():
    runs = [study_run(IMAGENET, "resnet101", seed, 77.0 + seed / 10) for seed in (0, 1, 3, 10)]
    evidence = gather_evidence(IMAGENET, as_records(runs))
    assert [run.settings.seed for run in evidence.runs["resnet101"]] == [0, 1]
    assert reasons(as_records(runs)) == ["seed 10 is not one of the study's 10", "waits for seed 2"]


def test_a_verdict_is_of_the_latest_look_that_is_complete():
    ends = []
    for extra in (0, 1):
        records = imagenet_pair(1.0, 4)
        records += [study_run(IMAGENET, "aw_resnet101", 4 + number, 90.0) for number in range(extra)]
        comparison = judge_study(IMAGENET, as_records(records)).comparisons[0]
        assert (comparison.look, comparison.next_look, len(comparison.treated)) == (2, 5, 4)
        ends.append(comparison.interval)
    assert ends[0] == ends[1]  # the fifth run of one side waits for the other's


def test_an_interval_has_the_level_of_its_look_among_the_pairs_of_its_question():
    for runs in (3, 4, 10):
        (r101, se, cbam) = judge_study(
            IMAGENET, as_records(imagenet_pair(1.0, runs), combined(runs)), CLAIMS
        ).comparisons
        levels = [look_levels(simultaneous(0.95, pairs), IMAGENET.looks)[runs - 3] for pairs in (1, 2)]
        assert [one.interval.level for one in (r101, se, cbam)] == [levels[0], levels[1], levels[1]]
        assert [one.alone.level for one in (r101, se, cbam)] == [levels[0]] * 3


def test_two_runs_are_too_early():
    judged = claim(as_records(imagenet_pair(1.0, 2)))
    (comparison,) = judged.comparisons
    assert judged.interval is None and comparison.look == 0 and comparison.next_look == 3


def test_somebody_elses_claim_and_runs_change_nothing(tmp_path):
    """Correction is within a claim: the pairs and looks of its own study."""
    detectors = runs_of(COCO, "faster_rcnn_resnet101_fpn", [42.0])
    assert claim(as_records(imagenet_pair(1.0))).interval == claim(as_records(imagenet_pair(1.0), detectors)).interval


def detectors(gain: float, runs: int = 3, **changes):
    names = ["resnet101", "aw_resnet101"]
    backbones = [run for name in names for run in runs_of(IMAGENET, name, [77.0 + s / 10 for s in range(runs)])]
    plain = runs_of(COCO, "faster_rcnn_resnet101_fpn", [42.0 + s / 10 for s in range(runs)])
    return (
        backbones
        + plain
        + runs_of(COCO, "faster_rcnn_aw_resnet101_fpn", [42.0 + gain + s / 10 for s in range(runs)], **changes)
    )


def test_a_detector_counts_with_the_backbone_that_the_imagenet_study_trained_with_its_seed():
    records = as_records(detectors(0.6))
    assert claim(records, "coco-r101-fpn").interval is not None and reasons(records, COCO) == []


def test_detectors_that_share_one_backbone_do_not_count():
    records = as_records(detectors(0.6, inputs={"backbone_weights_sha256": "aw_resnet101-0"}))
    found = reasons(records, COCO)
    assert found == [f"its backbone is not the run with seed {seed} of study imagenet" for seed in (1, 2)]
    assert claim(records, "coco-r101-fpn").interval is None


def test_a_detector_whose_backbone_is_not_in_the_study_does_not_count():
    records = as_records([run for run in detectors(0.6) if run.kind == "detection"])
    assert reasons(records, COCO)[0] == "study imagenet has no run of its backbone with seed 0 that counts"


def test_a_short_training_that_times_a_network_is_no_evidence():
    short = {**COCO.resolved_recipe.identity(), "iterations": 300}
    runs = runs_of(COCO, "faster_rcnn_resnet101_fpn", [0.1], recipe=short)
    assert reasons(as_records(runs), COCO) == ["recipe: iterations is 300, not 270000"]


def test_equal_values_are_not_an_interval_of_width_zero():
    plain, treated = ([0.0] * 3 for _ in range(2))
    records = as_records(
        [run for name in ("resnet101", "aw_resnet101") for run in runs_of(IMAGENET, name, [77.0, 77.1, 77.2])],
        runs_of(COCO, "faster_rcnn_resnet101_fpn", plain), runs_of(COCO, "faster_rcnn_aw_resnet101_fpn", treated),
    )  # fmt: skip
    judged = claim(records, "coco-r101-fpn")
    assert judged.interval.low < 0 < judged.interval.high and judged.interval.floored


def test_verdicts_do_not_depend_on_the_hash_seed(tmp_path):
    """With two recipes of equally many runs."""
    program = (
        "from study_records import *; from test_evidence import *\n"
        "other = load_recipe('torchvision-v1').identity()\n"
        "rivals = runs_of(IMAGENET, 'resnet101', [77.0] * 3, recipe=other, evaluation=other['evaluation'])\n"
        "rivals += runs_of(IMAGENET, 'aw_resnet101', [70.0] * 3, recipe=other, evaluation=other['evaluation'])\n"
        "records = as_records(rivals, imagenet_pair(1.0))\n"
        "judged = judge_claims(records, load_references())\n"
        "print([(one.claim.id, one.interval, one.size, reasons(records)) for one in judged])\n"
    )
    import study_records

    folder = study_records.__file__.rpartition("/")[0]
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": f"{folder}:{folder}/verdicts:{folder}/..", "PYTHONHASHSEED": str(seed)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in range(4)
    }  # fmt: skip
    assert len(answers) == 1
