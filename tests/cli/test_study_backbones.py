"""A study of detectors starts each from the backbone that its study of backbones trained with the same seed."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import pytest
from study_files import write_study
from study_kills import kill_at_random, start_study
from study_records import study_run

from awbench.records import Records, RecordStore
from awbench.studies import Study, load_study

BACKBONES = ("resnet18", "aw_resnet18")
DETECTORS = ("faster_rcnn_resnet18_fpn", "faster_rcnn_aw_resnet18_fpn")


def write_studies(folder: Path, **changes: object) -> str:
    """ResNet-18 on digits in place of ImageNet, and detectors on digits; the path of the latter."""
    write_study(folder, name="bones", comparisons=[{"variant": BACKBONES[1], "over": BACKBONES[0]}], looks=[1, 2])
    detectors = {
        "name": "boxes", "dataset": "digits-detection", "metric": "ap50", "recipe": "digits-detection",
        "backbones": "bones.yaml",
        "engine": "torchvision", "looks": [1, 2], "comparisons": [{"variant": DETECTORS[1], "over": DETECTORS[0]}],
        "changes": ["iterations=2", "schedule.steps=[1]", "schedule.warmup_iterations=1", "evaluate_every=2"],
    }  # fmt: skip
    return write_study(folder, **{**detectors, **changes})


def made_up_backbones(study: Study, results: Path) -> dict[tuple[str, int], Path]:
    """Records of two seeds of each, and files in place of their weights."""
    store, files = RecordStore(results), {}
    for label in BACKBONES:
        for seed in range(2):
            content = f"weights of {label} seed {seed}".encode()
            digest = hashlib.sha256(content).hexdigest()
            run = study_run(study, label, seed, 90.0, environment={"weights_sha256": digest})
            folder = results / "runs" / f"{label}-digits-digits-quick-seed{seed}-{study.digest[:8]}-{run.key[:8]}"
            folder.mkdir(parents=True)
            files[label, seed] = folder / "weights.safetensors"
            files[label, seed].write_bytes(content)
            store.add(run)
    return files


def test_the_backbone_is_the_run_with_the_same_seed(tmp_path, awbench):
    study = load_study(write_studies(tmp_path, looks=[2]))
    assert study.backbone_study is not None
    files = made_up_backbones(study.backbone_study, tmp_path / "results")
    code, out, _ = awbench("study", "run", str(tmp_path / "boxes.yaml"), "--dry-run")
    commands = [shlex.split(line) for line in out.splitlines()]
    started = [
        (words[2], int(words[words.index("--seed") + 1]), Path(words[words.index("--init-weights") + 1]))
        for words in commands
    ]
    assert code == 0 and started == [
        (detector, seed, files[backbone, seed].resolve())
        for seed in range(2)
        for backbone, detector in zip(BACKBONES, DETECTORS, strict=True)
    ]


@pytest.mark.parametrize(("spoil", "message"), [("remove", "is missing; copy it there"), ("change", "has sha256 ")])
def test_weights_that_are_not_those_of_the_run_are_one_line(spoil, message, tmp_path, awbench):
    """Before any detector is trained from them: its run would not count."""
    study = load_study(write_studies(tmp_path))
    files = made_up_backbones(study.backbone_study, tmp_path / "results")
    spoilt = files["aw_resnet18", 0]
    spoilt.unlink() if spoil == "remove" else spoilt.write_bytes(b"others")
    code, out, err = awbench("study", "run", str(tmp_path / "boxes.yaml"), "--dry-run")
    assert (code, out) == (2, "") and message in err and "aw_resnet18" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": "boxes.yaml"}, "is about detectors, not classifiers"),
        ({"backbones": "digits"}, "digits has no resnet18 with the options of faster_rcnn_resnet18_fpn"),
        ({"stride_placement": "v1"}, "bones has no resnet18 with the options of faster_rcnn_resnet18_fpn"),
        (
            {"networks": {DETECTORS[1]: {"variant": DETECTORS[1], "aw": {"gate": "tanh"}}}},
            "bones has no aw_resnet18 with the options of faster_rcnn_aw_resnet18_fpn",
        ),
        ({"engine": "", "purpose": "exploratory", "looks": [2]}, "engine is missing"),
        ({"engine": "torchvison"}, "engine 'torchvison' does not exist; did you mean torchvision?"),
    ],
)
def test_backbones_that_do_not_fit_are_one_line(changes, message, tmp_path, awbench):
    code, out, err = awbench("study", "show", write_studies(tmp_path, **changes))
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def values(results: Path) -> dict[str, dict[str, float]]:
    """Of every record, but for times."""
    records = [record for kind in ("accuracy", "detection") for record in Records.read(results).of_kind(kind)]
    assert len({record.key for record in records}) == len(records) == 8
    return {
        record.key: {name: quantity.value for name, quantity in record.values.items() if "time" not in name}
        for record in records
    }


@pytest.mark.slow
def test_backbones_and_detectors_killed_at_random_end_as_whole_ones(tmp_path, root):
    study = write_studies(tmp_path)
    out, _ = start_study(study, tmp_path / "whole", root).communicate(timeout=1800)
    done = json.loads(out)
    assert done["made"] == 8 and done["left_aside"] == [] and set(done["runs"].values()) == {2}
    records = Records.read(tmp_path / "whole")
    trained = {(run.variant, run.settings.seed): run for run in records.of_kind("accuracy")}
    for run in records.of_kind("detection"):
        backbone = trained[dict(zip(DETECTORS, BACKBONES, strict=True))[run.variant], run.settings.seed]
        assert run.inputs["backbone_weights_sha256"] == backbone.environment["weights_sha256"]

    kill_at_random(study, tmp_path / "killed", root, kills=8, longest=40)
    assert start_study(study, tmp_path / "killed", root).wait(timeout=1800) == 0
    assert values(tmp_path / "killed") == values(tmp_path / "whole")
