"""`--module`: modules from outside on the command line, in the processes that it starts, and in records."""

from __future__ import annotations

import json
import re
import sys

import pytest
from own_modules import BAD, GOOD
from study_files import write_study

from awbench.cli.options import recipe_of
from awbench.modules import registered
from awbench.records import Records
from awbench.tasks import Job
from awbench.variants import make_options, parse_variant


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with modules in it; nothing of them is left over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "outside_cli.py").write_text(GOOD)
    (tmp_path / "faulty_cli.py").write_text(BAD.replace("awbench_test::", "awbench_cli_test::"))
    yield tmp_path
    for name in ("outside_cli", "faulty_cli"):
        sys.modules.pop(name, None)


def test_every_command_has_it(awbench):
    _, out, _ = awbench("--help")
    commands = re.findall(r"^    ([a-z-]+)", out.split("COMMAND\n")[-1], re.MULTILINE)
    assert len(commands) > 12 and "study" in commands
    for command in commands:
        words = ("study", "run") if command == "study" else (command,)
        assert "--module" in awbench(*words, "--help")[1]


def test_it_is_listed_with_its_paper_and_where_it_is(folder, awbench):
    code, out, _ = awbench("list", "--modules", "--json", "--module", "outside_cli:Gate")
    found = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and list(found)[:4] == ["se", "cbam", "eca", "aw"]
    assert found["gate"] == {
        "name": "gate", "title": "My gate", "paper": "unpublished", "slot": "after_norm",
        "class": "outside_cli:Gate", "version": "none",
    }  # fmt: skip
    assert awbench("list", "*gate_resnet20", "--module", "outside_cli:Gate")[1] == "gate_resnet20\naw_gate_resnet20\n"
    assert awbench("list", "gate_resnet20")[0] == 2  # of one command alone


@pytest.mark.end_to_end
def test_a_sweeps_children_know_it_and_its_code_is_in_the_record(folder, awbench, tmp_path):
    module = ("--module", "outside_cli:Gate", "--module", "changed=outside_cli:Dynamic")
    variants = ("gate_resnet20", "changed_gate_resnet20")
    argv = ("sweep", *variants, *module, "--parallel", "2", "--set", "epochs=1")
    code, out, err = awbench(*argv)
    assert code == 0, out + err
    records = {record.variant: record for record in Records.read(tmp_path / "results").of_kind("accuracy")}
    assert set(records) == set(variants)
    inputs, where = records["changed_gate_resnet20"].inputs, records["changed_gate_resnet20"].environment
    assert len(inputs["module_gate_sha256"]) == len(inputs["module_changed_sha256"]) == 64
    assert where["modules"]["changed"]["class"] == "outside_cli:Dynamic"
    assert where["modules"]["gate"]["title"] == "My gate"
    assert "module_changed_sha256" not in records["gate_resnet20"].inputs
    assert "2 found" in awbench(*argv)[2]
    for command in (("plan",), ("table", "latency"), ("table", "runs"), ("report",)):  # without the module, too
        code, _, err = awbench(*command)
        assert code == 0 and "--module gate=outside_cli:Gate" in err and "--module changed=outside_cli:Dyn" in err
        assert "may be left out" not in awbench(*command, *module)[2]


def test_a_run_anywhere_gets_it_on_its_command_line(folder):
    with registered(["outside_cli:Gate", "other=outside_cli:Dynamic"]):
        variant = parse_variant("other_gate_resnet20")
        options = make_options(convolution_options={"hidden": 2}, attention_options={"power": 0.5})
        job = Job(variant, options, "digits", None, recipe_of("classification", None, "digits", []))
        argv = job.train_argv()
    assert argv[2:6] == ["--module", "other=outside_cli:Dynamic", "--module", "gate=outside_cli:Gate"]
    assert argv[argv.index("--convolution-option") + 1] == "hidden=2"
    assert job.name == "other_gate_resnet20 power=0.5 hidden=2 digits-quick seed 0"


def test_a_study_may_be_about_it(folder, awbench, tmp_path):
    path = write_study(
        tmp_path, name="mine", comparisons=[{"variant": "wide", "over": "gate_resnet20"}],
        networks={"wide": {"variant": "dyn_gate_resnet20", "convolution": {"hidden": 8}, "attention": {"power": 2}}},
    )  # fmt: skip
    code, _, err = awbench("study", "show", path)
    assert code == 2 and "dyn_gate_resnet20 is not a variant" in err
    code, out, err = awbench("study", "show", path, "--module", "outside_cli:Gate", "--module", "outside_cli:Dynamic")
    assert code == 0 and "hidden" in out, err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["list", "--module", "nowhere:Mine"], "there is no Python module nowhere"),
        (["list", "--module", "outside_cli:Gates"], "has no class Gates; did you mean Gate?"),
        (["complexity", "raises_resnet20", "--module", "faulty_cli:Raises"], "raised RuntimeError: no GPU"),
        (["complexity", "shrinks_resnet20", "--module", "faulty_cli:Shrinks"], "not (2, 16, 8, 8)"),
        (["complexity", "silent_resnet20", "--module", "faulty_cli:Silent"], "has no forward"),
        (["complexity", "uncounted_resnet20", "--module", "faulty_cli:Uncounted"], "awbench_cli_test::double has no"),
        (["complexity", "se_resnet20", "--module", "faulty_cli:SE"], "the name se is taken by SE"),
        (["train", "falls_resnet20", "--module", "faulty_cli:Falls"], "its forward raised RuntimeError"),
        (["complexity", "gate_resnet20", "--module", "outside_cli:Gate", "--attention-option", "powr=2"], "mean power"),
        (["complexity", "gate_resnet20", "--module", "outside_cli:Gate", "--convolution-option", "k=2"], "concerns no"),
        (
            ["complexity", "dyn_resnet20", "--module", "outside_cli:Dynamic", "--convolution-option", "stages=5"],
            "option stages=5 is not known",
        ),
        (
            [
                "complexity",
                "dyn_resnet20",
                "--module",
                "outside_cli:Dynamic",
                "--convolution-option",
                "convolutions=1x1",
            ],
            "would have no Dynamic-convolution",
        ),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_faults_are_one_line_and_exit_code_2(folder, awbench, argv, message):
    code, out, err = awbench(*argv)
    began = ("counting", "recipe: ", "run folder: ", "curves: ")
    lines = [line for line in err.splitlines() if not line.startswith(began)]
    assert (code, out, len(lines)) == (2, "", 1) and message in lines[0], err


@pytest.mark.parametrize("name", ["Raises", "Shrinks", "Falls", "Silent"])
def test_one_that_cannot_be_built_is_found_before_a_sweeps_first_run(folder, awbench, name, tmp_path):
    module = ("--module", f"mine=faulty_cli:{name}")
    code, out, err = awbench("sweep", "mine_resnet20", *module, "--results", str(tmp_path / "results"))
    said, line = err.splitlines()
    assert (code, out, said) == (2, "", "1 run, 1 at a time") and line.startswith("awbench: mine_resnet20: module "), (
        err
    )
    assert not (tmp_path / "results").exists()


def test_patterns_name_several_variants(awbench):
    assert awbench("list", "aw_*resnet20")[1].split() == [
        "aw_resnet20", "aw_se_resnet20", "aw_cbam_resnet20", "aw_eca_resnet20",
    ]  # fmt: skip
    code, _, err = awbench("list", "bw_*")
    assert code == 2 and "no variant matches the pattern 'bw_*'" in err
