"""Throw-away repositories, without torch."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from awbench.regress import comparison
from awbench.regress.process import SuiteRun
from awbench.regress.trees import Tree

# Sleeping takes its time on a busy machine too, but for the tenths of a millisecond until the process wakes up.
_WORK = """\
import time

def work():
    time.sleep({milliseconds} / 1e3)
"""


class Repository:
    """A git repository with one module, `work`, and a suite beside it that times `work.work`."""

    def __init__(self, folder: Path) -> None:
        self.path, self.suite = folder / "repository", folder / "suite.py"
        self.path.mkdir()
        self.suite.write_text("import work\nWORKLOADS = {'nap': lambda: work.work}\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.write(milliseconds=2)
        self.commit()

    def git(self, *words: str) -> str:
        settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        run = subprocess.run(
            ["git", *who, *words], cwd=self.path, capture_output=True, text=True, check=True, env=os.environ | settings
        )
        return run.stdout.strip()

    def write(self, milliseconds: float) -> None:
        """How long a call of `work.work` takes."""
        (self.path / "work.py").write_text(_WORK.format(milliseconds=milliseconds))

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "work")
        return self.git("rev-parse", "HEAD")

    def tree(self, side: str = "base") -> Tree:
        """The repository's own folder as a tree."""
        return Tree(side, self.path, "main", "0" * 40)

    @property
    def suite_run(self) -> SuiteRun:
        return SuiteRun(self.suite)


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    """A repository, which is the current directory."""
    repository = Repository(tmp_path)
    monkeypatch.chdir(repository.path)
    return repository


@pytest.fixture
def temporary_files(tmp_path, monkeypatch) -> Path:
    """The folder of temporary files, this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def quick(monkeypatch) -> None:
    """Turns that are shorter than sensible, so that pairs take a quarter of a second."""
    monkeypatch.setattr(comparison, "WARM_UP_SECONDS", 0.02)
    monkeypatch.setattr(comparison, "TURN_SECONDS", 0.01)
