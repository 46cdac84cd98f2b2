"""A sweep that is stopped stops its runs, which save themselves; a run is what was planned, or is not made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sample_records import make_record

from awbench.errors import Stopped, UserError
from awbench.experiments import runs as training
from awbench.experiments import sweep as sweeps
from awbench.experiments.ending import Ending
from awbench.experiments.planned import Planned
from awbench.experiments.sweep import PlannedRun, plan_runs, run_sweep
from awbench.recipes import load_recipe
from awbench.records import RecordStore
from awbench.tasks import Job
from awbench.variants import ModelOptions, parse_variant

# Stands for `python -m awbench train`: on SIGTERM it saves, as a file, and ends as a training does.
CHILD = """
import json, os, pathlib, signal, sys, time
folder, code = pathlib.Path(FOLDER), CODE
def end(signum, frame):
    (folder / "saved").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, end)
(folder / f"env-{os.getpid()}").write_text(json.dumps(dict(os.environ)))
(folder / "started").touch()
if code is not None:
    sys.exit(code)
time.sleep(120)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Let a sweep start `CHILD`, which waits, or ends with a code."""

    def make(code=None) -> list[str]:
        (tmp_path / "child.py").write_text(CHILD.replace("FOLDER", repr(str(tmp_path))).replace("CODE", repr(code)))
        command = [sys.executable, str(tmp_path / "child.py")]
        monkeypatch.setattr(sweeps, "launcher", lambda processes: command)
        monkeypatch.setattr(sweeps, "_WAIT_SECONDS", 0.01)
        return command

    return make


def planned_runs(folder: Path, count: int) -> list[PlannedRun]:
    record = make_record()
    return [
        PlannedRun(f"run {i}", record.kind, record.variant, record.key, (), folder / f"run{i}") for i in range(count)
    ]


def wait_for(path: Path, exists: bool = True) -> None:
    deadline = time.monotonic() + 100  # less than `CHILD` sleeps
    while path.exists() != exists:
        assert time.monotonic() < deadline, f"{path} does {'not come' if exists else 'not go'}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("signum", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Stopped), (signal.SIGHUP, Stopped)]
)
def test_a_signal_to_the_sweep_alone_stops_its_runs_which_save_themselves(signum, raised, child, tmp_path):
    child()

    def ask():
        wait_for(tmp_path / "started")
        os.kill(os.getpid(), signum)

    asking = threading.Thread(target=ask)
    asking.start()
    lines = []
    with pytest.raises(raised):
        run_sweep(planned_runs(tmp_path, 3), RecordStore(tmp_path), on_progress=lines.append)
    asking.join()
    assert (tmp_path / "saved").exists()
    assert lines == ["stopping: 1 run to save first (Ctrl-C again does not wait)"]  # none is called failed
    assert not (tmp_path / "run1").exists()  # the queue does not go on


def test_a_run_that_ctrl_c_has_reached_first_ends_the_sweep(child, tmp_path):
    child(code=130)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(planned_runs(tmp_path, 2), RecordStore(tmp_path))
    assert not (tmp_path / "run1").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is signalled on Linux only")
def test_a_run_outlives_no_killed_sweep_and_saves_itself(child, tmp_path, root):
    command = child()
    program = (
        "import sys; from pathlib import Path; from awbench.experiments import sweep as s; "
        "from awbench.records import RecordStore; "
        f"s.launcher = lambda processes: {command!r}; folder = Path({str(tmp_path)!r}); "
        "s.run_sweep([s.PlannedRun('a', 'accuracy', 'resnet20', 'key', (), folder / 'run')], RecordStore(folder))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=root)
    wait_for(tmp_path / "started")
    (started,) = tmp_path.glob("env-*")
    process.kill()
    process.wait()
    wait_for(tmp_path / "saved")
    wait_for(Path("/proc", started.name.removeprefix("env-")), exists=False)


def test_a_run_that_is_asked_to_stop_again_and_again_without_a_step_fails(child, tmp_path):
    child(code=75)
    lines = []
    result = run_sweep(planned_runs(tmp_path, 1), RecordStore(tmp_path), on_progress=lines.append)
    assert "exit code 75" in result.failed["run 0"]
    assert [line.partition(":")[0] for line in lines] == ["again", "again", "failed"]


@pytest.mark.parametrize(("parallel", "policy"), [(1, None), (2, "passive")])
def test_threads_of_runs_side_by_side_share_the_cores_this_process_may_use(
    parallel, policy, child, tmp_path, monkeypatch
):
    child(code=2)
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sweeps, "available_cores", lambda: 6)
    run_sweep(planned_runs(tmp_path, 1), RecordStore(tmp_path), parallel)
    (seen,) = tmp_path.glob("env-*")
    variables = json.loads(seen.read_text())
    assert variables["OMP_NUM_THREADS"] == str(6 // parallel)
    assert variables.get("OMP_WAIT_POLICY") == policy


QUICK = ["epochs=1", "batch_size=256", "norm_batch_size=256"]


def job(recipe: str, **fields) -> Job:
    return Job(parse_variant("resnet20"), ModelOptions(), "digits", None, load_recipe(recipe, QUICK), **fields)


def test_a_recipe_that_is_changed_after_planning_does_not_change_the_run(awbench, tmp_path, root):
    recipe = tmp_path / "mine.yaml"
    text = (root / "awbench/recipes/yaml/classification/digits-quick.yaml").read_text()
    recipe.write_text(text)
    (run,) = plan_runs([job(str(recipe))], tmp_path / "results")
    recipe.write_text(text.replace("weight_decay: ", "weight_decay: 1"))
    run.output.mkdir(parents=True)
    assert awbench(*run.argv, *run.write_plan())[0] == 0
    assert run.is_recorded(RecordStore(tmp_path / "results"))
    (record,) = RecordStore(tmp_path / "results").read().of_kind("accuracy")
    assert record.environment["recipe"] == {"file": str(recipe), "changes": QUICK}
    run.remove_plan()
    assert not list(run.output.glob("plan-*"))


def test_weights_or_code_that_are_changed_after_planning_stop_the_run_with_the_reason(awbench, tmp_path, monkeypatch):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"before")
    (run,) = plan_runs([job("digits-quick", initial_weights=weights)], tmp_path / "results")
    weights.write_bytes(b"after")
    run.output.mkdir(parents=True)
    code, out, err = awbench(*run.argv, *run.write_plan())
    assert (code, out) == (2, "")
    assert "inputs.initial_weights_sha256 was " in err and "start the sweep again" in err and "Traceback" not in err
    weights.write_bytes(b"before")
    monkeypatch.setattr(training, "training_source_digest", lambda task: "new")
    code, _, err = awbench(*run.argv, *run.write_plan())
    assert code == 2 and 'source_sha256 was "' in err and 'now it is "new"' in err


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"a": 1}'])
def test_a_plan_that_is_none_is_a_line(text, awbench, tmp_path):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UserError, match="is not the plan of a run"):
        Planned.read(tmp_path / "plan.json")
    code, _, err = awbench("train", "resnet20", "--plan", "nowhere.json")
    assert code == 2 and "nowhere.json cannot be read" in err


class Handle:
    """A submitted job: the endings of its tasks, or what submitit raises for it."""

    state = "PREEMPTED"

    def __init__(self, *endings: Ending, failure: Exception | None = None) -> None:
        self.endings, self.failure = endings, failure

    def exception(self):
        return self.failure

    def results(self):
        return list(self.endings)


class UncompletedJobError(RuntimeError):
    """submitit's name for a job without a result; the path of its log comes last."""


