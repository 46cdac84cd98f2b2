"""The walk of docs/your-module.md: every file written and every command run, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> tuple[Path, list[tuple[str, str]]]:
    """(the folder, (command, what it printed on stdout) of every command)."""
    root = Path(__file__).resolve().parent.parent
    text = (root / "docs" / "your-module.md").read_text().split("## From an empty folder")[1].split("\n## ")[0]
    folder = tmp_path_factory.mktemp("walk")
    (folder / "bin").mkdir()
    script = folder / "bin" / "awbench"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{root}/tests/console_script.py" "$@"\n')
    script.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    printed = []
    for language, block in _BLOCK.findall(text):
        if language != "sh":
            name = {"python": "mine.py", "yaml": "mine-digits.yaml"}[language]
            assert f"`{name}`" in text
            (folder / name).write_text(block)
            continue
        for line in block.splitlines():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                environment[name] = value
                continue
            run = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
            busy = "latency" in line and run.returncode == 3  # too noisy beside other tests
            assert run.returncode == 0 or busy, f"{line}\n{run.stderr}"
            printed.append((line, run.stdout))
    return folder, printed


def test_the_walk_ends_with_an_answer_and_a_page(walked):
    folder, printed = walked
    out = dict(printed)
    assert len(printed) == 8
    assert "aw_mine_resnet50" not in out["awbench list 'mine_*'"] and "mine_resnet101" in out["awbench list 'mine_*'"]
    status = out["awbench study status mine-digits.yaml"]
    assert "mine_resnet20" in status and re.search(r"[+-]\d+\.\d+ \([+-]\d+\.\d+ to [+-]\d+", status), status
    page = (folder / "results" / "report.html").read_text()
    assert "mine_resnet20" in page and "aw_mine_resnet50" in page and "Mine on digits" in page


def test_its_records_name_the_module_and_its_code(walked):
    from awbench.records import Records

    folder, _ = walked
    records = Records.read(folder / "results")
    trained = [record for record in records.of_kind("accuracy") if record.variant == "mine_resnet20"]
    assert sorted(record.options["attention"] == {"power": 2} for record in trained) == [False, False, True]
    for record in [*trained, *(one for one in records.of_kind("complexity") if "mine" in one.variant)]:
        assert len(record.inputs["module_mine_sha256"]) == 64
        assert record.environment["modules"]["mine"]["title"] == "Mine"
