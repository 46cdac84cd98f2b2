"""The environment that is read is documented, and shells complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from awbench.cli.main import ENVIRONMENT

INTERNAL = {"AWBENCH_END_FILE", "AWBENCH_REGRESS_DEVICE", "AWBENCH_REGRESS_VARIANTS"}  # between our own processes


def test_every_variable_that_is_read_is_in_the_help_and_in_the_documents(awbench, root):
    sources = [path for folder in ("awbench", "tools") for path in (root / folder).rglob("*.py")]
    read = {name for path in sources for name in re.findall(r"AWBENCH_[A-Z_]+", path.read_text())} - INTERNAL
    assert {name for name in ENVIRONMENT if name.startswith("AWBENCH_")} == read
    documented = (root / "docs/command-line.md").read_text()
    shown = awbench("--help")[1]
    for name in ENVIRONMENT:
        assert f"| `{name}` |" in documented and name in shown


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("awbench tab", ["table"]),
        ("awbench train aw_se_resnet5", ["aw_se_resnet50", "aw_se_resnet56"]),
        ("awbench train resnet20 --recipe digits-q", ["digits-quick"]),
        ("awbench study run fashion-mnist-c", ["fashion-mnist-choices"]),
        ("awbench train resnet20 --dataset fashion-mnist-d", ["fashion-mnist-dev"]),
        ("awbench train aw_resnet20 --aw-option resid", ["residual="]),
        ("awbench train resnet20 --set optimizer.lr", ["optimizer.lr="]),
        ("awbench train faster_rcnn_resnet18_fpn --set iterat", ["iterations="]),
        ("awbench table grid --columns variant,par", ["variant,params"]),
    ],
)
def test_a_shell_completes_commands_networks_recipes_and_studies(line, found, tmp_path):
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    environment = {**os.environ, **asked, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n"}
    subprocess.run([sys.executable, "-m", "awbench"], env=environment, timeout=60)
    assert [word.strip() for word in answer.read_text().split("\n")] == found


def test_without_argcomplete_a_shell_is_told_what_is_missing(awbench, monkeypatch):
    """Nothing but a dead key, and the command itself was run."""
    written = []
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    monkeypatch.setattr("awbench.cli.completion.os.write", lambda file, text: written.append((file, text.decode())))
    assert awbench("list")[:2] == (1, "")
    needs = "pip install argcomplete, into the environment of awbench"
    assert written == [(9, f"\nawbench: completion needs argcomplete: {needs}\n")]
    monkeypatch.delenv("_ARGCOMPLETE")
    assert "pip install argcomplete" in awbench("--help")[1]
