from __future__ import annotations

import json
import subprocess
import sys

import pytest
from sample_records import make_record

from awbench.records import RecordStore
from awbench.training.sweep import SweepJob, _reason, run_sweep

QUICK = ("--set", "epochs=1", "--set", "batch_size=256", "--set", "norm_batch_size=256")


def sweep(awbench, *words):
    code, out, err = awbench("sweep", *words, *QUICK, "--json")
    return code, json.loads(out), err


def test_a_sweep_trains_records_and_repeats_nothing(awbench, tmp_path):
    code, result, _ = sweep(awbench, "resnet20", "--seeds", "0", "1")
    assert (code, len(result["trained"])) == (0, 2)
    code, result, _ = sweep(awbench, "resnet20", "--seeds", "0", "1", "2", "--parallel", "2")
    assert (code, len(result["found"]), len(result["trained"])) == (0, 2, 1)
    assert len(RecordStore(tmp_path / "results").load("accuracy")) == 3


def test_a_failed_run_is_listed_and_the_others_go_on(awbench, tmp_path):
    """A run's checkpoint is spoilt, so that one job fails."""
    sweep(awbench, "resnet20")
    (folder,) = (tmp_path / "results/runs").iterdir()
    record = next((tmp_path / "results/records/accuracy").iterdir())
    record.unlink()
    newest = sorted(folder.glob("checkpoints/*.pt"))[-1]
    newest.write_bytes(b"spoilt")
    code, result, _ = sweep(awbench, "resnet20", "--seeds", "0", "1")
    assert code == 2
    assert list(result["failed"]) == ["resnet20 digits-quick seed 0"]
    assert "truncated or was changed" in result["failed"]["resnet20 digits-quick seed 0"]
    assert result["trained"] == ["resnet20 digits-quick seed 1"]
    assert newest.read_bytes() == b"spoilt"


def test_two_sweeps_at_once_share_the_work(tmp_path, root):
    words = [
        sys.executable, "-m", "awbench", "sweep", "resnet20", "--seeds", "0", "1", "2", *QUICK,
        "--results", str(tmp_path), "--json",
    ]  # fmt: skip
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(len(result["trained"]) for result in results) == 3
    records = RecordStore(tmp_path).load("accuracy")
    assert len({record.key for record in records}) == len(records) == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_cluster_path_through_submitits_local_executor(awbench, tmp_path):
    code, result, _ = sweep(awbench, "resnet20", "--cluster", "local", "--cluster-set", "timeout_min=5")
    assert (code, result["failed"]) == (0, {})
    assert len(RecordStore(tmp_path / "results").load("accuracy")) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("resnet20", "--parallel", "0"), "--parallel and --processes must be at least 1"),
        (("resnet21",), "did you mean resnet20?"),
        (("resnet20", "--recipes", "digits"), "did you mean digits-quick?"),
        (("resnet20", "--dataset", "imagenet"), "--data DIR"),
        (("resnet20", "--cluster", "local", "--cluster-set", "nodes"), "not of the form KEY=VALUE"),
        (("resnet20", "--cluster", "slurm"), "cluster slurm"),
    ],
)
def test_bad_input(words, message, awbench):
    code, out, err = awbench("sweep", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_the_reason_of_a_failed_run_is_our_line_and_not_torchruns_report():
    report = "awbench: no such thing\n=====\n  exitcode  : 2 (pid: 7)\n=====\n"
    assert _reason(report) == "awbench: no such thing"
    assert _reason("") == "no output"


def test_a_run_that_torchrun_says_was_preempted_is_started_again(tmp_path, root):
    """A launcher that fails once as torchrun reports a worker's exit code 75, and then records."""
    store = RecordStore(tmp_path)
    record = make_record()
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        "import pathlib, sys\n"
        f"seen = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        "if not seen.exists():\n"
        "    seen.touch(); print('  exitcode  : 75 (pid: 7)'); sys.exit(1)\n"
        "from awbench.records import RecordStore\n"
        f"sys.path.insert(0, {str(root / 'tests')!r})\n"
        "from sample_records import make_record\n"
        f"RecordStore(pathlib.Path({str(tmp_path)!r})).add(make_record()); print('trained and recorded')\n"
    )
    job = SweepJob("a run", record.kind, record.variant, record.key, (), tmp_path / "run")
    result = run_sweep([job], store, launcher=[sys.executable, str(launcher)])
    assert (result.trained, result.failed) == (["a run"], {})
