"""What a study's file may say beyond names: several values of an option, given weights, imported runs."""

from __future__ import annotations

import hashlib
import json

import pytest
from study_files import write_study
from study_records import as_records, study_run

from awbench.records import Record, RecordStore
from awbench.studies import load_study
from awbench.verdicts.evidence import gather_evidence

SEVERAL = {"aw": {"expansion": [1, 4], "norm": [True, False]}}
GROUP = {"e": {"variant": "aw_resnet20", "aw": {"reduction": 4}, "several": SEVERAL}}
COMPARED = [{"variant": "e", "over": "resnet20"}]


def test_a_network_for_every_combination_and_the_same_design_as_when_written_out(tmp_path):
    study = load_study(write_study(tmp_path / "short", networks=GROUP, comparisons=COMPARED))
    labels = [f"e expansion={e} norm={norm}" for e in (1, 4) for norm in ("true", "false")]
    assert study.labels == ("resnet20", *labels)
    assert study.options_of(labels[1]).aw.expansion == 1 and study.options_of(labels[1]).aw.norm is False
    assert study.options_of(labels[2]).aw.reduction == 4
    long = {
        label: {"variant": "aw_resnet20", "aw": {"reduction": 4, "expansion": e, "norm": norm}}
        for label, (e, norm) in zip(labels, [(1, True), (1, False), (4, True), (4, False)], strict=True)
    }
    compared = [{"variant": label, "over": "resnet20"} for label in labels]
    assert load_study(write_study(tmp_path / "long", networks=long, comparisons=compared)).digest == study.digest


def test_a_name_that_a_network_already_has_is_one_line(awbench, tmp_path):
    """It was trained with the other one's options, and its own were gone."""
    own = {"e expansion=1 norm=true": {"variant": "aw_resnet20", "aw": {"gate": "tanh"}}}
    for networks in ({**GROUP, **own}, {**own, **GROUP}):
        code, _, err = awbench("study", "show", write_study(tmp_path, networks=networks, comparisons=COMPARED))
        assert code == 2 and "'e expansion=1 norm=true' twice: by itself, and of e's several" in err


@pytest.mark.parametrize(
    ("network", "over", "named"),
    [
        ({"several": {}}, "resnet20", "networks.e.several is {}"),
        ({"several": {"aw": {"expansion": 1}}}, "resnet20", "networks.e.several.aw is {'expansion': 1}"),
        ({"several": {"aw": {"expansion": [1, 1]}}}, "resnet20", "give each option a list of values"),
        ({"several": {"aw": [1]}}, "resnet20", "networks.e.several.aw is [1]"),
        ({"several": {"recipe": {"lr": [1]}}}, "resnet20", "with aw, attention, convolution"),
        ({"several": {"aw": {"expnsion": [1, 4]}}}, "resnet20", "AW option 'expnsion' does not exist"),
        (
            {"aw": None, "several": {"aw": {"expansion": [1]}}},
            "resnet20",
            "networks.e.aw is None; give a value of each",
        ),
        ({"attention": "x", "several": {"aw": {"expansion": [1]}}}, "resnet20", "networks.e.attention is 'x'"),
        ({"several": {"aw": {"expansion": [1, 4]}}}, "e", "comparison over e, which is 2 networks"),
    ],
)
def test_what_is_no_list_of_values_is_one_line(awbench, tmp_path, network, over, named):
    variant = {"variant": "e" if over != "e" else "resnet20", "over": over}
    path = write_study(tmp_path, networks={"e": {"variant": "aw_resnet20", **network}}, comparisons=[variant])
    code, _, err = awbench("study", "show", path)
    assert code == 2 and named in err and err.count("\n") == 1 and "Traceback" not in err


