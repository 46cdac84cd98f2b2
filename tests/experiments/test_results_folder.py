"""The results folder changes, or the clock, while a run writes to it: the run ends with its record, or in a line."""

from __future__ import annotations

import itertools
import shutil
from contextlib import contextmanager

import pytest
from faults import TRAIN, results, small_digits

from awbench.cli import train
from awbench.data import datasets
from awbench.experiments import runs
from awbench.records import Records, environment


@pytest.fixture
def meanwhile(awbench, tmp_path, monkeypatch):
    """Train in the folder `results` and call a function after its first step; returns as `awbench` does."""
    monkeypatch.setitem(datasets.DATASETS, "digits", datasets.DATASETS["digits"])  # as before, at the end
    small_digits()

    def run(function, *more):
        @contextmanager
        def progress(name):
            yield lambda at: function(tmp_path / "results") if at.step == 1 else None

        with monkeypatch.context() as patch:
            patch.setattr(train, "_progress", progress)
            return awbench(*TRAIN, *more)

    return run


def removed(folder):
    shutil.rmtree(folder)


def moved(folder):
    folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize("how", [removed, moved])
def test_a_folder_that_is_gone_is_made_again_and_has_the_record_and_the_weights(how, meanwhile, awbench, tmp_path):
    assert meanwhile(lambda folder: None, "--results", "whole")[0] == 0
    code, _, err = meanwhile(how)
    assert code == 0 and "Traceback" not in err
    found, whole = results(tmp_path / "results"), results(tmp_path / "whole")
    assert found.items() <= whole.items()
    assert {name.rpartition(".")[2] for name in found} == {"json", "safetensors"}
    assert "not trained again" in awbench(*TRAIN)[2]


def test_a_file_in_the_folders_place_is_an_error_of_one_line(meanwhile):
    def replaced(folder):
        shutil.rmtree(folder)
        folder.touch()

    code, _, err = meanwhile(replaced)
    assert code == 2 and err.splitlines()[-1].startswith("awbench: ") and "Not a directory" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_clock_that_is_set_back_changes_neither_results_nor_which_record_is_the_newest(
    meanwhile, tmp_path, monkeypatch
):
    assert meanwhile(lambda folder: None, "--results", "whole")[0] == 0
    times, seconds = itertools.count(), itertools.count()
    for module in ("awbench.experiments.runs", "awbench.experiments.lock", "awbench.records.environment"):
        monkeypatch.setattr(f"{module}.now", lambda: f"2026-01-01T00:00:{59 - next(times):02}.000000Z")
    monkeypatch.setattr("time.time", lambda: 1e9 - 86_400 * next(seconds))
    assert meanwhile(lambda folder: None)[0] == 0
    assert results(tmp_path / "results") == results(tmp_path / "whole")
    assert meanwhile(lambda folder: None, "--seed", "1")[0] == 0
    first, second = Records.read(tmp_path / "results").of_kind("accuracy")
    assert (first.settings.seed, second.settings.seed) == (0, 1) and second.finished < first.finished < first.started


def test_the_record_has_the_code_that_ran_whatever_the_checkout_holds_at_the_end(
    meanwhile, awbench, tmp_path, monkeypatch
):
    """A pull during a run is not what ran."""
    digests, commits = itertools.count(), itertools.count()
    monkeypatch.setattr(runs, "training_source_digest", lambda task: f"source {next(digests)}")
    monkeypatch.setattr(environment, "_git", lambda *words: f"commit {next(commits)}" if "HEAD" in words else "")
    environment.git_state.cache_clear()
    assert meanwhile(lambda folder: next(commits))[0] == 0
    (record,) = Records.read(tmp_path / "results").of_kind("accuracy")
    assert (record.environment["git_commit"], record.environment["source_sha256"]) == ("commit 0", "source 0")
    environment.git_state.cache_clear()
