"""A training that is asked to stop, or loses its loading processes, is saved; what is saved goes on with equal bits."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch
from small_runs import ALONE, Killed, digest, kill_at, make_run, model, train
from tensorboard.summary.writer.record_writer import RecordWriter

from awbench.data.loader import Loader, LoaderError
from awbench.errors import Preempted, UserError
from awbench.tasks.classification import TrainableClassifier
from awbench.training import loop
from awbench.training.checkpoint import Checkpoints
from awbench.training.metrics import MetricsLog


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    network = model()
    finished = train(make_run(tmp_path_factory.mktemp("run")), network, ALONE)
    return digest(network), finished.state.history


def steps(output: Path) -> list[int]:
    return [int(path.stem[5:]) for path in Checkpoints(output / "checkpoints").paths()]


def rows(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def end_and_compare(run, uninterrupted):
    network = model()
    finished = train(run, network, ALONE, resume=True, checkpoint_seconds=0)
    assert (digest(network), finished.state.history) == uninterrupted
    assert [row["evaluation"] for row in rows(run.output) if "evaluation" in row] == [1, 2, 3]


@pytest.mark.parametrize(
    ("signum", "step"),  # between evaluations; before one; before the last
    [(signal.SIGTERM, 6), (signal.SIGINT, 8), (signal.SIGHUP, 12)],
)
def test_a_signal_saves_after_the_step(signum, step, tmp_path, uninterrupted, caplog):
    run = make_run(tmp_path, checkpoint_seconds=1e9)
    ask = lambda progress: os.kill(os.getpid(), signum) if progress.step == step else None  # noqa: E731
    with pytest.raises(Preempted, match=f"stopped after step {step} of 12; saved in .*--resume") as stop:
        train(run, model(), ALONE, on_progress=ask)
    assert stop.value.by == signum
    with caplog.at_level("INFO"):
        end_and_compare(run, uninterrupted)
    assert caplog.messages == [f"resumed after step {step} of 12"]


def test_a_run_goes_on_with_no_other_code_than_it_was_started_with(tmp_path):
    """Its record names one commit, one digest and one torch, and a study takes it for made by those."""
    run = make_run(tmp_path)
    with pytest.raises(Killed):
        train(run, model(), ALONE, on_progress=kill_at(5), made_with={"source_sha256": "a", "torch": "2.14.1"})
    other = r"was started with torch \"2.14.1\", now it is \"2.15.0\"; go back to that one, or delete the folder"
    with pytest.raises(UserError, match=other):
        train(run, model(), ALONE, resume=True, made_with={"source_sha256": "a", "torch": "2.15.0"})
    train(run, model(), ALONE, resume=True, made_with={"source_sha256": "a", "torch": "2.14.1", "new": "not kept then"})


def test_every_machine_that_a_run_was_on_is_kept(tmp_path, monkeypatch, uninterrupted):
    run = make_run(tmp_path)
    for processor, step in (("A", 3), ("A", 5), ("B", 7)):
        monkeypatch.setattr(loop, "cpu_name", lambda name=processor: name)
        with pytest.raises(Killed):
            train(run, model(), ALONE, resume=True, on_progress=kill_at(step))
    finished = train(run, model(), ALONE, resume=True)
    assert finished.state.machines == ["A", "B"] and finished.state.history == uninterrupted[1]


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(tmp_path, uninterrupted, monkeypatch):
    run, evaluate = make_run(tmp_path, checkpoint_seconds=1e9), TrainableClassifier.evaluate
    with monkeypatch.context() as patch:
        patch.setattr(TrainableClassifier, "evaluate", lambda self: (os.kill(os.getpid(), 15), evaluate(self))[1])
        with pytest.raises(Preempted, match="stopped after step 4 of 12"):
            train(run, model(), ALONE)
    assert not any("evaluation" in row for row in rows(tmp_path))
    end_and_compare(run, uninterrupted)


def test_a_second_ctrl_c_does_not_wait_and_an_ignored_signal_stays_ignored(tmp_path):
    def twice(progress):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(make_run(tmp_path / "twice"), model(), ALONE, on_progress=twice)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hang_up = lambda progress: os.kill(os.getpid(), signal.SIGHUP)  # noqa: E731
        train(make_run(tmp_path / "nohup", "epochs=1"), model(), ALONE, on_progress=hang_up)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def to_loading_processes(signum):
    for process in multiprocessing.active_children():
        os.kill(process.pid, signum)


def test_loading_processes_outlive_what_the_process_group_gets(tmp_path, uninterrupted):
    asked = {5: signal.SIGTERM, 6: signal.SIGINT, 7: signal.SIGHUP}
    someone_else = "import os, sys; [os.kill(int(pid), int(sys.argv[1])) for pid in sys.argv[2:]]"

    def ask(progress):
        if signum := asked.pop(progress.step, None):
            pids = [str(process.pid) for process in multiprocessing.active_children()]
            assert len(pids) == 2
            subprocess.run([sys.executable, "-c", someone_else, str(int(signum)), *pids], check=True)

    network = model()
    finished = train(make_run(tmp_path, workers=2), network, ALONE, on_progress=ask)
    assert not asked
    assert (digest(network), finished.state.history) == uninterrupted


def test_a_killed_loading_process_is_a_line_and_costs_no_step(tmp_path, uninterrupted):
    run = make_run(tmp_path, checkpoint_seconds=1e9, workers=2)
    reached = []

    def kill(progress):
        reached.append(progress.step)
        if progress.step == 2:
            to_loading_processes(signal.SIGKILL)
            time.sleep(0.2)  # SIGCHLD comes here, not where a batch is waited for

    with pytest.raises(LoaderError) as error:
        train(run, model(), ALONE, on_progress=kill)
    assert steps(tmp_path)[-1] == reached[-1] >= 2
    message = str(error.value)
    assert "a loading process was killed by SIGKILL" in message and "\n" not in message
    assert f"the last checkpoint is {tmp_path / 'checkpoints' / f'step-{reached[-1]:09}.pt'}" in message
    end_and_compare(run, uninterrupted)


@pytest.mark.parametrize("part", [12, 13])  # the first part of step 7, and its second: statistics have moved
def test_a_step_that_is_not_computed_to_its_end_leaves_the_one_before_whole(part, tmp_path, uninterrupted, monkeypatch):
    run, batches = make_run(tmp_path, checkpoint_seconds=1e9), TrainableClassifier.batches

    def failing(self, first_step):
        for number, batch in enumerate(batches(self, first_step)):
            if number == part:
                raise LoaderError("a loading process failed")
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(TrainableClassifier, "batches", failing)
        with pytest.raises(LoaderError, match="step-000000006.pt"):
            train(run, model(), ALONE)
    end_and_compare(run, uninterrupted)


def test_an_error_inside_the_update_saves_nothing(tmp_path, monkeypatch):
    step, done = torch.optim.SGD.step, []

    def fail(self, *args, **kwargs):
        done.append(step(self, *args, **kwargs))
        if len(done) == 3:  # the network is that of step 3, the state that of step 2
            raise RuntimeError("no such device")

    monkeypatch.setattr(torch.optim.SGD, "step", fail)
    with pytest.raises(RuntimeError, match="no such device"):
        train(make_run(tmp_path, checkpoint_seconds=1e9), model(), ALONE)
    assert steps(tmp_path) == []


class Slow:
    """A view without end."""

    def __getitem__(self, key):
        time.sleep(30)


class Unsendable:
    """A batch that no process can send, as where shared memory is full."""

    def __reduce__(self):
        raise OSError(28, "No space left on device")


def test_a_batch_that_cannot_be_sent_is_an_error_at_once(monkeypatch):
    monkeypatch.setattr(Loader, "silence_seconds", 20)
    monkeypatch.setattr(Loader, "most_silences", 1)
    loader = Loader([0], [[0]], 1, False, lambda samples: Unsendable())
    started = time.monotonic()
    with pytest.raises(LoaderError, match=r"No space left on device.*/dev/shm \(.*MiB free\).*--workers 0"):
        list(loader)
    assert time.monotonic() - started < 20
    assert not multiprocessing.active_children()


def test_loading_processes_that_give_nothing_are_named_and_not_waited_for_without_end(monkeypatch, caplog):
    monkeypatch.setattr(Loader, "silence_seconds", 1)
    monkeypatch.setattr(Loader, "most_silences", 2)
    with pytest.raises(LoaderError, match="no batch came from 2 loading processes for 2 s.*--workers 0"):
        list(Loader(Slow(), [[0], [1]], 2, False, list))
    assert "waiting for loading processes: no batch for 1 s" in caplog.text


def test_loading_processes_that_cannot_be_started_are_a_line(monkeypatch):
    def fail(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", fail)
    with pytest.raises(LoaderError, match="2 loading processes cannot be started: .*/dev/shm"):
        list(Loader([0], [[0]], 2, False, list))


@contextlib.contextmanager
def killed_after_an_evaluation_is_logged(monkeypatch):
    with monkeypatch.context() as patch:
        save = Checkpoints.save

        def fail(self, step, state):
            if json.loads(state["state"])["evaluated"] == 8:
                raise Killed
            return save(self, step, state)

        patch.setattr(Checkpoints, "save", fail)
        with pytest.raises(Killed):
            yield


def test_a_kill_between_the_row_of_an_evaluation_and_its_checkpoint_leaves_one_row(
    tmp_path, uninterrupted, monkeypatch
):
    run = make_run(tmp_path)
    with killed_after_an_evaluation_is_logged(monkeypatch):
        train(run, model(), ALONE)
    assert [row["step"] for row in rows(tmp_path) if "evaluation" in row] == [4, 8]
    end_and_compare(run, uninterrupted)
    logged = [row["step"] for row in rows(tmp_path) if "loss" in row]
    assert logged == [4, 8, 12]  # none of the rows beside it is lost


def test_damaged_lines_of_the_log_are_named_and_left_out(tmp_path, caplog):
    damaged = [b"\x00\x00\xff", b"{", b"[]", b"5", b'{"loss": 1}', b'{"step": "1"}', b'{"step": 1, "loss": []}']
    damaged.append(b"[" * 100_000)
    good = [{"step": step, "loss": 1 / 3, "lr": float("nan")} for step in range(1, 1 + len(damaged))]
    lines = [line for row, damage in zip(good, damaged, strict=True) for line in (damage, json.dumps(row).encode())]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([*lines, b'{"step": 3, "lo']))  # the last one cut by a kill
    MetricsLog(tmp_path, step=6, evaluated=6).close()
    assert list(map(str, rows(tmp_path))) == list(map(str, good[:6]))
    told = caplog.text
    assert [f"line {number} is damaged and left out" in told for number in range(1, 18)] == [*[True, False] * 8, False]


def senseless(name, value):
    return lambda state: {**state, name: value}


def changed_state(**values):
    return lambda state: {**state, "state": json.dumps({**json.loads(state["state"]), **values})}


def momentum_of_another_shape(state):
    first = state["optimizer"]["state"][0]
    first["momentum_buffer"] = torch.zeros(3)
    return state


SENSELESS = [
    lambda state: {},
    lambda state: [],
    lambda state: torch.zeros(3),
    senseless("settings", "[]"),
    senseless("settings", "5"),
    senseless("settings", None),
    senseless("state", "{"),
    senseless("state", "{}"),
    senseless("state", 5),
    senseless("model", {}),
    senseless("model", None),
    senseless("optimizer", {}),
    senseless("optimizer", []),
    changed_state(step=3),
    changed_state(step="2"),
    changed_state(evaluated=3),
    changed_state(history=5),
    changed_state(history=[5]),
    changed_state(interval=["a"]),
    changed_state(seconds=None),
    changed_state(more=1),
    momentum_of_another_shape,
]


def test_a_checkpoint_of_senseless_content_is_a_line(tmp_path):
    run = make_run(tmp_path)
    with pytest.raises(Killed):
        train(run, model(), ALONE, on_progress=kill_at(3))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    step, _ = checkpoints.load_newest()
    whole = checkpoints.path(step).read_bytes()
    for number, change in enumerate(SENSELESS):
        checkpoints.path(step).write_bytes(whole)
        checkpoints.save(step, change(checkpoints.load_newest()[1]))
        pattern = r"step-000000002.pt .*delete it to resume from step-000000001.pt"
        with pytest.raises(UserError, match=pattern) as error:
            train(run, model(), ALONE, resume=True)
        assert "\n" not in str(error.value), number


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard"),  # it is not installed
        ModuleNotFoundError("No module named 'six'", name="six"),
        ImportError("cannot import name 'notf' from 'tensorboard.compat'"),
        TypeError("Descriptors cannot be created\ndirectly"),
        SystemExit("this TensorFlow needs a GPU"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("where", ["import", "SummaryWriter"])
def test_a_tensorboard_that_does_not_work_stops_no_training(where, error, tmp_path, monkeypatch, caplog):
    def fail(*args, **options):
        raise error

    class Module(types.ModuleType):
        def __getattr__(self, name):
            return fail if where == "SummaryWriter" else fail()

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", Module("torch.utils.tensorboard"))
    log = MetricsLog(tmp_path, 0, 0)
    log.write(1, {"loss": 0.5})
    log.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'
    assert caplog.text.count("no TensorBoard events") == (getattr(error, "name", None) != "tensorboard")


@pytest.mark.parametrize("first", [0, 3])
def test_events_that_cannot_be_written_stop_no_training(first, tmp_path, monkeypatch, caplog, capsys):
    """TensorBoard writes in a thread, which prints its own traceback and lets the next event raise."""
    write, written = RecordWriter.write, []

    def full(*args):
        written.append(args)
        if len(written) > first:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*args)

    monkeypatch.setattr(RecordWriter, "write", full)
    log = MetricsLog(tmp_path, 0, 0)
    for step in range(1, 50):
        log.write(step, {"loss": 0.5})
        time.sleep(0.002)
    log.close()
    assert len(rows(tmp_path)) == 49
    assert caplog.text.count("TensorBoard events") == 1 and "No space left" in caplog.text
    assert "Traceback" not in capsys.readouterr().err