def test_a_cluster_task_that_saved_itself_is_taken_up_again_and_any_other_says_why():
    saved, wrong, good = Ending(75, "saved"), Ending(2, "no such folder"), Ending(0, new=True)
    assert sweeps._cluster_ending(Handle(good, good), False) == good
    assert sweeps._cluster_ending(Handle(good, saved), False) == saved
    assert sweeps._cluster_ending(Handle(saved, wrong), False) == wrong
    gone = UncompletedJobError("Job 7 has not produced any output\nlook at:\n/logs/7_0_log.err")
    assert sweeps._cluster_ending(Handle(failure=gone), True).code == 75
    ended = sweeps._cluster_ending(Handle(failure=gone), False)
    assert (ended.code, ended.message) == (70, "Job 7 has not produced any output (state PREEMPTED)")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_sweep_that_is_stopped_ends_its_jobs_on_this_machine_which_save_themselves(tmp_path):
    """Through submitit's local executor."""
    recipe = load_recipe("digits-quick", ["epochs=100"])
    (run,) = plan_runs([Job(parse_variant("resnet20"), ModelOptions(), "digits", None, recipe)], tmp_path)

    def interrupt():
        wait_for(run.output / "metrics.jsonl")  # it trains
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        sweeps.submit_sweep([run], RecordStore(tmp_path), "local", {"timeout_min": 5})
    assert run.newest_checkpoint() is not None
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in found
