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
    ],
)
def test_a_shell_completes_commands_networks_recipes_and_studies(line, found, tmp_path):
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    environment = {**os.environ, **asked, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n"}
    subprocess.run([sys.executable, "-m", "awbench"], env=environment, timeout=60)
    assert [word.strip() for word in answer.read_text().split("\n")] == found
