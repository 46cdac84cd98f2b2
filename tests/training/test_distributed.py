"""The same run on one process and on several, started as a person would."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_runs import Killed, kill_at, make_run, model, train

from awbench.errors import UserError
from awbench.training import distributed
from awbench.training.checkpoint import Checkpoints
from awbench.training.distributed import World

ROOT = Path(__file__).resolve().parents[2]
RUN = [
    "-m", "awbench", "train", "aw_resnet20", "--set", "epochs=2", "--set", "batch_size=96",
    "--set", "norm_batch_size=32", "--checkpoint-seconds", "0.2", "--json",
]  # fmt: skip


def launch(processes: int) -> list[str]:
    if processes == 1:
        return [sys.executable]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]


def start(processes: int, output: Path, *words: str) -> subprocess.Popen:
    command = [*launch(processes), *RUN, "--output", str(output), "--results", str(output / "results"), *words]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(processes: int, output: Path, *words: str) -> dict:
    process = start(processes, output, *words)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    weights = output / "weights.safetensors"
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()["awbench"]
    return {"result": json.loads(out), "weights": load_file(weights), "metadata": metadata}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(1, tmp_path_factory.mktemp("alone"))


def gradients_of_one_step(processes: int, output: Path) -> dict[str, torch.Tensor]:
    """The first step's momentum, which is its gradient, and the running statistics after it; 11 uneven parts."""
    changes = ("--set", "epochs=1", "--set", "batch_size=1408", "--set", "norm_batch_size=128")
    run(processes, output, *changes, "--keep-checkpoints")
    step, state = Checkpoints(output / "checkpoints").load_newest()
    assert step == 1
    momentum = {f"gradient {i}": s["momentum_buffer"] for i, s in state["optimizer"]["state"].items()}
    statistics = {name: tensor for name, tensor in state["model"].items() if "running" in name or "tracked" in name}
    return momentum | statistics


