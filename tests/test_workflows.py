"""What CI calls exists: workflows are only run elsewhere, and a misspelt option is found there a week later."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from awbench.cli.main import _parser

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GUIDE = ROOT / "docs" / "ci.md"


def scripts(workflow: Path) -> list[str]:
    """What its steps run, with continued lines joined and expressions of GitHub's replaced."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    return [re.sub(r"\$\{\{.*?\}\}", "expression", run.replace("\\\n", " ")) for run in runs]


def guide_scripts() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Words of each `awbench ...` in a script, up to the shell's own `||`, `;`, `>` or comment."""
    found = re.findall(r"(?:^|\s)(?:\S*/)?awbench ((?:[^\n|;>#&])+)", text)
    return [shlex.split(words) for words in found]


ALL_SCRIPTS = [
    *((workflow.name, run) for workflow in WORKFLOWS for run in scripts(workflow)),
    *((GUIDE.name, script) for script in guide_scripts()),
]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_what_github_asks_for(workflow):
    content = yaml.safe_load(workflow.read_text())
    assert content["name"] and content[True], "YAML reads the key `on` as true"
    for name, job in content["jobs"].items():
        assert job["runs-on"] and job["timeout-minutes"], name
        assert all(("run" in step) != ("uses" in step) for step in job["steps"]), name


def test_every_make_target_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    named = [
        (source, word)
        for source, text in ALL_SCRIPTS
        for words in re.findall(r"(?:^|\s)make ([^\n#;|&]+)", text)
        for word in shlex.split(words)
        if "=" not in word
    ]
    assert len(named) >= 6
    for source, target in named:
        assert target in targets, f"{source} names `make {target}`"


def test_every_awbench_command_named_parses():
    named = [(source, words) for source, text in ALL_SCRIPTS for words in commands(text)]
    assert {words[0] for _, words in named} >= {"check", "latency", "regress"}
    for source, words in named:
        try:
            _parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{source} names `awbench {' '.join(words)}`, which does not parse")


def regress_job() -> list[dict[str, Any]]:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert jobs["regress"]["if"] == "github.event_name == 'pull_request'"
    return jobs["regress"]["steps"]


def test_regress_has_the_base_to_compare_with():
    checkout = next(step for step in regress_job() if "checkout" in step.get("uses", ""))
    assert checkout["with"]["fetch-depth"] == 0


@pytest.mark.parametrize(("code", "outcome"), [(0, 0), (1, 1), (2, 2), (3, 0)])
def test_only_noise_is_forgiven(tmp_path, code, outcome):
    """The step itself, by the shell that GitHub takes, with a stand-in that ends with this code."""
    stand_in = tmp_path / ".venv" / "bin" / "awbench"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(f"#!/bin/sh\nexit {code}\n")
    stand_in.chmod(0o755)
    script = next(step["run"] for step in regress_job() if "awbench regress" in step.get("run", ""))
    environment = {**os.environ, "BASE": "origin/main"}
    ended = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == outcome
    assert ended.stdout.startswith("::warning") == (code == 3)
