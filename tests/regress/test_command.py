"""`awbench regress` on throw-away repositories: real processes, planted differences."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from awbench.cli.regress import sentence
from awbench.regress import comparison
from awbench.regress.comparison import ComparisonGoal, judge

# Wide enough for any machine: here the question is whether the parts fit together; how fine a difference is
# found, and how seldom one is where there is none, is in test_calibration.py.
TOLERANT = ("--width", "15", "--ignore", "10", "--budget", "60")


@pytest.fixture
def regress(awbench, repository, monkeypatch, quick):
    """Run `awbench regress --suite SUITE WORDS...` in the repository."""
    monkeypatch.chdir(repository.path)  # awbench's own fixture goes to an empty folder

    def run(*words: str):
        return awbench("regress", "--suite", repository.suite, *words)

    return run


def test_a_slowdown_that_is_not_committed_is_found(regress, repository, temporary_files):
    repository.write(milliseconds=2.8)
    code, out, err = regress("--base", "main", "--json", "--markdown", "change.md", *TOLERANT)
    found = json.loads(out)
    (workload,) = found.pop("workloads")
    assert code == 1, err
    assert workload["decision"] == "slower"
    low, high = workload["ratio_ci"]
    assert 1.1 < low < workload["ratio"] < high < 2
    assert 2.0 < workload["base_ms"] < workload["head_ms"]
    assert (workload["workload"], workload["level"]) == ("nap", 0.95)
    assert workload["pairs"] >= 8
    assert found["base"] == {"ref": "main", "commit": repository.git("rev-parse", "main")}
    assert found["head"] == {"ref": None, "commit": "working tree"}
    assert (found["width"], found["ignore"], found["level"]) == (0.15, 0.1, 0.95)
    text = (repository.path / "change.md").read_text()
    assert "**Latency: 1 slower**" in text
    assert "| slower by " in text
    assert list(temporary_files.iterdir()) == []
    assert [path.name for path in repository.path.rglob("__pycache__")] == []


def test_two_commits_and_a_speedup(regress, repository):
    repository.write(milliseconds=1.2)
    repository.commit()
    code, out, _ = regress("--base", "HEAD~1", "--head", "HEAD", *TOLERANT)
    assert code == 0
    assert out.startswith("nap")
    assert "ms  faster by " in out.splitlines()[0]


def test_identical_trees_do_not_differ(regress):
    code, out, err = regress("--base", "main", *TOLERANT)
    assert code == 0, out
    assert "ms  no difference larger than " in out.splitlines()[0]
    assert "the intervals hold together at 95 %" in out
    assert "head working tree" in err


def test_too_little_time_is_not_taken_for_no_difference(regress):
    code, out, _ = regress("--base", "main", "--width", "0.01", "--budget", "0.1")
    assert code == 3
    assert "not measured finely enough: too few pairs (1)" in out
    code, out, _ = regress("--base", "main", "--width", "0.01", "--budget", "0.1", "--json")
    assert code == 3
    assert json.loads(out)["workloads"][0]["ratio_ci"] is None


@pytest.mark.parametrize(
    ("heads_ms", "expected"),
    [
        ([2.09, 2.10, 2.11], "slower by 5.0 % (4.5 to 5.5 %)"),
        ([1.89, 1.90, 1.91], "faster by 5.0 % (4.5 to 5.5 %)"),
        ([1.98, 1.99, 2.00], "no difference larger than 1.0 %"),
        ([1.80, 2.01, 2.20], "not measured finely enough: between -10.0 % and +10.0 %"),
        ([2.00], "not measured finely enough: too few pairs (1)"),
    ],
)
def test_decisions_as_a_person_reads_them(heads_ms, expected):
    pairs = [{"nap": (2.0, ms)} for ms in heads_ms * (2 if len(heads_ms) > 1 else 1)]
    (change,) = judge(pairs, ComparisonGoal())
    assert sentence(change) == expected


def test_a_disturbed_measurement_says_so(regress, monkeypatch):
    times = itertools.cycle({"nap": (2.0, ms)} for ms in (1.8, 2.0, 2.2))
    monkeypatch.setattr(comparison, "measure_pair", lambda *args, **kwargs: next(times))
    out = regress("--base", "main", *TOLERANT)[1]
    assert re.search(r"nap: the pairs' ratios vary by 1\d.\d %: other load on this machine\?", out)


def test_an_interrupted_run_leaves_nothing(regress, monkeypatch, temporary_files):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "judge", interrupt)
    assert regress("--base", "main")[0] == 130
    assert list(temporary_files.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required: --base"),
        (("--base", "mian"), "--base 'mian' is not a commit of"),
        (("--base", "main", "--head", "main~9"), "--head 'main~9' is not a commit of"),
        (("--base", "main", "--suite", "nowhere.py"), "--suite nowhere.py is not a file"),
        (("--base", "main", "--variants", "resnet18"), "--variants concerns the default suite"),
        (("--base", "main", "--width", "0"), "--width 0 must be"),
        (("--base", "main", "--width", "nan"), "--width nan must be"),
        (("--base", "main", "--budget", "inf"), "--budget inf must be"),
        (("--base", "main", "--budget", "soon"), "invalid float value: 'soon'"),
        (("--base", "main", "--ignore", "-1"), "--ignore -1 must be"),
        (("--base", "main", "--threads", "0"), "--threads 0 must be"),
        (("--base", "main", "--device", "tpu"), "invalid choice: 'tpu'"),
        (("--base", "main", "--markdown", "."), "--markdown . is not the name of a file"),
        (("--base", "main", "--markdown", "nowhere/change.md"), "is not the name of a file in a folder that exists"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(words, message, regress, temporary_files):
    code, out, err = regress(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert list(temporary_files.iterdir()) == []


def test_cuda_where_there_is_none(regress, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, out, err = regress("--base", "main", "--device", "cuda")
    assert (code, out) == (2, "")
    assert err == "awbench: device cuda is not available on this machine; use --device cpu\n"


def test_a_head_that_fails_is_named(regress, repository, temporary_files):
    (repository.path / "work.py").write_text("def work():\n    raise ValueError('broken\\nhere')\n")
    code, out, err = regress("--base", "main")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "awbench: head, working tree: workload nap fails: here"
    assert "Traceback" not in err
    assert list(temporary_files.iterdir()) == []