@pytest.mark.end_to_end
@pytest.mark.parametrize("processes", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_processes_share_a_step_without_changing_it(processes, tmp_path):
    """Gradients and running statistics are those of one process, but for the order of summation in float32."""
    alone = gradients_of_one_step(1, tmp_path / "1")
    shared = gradients_of_one_step(processes, tmp_path / str(processes))
    assert shared.keys() == alone.keys()
    for name, expected in alone.items():
        error = (shared[name] - expected).float().norm() / expected.float().norm().clamp(min=1e-5)
        assert error < 1e-3, name


@pytest.mark.end_to_end
@pytest.mark.parametrize("processes", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_processes_share_an_evaluation_to_the_last_image(processes, alone, tmp_path):
    """359 images, which neither 2 nor 3 divides; the same weights, so the same counts."""
    weights = str(tmp_path / "weights.safetensors")
    save_file(alone["weights"], weights, {"awbench": alone["metadata"]})
    words = ["-m", "awbench", "eval", "aw_resnet20", "--weights", weights, "--results", str(tmp_path), "--json"]
    out = subprocess.run([*launch(processes), *words], capture_output=True, text=True, check=True).stdout
    evaluated = json.loads(out)
    for name in ("images", "top1", "top5"):
        assert evaluated[name] == alone["result"][name]
    assert evaluated["loss"] == pytest.approx(alone["result"]["loss"], rel=1e-5)


@pytest.mark.end_to_end
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_sigterm_saves_and_exits_with_resume_me(processes, tmp_path, alone):
    process = start(processes, tmp_path)
    while not list(tmp_path.glob("checkpoints/step-*.pt")):
        time.sleep(0.1)
        assert process.poll() is None, process.stderr.read()
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    if processes == 1:  # torchrun has an exit code of its own
        assert process.returncode == 75, err
    resumed = run(processes, tmp_path, "--resume")
    if processes == 1:
        assert all(torch.equal(resumed["weights"][name], tensor) for name, tensor in alone["weights"].items())


def running(word: str) -> list[int]:
    """Processes with the word on their command line."""
    return [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline") if word.encode() in read(p)]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def parent_of(pid: int) -> int:
    """0 where it has ended."""
    return int((read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split() or [b"", b"0"])[1])


@pytest.mark.end_to_end
@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is signalled on Linux only")
@pytest.mark.parametrize("seconds", [pytest.param(0.0, marks=pytest.mark.slow), None])
def test_no_process_outlives_a_killed_torchrun(seconds, tmp_path):
    """Killed while its processes import torch, or (None) while they train."""
    process = start(2, tmp_path, "--set", "epochs=100")
    while len(running(str(tmp_path))) < 3:
        time.sleep(0.1)
        assert process.poll() is None, process.stderr.read()
    while seconds is None and not list(tmp_path.glob("checkpoints/step-*.pt")):
        time.sleep(0.1)
        assert process.poll() is None, process.stderr.read()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)  # its processes hold the other end of the pipe: this returns when all are gone
    assert not running(str(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_loading_process_killed_on_another_process_costs_no_whole_step(tmp_path, alone, monkeypatch):
    end = tmp_path / "end.json"
    monkeypatch.setenv("AWBENCH_END_FILE", str(end))
    process = start(2, tmp_path, "--workers", "1", "--checkpoint-seconds", "1e9")
    while not list(tmp_path.glob("checkpoints/step-*.pt")):
        time.sleep(0.1)
        assert process.poll() is None, process.stderr.read()
    (second,) = [pid for pid in running(str(tmp_path)) if b"\0RANK=1\0" in read(Path(f"/proc/{pid}/environ"))
                 and parent_of(pid) == process.pid]  # fmt: skip
    loading, *_ = sorted(pid for pid in running(str(tmp_path)) if parent_of(pid) == second)  # others evaluate
    os.kill(loading, signal.SIGKILL)
    process.communicate(timeout=120)
    ending = json.loads(end.read_text())  # of the process that failed, not of the one that lost it
    assert ending["code"] == 2 and re.search("a loading process .*[kK]illed", ending["message"])
    step, _ = Checkpoints(tmp_path / "checkpoints").load_newest()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert step >= max(row["step"] for row in rows)
    monkeypatch.delenv("AWBENCH_END_FILE")
    assert run(2, tmp_path, "--resume")["result"]["images"] == alone["result"]["images"]


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (1, 2), (2, 0)])
def test_ten_kills_at_random_moments_end_with_the_same_bits(processes, workers, tmp_path):
    words = ("--workers", str(workers), "--set", "epochs=12")  # long enough to be killed ten times
    whole = run(processes, tmp_path / "whole", *words)
    random.seed(time.time_ns())
    killed = 0
    for _ in range(40):
        process = start(processes, tmp_path / "killed", *words, "--resume")
        try:
            process.wait(timeout=random.uniform(4.0, 9.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        process.communicate()
        if killed == 10 or process.returncode == 0:
            break
    resumed = run(processes, tmp_path / "killed", *words, "--resume") if process.returncode else None
    weights = resumed["weights"] if resumed else load_file(tmp_path / "killed" / "weights.safetensors")
    assert killed >= 3
    assert all(torch.equal(weights[name], tensor) for name, tensor in whole["weights"].items())


@dataclass(frozen=True)
class WithPeer(World):
    """The main process's world; another process has a loss of 5 in every step, and a bad image in its second."""

    peer: dict = field(default_factory=dict)

    def largest(self, *numbers):
        if len(numbers) == 1:  # of `any`
            return [*map(int, numbers)]
        self.peer["step"] += 1
        self.peer["interval"] += torch.tensor([5.0, 1.0])
        stop, save, news, bad = map(int, numbers)
        return [stop, save, int(news or self.peer["step"] == 2), bad]

    def gather(self, items):
        return [*items, "peer.jpg cannot be decoded"]

    def sum(self, tensor):
        if tensor.shape == (2,):  # the losses and their number, not what an evaluation counts
            tensor += self.peer["interval"]
            self.peer["interval"].zero_()
        return tensor


def test_what_another_process_found_is_in_the_checkpoint(tmp_path):
    """It begins at nothing when the run is resumed: its losses since the last row of the log, and its bad images."""

    def logged(output):
        rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        return {row["step"]: row["loss"] for row in rows if "evaluation" not in row}

    def world(step=0):
        return WithPeer(0, 1, torch.device("cpu"), peer={"step": step, "interval": torch.zeros(2)})

    train(make_run(tmp_path / "whole"), model(), world())
    killed = make_run(tmp_path / "killed")
    with pytest.raises(Killed):
        train(killed, model(), world(), on_progress=kill_at(7))
    finished = train(killed, model(), world(6), resume=True)
    assert logged(tmp_path / "killed") == pytest.approx(logged(tmp_path / "whole"), rel=1e-12)
    assert finished.state.bad_images == ["peer.jpg cannot be decoded"]


DIVERGES_ON_ONE = """
import os, sys
from awbench.cli.main import main
from awbench.tasks.classification import TrainableClassifier as T
losses, count = T.losses, [0]

def diverging(self, model, batch, seed):
    found = losses(self, model, batch, seed)
    count[0] += 1
    bad = os.environ["RANK"] == "1" and count[0] == 2
    return {name: loss * (float("nan") if bad else 1.0) for name, loss in found.items()}

T.losses = diverging
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.end_to_end
def test_a_loss_that_is_not_finite_on_one_process_ends_all_with_the_same_line(tmp_path):
    """One that left alone would leave the others in a collective, on GPUs for half an hour."""
    (tmp_path / "diverges.py").write_text(DIVERGES_ON_ONE)
    _, _, *words = RUN
    words += ["--set", "norm_batch_size=48", "--output", str(tmp_path / "run"), "--results", str(tmp_path / "results")]
    command = [*launch(2), f"--log-dir={tmp_path / 'log'}", "--tee=3", str(tmp_path / "diverges.py"), *words]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode != 0
    said = [path.read_text() for path in sorted((tmp_path / "log").rglob("stderr.log"))]
    assert len(said) == 2
    assert all("the loss is not finite at step 2" in text for text in said), said
    assert not any("Traceback" in text for text in said)


def test_after_an_error_the_processes_are_not_taken_down_together(monkeypatch):
    """Taking a group down waits for processes that are in a collective which this one will never enter."""
    taken_down = []
    monkeypatch.setattr(distributed, "rank_and_size", lambda: (1, 2))
    monkeypatch.setattr(distributed, "_die_with_the_launcher", lambda: None)
    for name, value in (("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    for name in ("init_process_group", "new_group"):
        monkeypatch.setattr(distributed.dist, name, lambda *args, **options: None)
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: taken_down.append(True))
    with pytest.raises(UserError), distributed.join_world("cpu"):
        raise UserError("an image cannot be decoded")
    assert not taken_down
    with distributed.join_world("cpu"):
        pass
    assert taken_down