def test_runs_start_from_the_weights_of_the_design(awbench, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    path = write_study(tmp_path, init_weights=digest)
    code, _, err = awbench("study", "run", path, "--dry-run")
    assert code == 2 and f"{digest[:12]}; give them: --init-weights FILE" in err
    code, out, _ = awbench("study", "run", path, "--dry-run", "--init-weights", str(weights))
    assert code == 0
    assert out.count(f"--init-weights {weights}") == 2
    (tmp_path / "other").write_bytes(b"others")
    for other, why in (("other", "has sha256"), ("none", "is not a file")):
        code, _, err = awbench("study", "run", path, "--dry-run", "--init-weights", str(tmp_path / other))
        assert code == 2 and why in err and err.count("\n") == 1
    random = write_study(tmp_path / "random")
    code, _, err = awbench("study", "run", random, "--dry-run", "--init-weights", str(weights))
    assert code == 2 and "starts from random weights" in err


def test_only_runs_from_those_weights_count(tmp_path):
    study = load_study(write_study(tmp_path, init_weights="a" * 64, looks=[3]))
    started = ["a" * 64, "b" * 64, "random"]
    runs = [
        study_run(study, "resnet20", seed, 90.0, inputs={"initial_weights_sha256": start})
        for seed, start in enumerate(started)
    ]
    evidence = gather_evidence(study, as_records(runs))
    assert len(evidence.runs["resnet20"]) == 1
    assert [left.reason for left in evidence.left_aside] == [
        "began from weights bbbbbbbbbbbb, the study's are aaaaaaaaaaaa",
        "began from weights random, the study's are aaaaaaaaaaaa",
    ]


def test_a_detectors_backbone_is_not_started_this_way(awbench, tmp_path):
    detectors = [{"variant": "faster_rcnn_aw_resnet18_fpn", "over": "faster_rcnn_resnet18_fpn"}]
    path = write_study(
        tmp_path, dataset="digits-detection", metric="box_ap", recipe="digits-detection", changes=None,
        comparisons=detectors, init_weights="a" * 64,
    )  # fmt: skip
    code, _, err = awbench("study", "show", path)
    assert code == 2 and "init_weights is for classifiers" in err


IMPORT = {"source": "their lab", "recipe": "theirs"}
ROWS = "variant,dataset,recipe,seed,metric,value,images,source\n"


def imported(awbench, tmp_path, *rows):
    (tmp_path / "runs.csv").write_text(ROWS + "".join(f"{row}\n" for row in rows))
    assert awbench("import", str(tmp_path / "runs.csv"))[0] == 0


def test_imported_runs_count_where_the_study_names_them_alone(awbench, tmp_path):
    pairs = [(name, value, seed) for name, value in (("resnet20", 90), ("aw_resnet20", 95)) for seed in (0, 1)]
    theirs = [f"{name},digits,theirs,{seed},top1,{value},359,their lab" for name, value, seed in pairs]
    imported(awbench, tmp_path, *theirs)
    plain = write_study(tmp_path, looks=[2], purpose="exploratory", matters=0.5)
    status = json.loads(awbench("study", "status", plain, "--json")[1])
    assert status["runs"] == {"resnet20": 0, "aw_resnet20": 0} and status["left_aside"] == []
    naming = write_study(tmp_path / "naming", looks=[2], purpose="exploratory", matters=0.5, imports=[IMPORT])
    status = json.loads(awbench("study", "status", naming, "--json")[1])
    assert status["runs"] == {"resnet20": 2, "aw_resnet20": 2}
    code, out, _ = awbench("study", "status", naming)
    assert code == 0 and "+5.00" in out and "Runs from their lab were imported" in out
    assert awbench("table", "studies")[0] == awbench("report")[0] == 0


def test_an_imported_run_that_does_not_fit_is_left_aside(awbench, tmp_path):
    imported(
        awbench, tmp_path,
        "resnet20,digits,theirs,0,top1,90,358,their lab", "resnet20,digits,theirs,1,top1,90,,their lab",
        "resnet20,digits,theirs,7,top1,90,359,their lab", "resnet20,digits,another,0,top1,90,359,their lab",
        "aw_resnet20,digits,theirs,0,top5,90,359,their lab",
    )  # fmt: skip
    naming = write_study(tmp_path, looks=[2], purpose="exploratory", imports=[IMPORT])
    status = json.loads(awbench("study", "status", naming, "--json")[1])
    assert status["runs"] == {"resnet20": 0, "aw_resnet20": 0}
    assert [one["reason"] for one in status["left_aside"]] == [
        "evaluated on 358 of 359 images", "evaluated on an unknown number of 359 images",
        "seed 7 is not one of the study's 2",
    ]  # fmt: skip


def test_imported_runs_of_another_recipes_file_are_left_aside(awbench, tmp_path):
    """Though it has the same name."""
    header = ROWS.rstrip("\n") + ",recipe_sha256\n"
    rows = [
        f"{name},digits,theirs,{seed},top1,{value},359,their lab,{digest * 8}"
        for name, value, digest in (("resnet20", 90, "ab"), ("aw_resnet20", 95, "cd"))
        for seed in (0, 1)
    ]
    (tmp_path / "runs.csv").write_text(header + "".join(f"{row}\n" for row in rows))
    assert awbench("import", str(tmp_path / "runs.csv"))[0] == 0
    naming = write_study(tmp_path, looks=[2], purpose="exploratory", matters=0.5, imports=[IMPORT])
    status = json.loads(awbench("study", "status", naming, "--json")[1])
    assert status["runs"] == {"resnet20": 2, "aw_resnet20": 0}
    assert {one["reason"] for one in status["left_aside"]} == {
        "sha256 of recipe theirs is cdcdcdcdcdcd, the first run's abababababab"
    }


def test_runs_of_ours_come_before_imported_ones(awbench, tmp_path):
    imported(awbench, tmp_path, "resnet20,digits,theirs,0,top1,50,359,their lab")
    naming = write_study(tmp_path, looks=[2], purpose="exploratory", imports=[IMPORT])
    study, store = load_study(naming), RecordStore(tmp_path / "results")
    store.add(own := study_run(study, "resnet20", 0, 90.0))
    evidence = gather_evidence(study, store.read())
    assert list(evidence.runs["resnet20"]) == [own] and evidence.platform["torch"] == "2.14.1"
    assert [left.reason for left in evidence.left_aside] == ["seed 0 was recorded before"]


def test_a_confirmatory_study_imports_nothing(awbench, tmp_path):
    path = write_study(tmp_path, looks=[2], purpose="confirmatory", imports=[IMPORT])
    code, _, err = awbench("study", "show", path)
    assert code == 2 and "nothing shows that those runs follow its design" in err


@pytest.mark.parametrize("change", [{"seed": "0"}, {"seed": None}, {"source": 1}, {"is_variant": "yes"}])
def test_settings_of_an_imported_run_have_their_types(awbench, tmp_path, change):
    imported(awbench, tmp_path, "resnet20,digits,theirs,0,top1,50,359,their lab")
    (record,) = RecordStore(tmp_path / "results").read().of_kind("imported")
    written = json.loads(record.model_dump_json())
    with pytest.raises(ValueError, match=next(iter(change))):
        Record.model_validate({**written, "settings": {**written["settings"], **change}})
