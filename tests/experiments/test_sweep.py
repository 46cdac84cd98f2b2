from __future__ import annotations

import json
import sys

import pytest
from sample_records import make_record
from small_runs import QUICK

from awbench.experiments import sweep as sweeps
from awbench.experiments.ending import VARIABLE, Ending, read_ending, write_ending
from awbench.experiments.sweep import PlannedRun, run_sweep
from awbench.records import RecordStore


def sweep(awbench, *words):
    code, out, err = awbench("sweep", *words, *QUICK, "--json")
    return code, json.loads(out), err


@pytest.mark.end_to_end
def test_a_sweep_trains_records_and_repeats_nothing(awbench, tmp_path):
    code, result, _ = sweep(awbench, "resnet20", "--seeds", "0", "1")
    assert (code, len(result["trained"])) == (0, 2)
    code, result, _ = sweep(awbench, "resnet20", "--seeds", "0", "1", "2", "--parallel", "2")
    assert (code, len(result["found"]), len(result["trained"])) == (0, 2, 1)
    assert len(RecordStore(tmp_path / "results").read().of_kind("accuracy")) == 3


@pytest.mark.end_to_end
def test_a_failed_run_is_listed_and_the_others_go_on(awbench, tmp_path):
    """A run's checkpoint is spoilt, so that one job fails."""
    sweep(awbench, "resnet20", "--keep-checkpoints")
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


def test_the_first_process_that_ends_says_why_and_an_exit_code_does_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "end.json"))
    write_ending(Ending(2, "no such thing"))
    write_ending(Ending(75, "stopped by torchrun, because of the other"))
    ending = read_ending(tmp_path / "end.json", 1)
    assert (ending.code, ending.message) == (2, "no such thing") and not list(tmp_path.iterdir())
    assert read_ending(tmp_path / "end.json", -9).message == "killed by signal 9"


def test_a_process_that_only_helped_does_not_say_how_it_went(awbench, tmp_path, monkeypatch):
    """Of several processes only the main one knows whether the record is new, and any may end first."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "end.json"))
    assert awbench("list")[0] == 0
    assert not (tmp_path / "end.json").exists()
    assert awbench("train", "resnet21")[0] == 2
    assert read_ending(tmp_path / "end.json", 1).code == 2


LAUNCHER = """
import json, os, pathlib, sys
def end(code, message, new):
    ending = {"code": code, "message": message, "new": new}
    pathlib.Path(os.environ["AWBENCH_END_FILE"]).write_text(json.dumps(ending))
seen = pathlib.Path(SEEN)
if not seen.exists():
    seen.touch()
    end(75, "stopped", False)
    sys.exit(1)
sys.path.insert(0, TESTS)
from awbench.records import RecordStore
from sample_records import make_record
from small_runs import QUICK
RecordStore(pathlib.Path(RESULTS)).add(make_record(variant=VARIANT))
end(0, "", True)
"""


@pytest.mark.parametrize(
    ("variant", "failure"), [("resnet50", None), ("resnet18", "without the record that was planned")]
)
@pytest.mark.end_to_end
def test_a_run_that_torchrun_ended_because_it_was_preempted_is_started_again(
    variant, failure, tmp_path, root, monkeypatch
):
    """A launcher that exits with torchrun's code 1 once, its process with 75, and then records this variant or that."""
    store, record = RecordStore(tmp_path), make_record()
    names = {"SEEN": str(tmp_path / "seen"), "TESTS": str(root / "tests"), "RESULTS": str(tmp_path), "VARIANT": variant}
    program = LAUNCHER
    for name, value in names.items():
        program = program.replace(name, repr(value))
    (tmp_path / "launcher.py").write_text(program)
    monkeypatch.setattr(sweeps, "launcher", lambda processes: [sys.executable, str(tmp_path / "launcher.py")])
    run = PlannedRun("a run", record.kind, record.variant, record.key, (), tmp_path / "run")
    result = run_sweep([run], store)
    assert result.trained == ([] if failure else ["a run"])
    assert failure is None or failure in result.failed["a run"]
