"""A command is killed at random moments and started again.

PYTHONPATH=tests python tests/kills.py COMMAND [KILLS [SEED]], where COMMAND is one of `reproduce` (two networks and a
detector counted, two timed, a study of two runs), `torchrun` (two gloo processes that train a classifier) and
`detector` (torchvision's engine, a loading process). Each kill is SIGKILL to all processes of the command, or to one
of them. In the end files are those of a command that was not killed, and no process and no unfinished file is left.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from faults import results
from study_files import write_study

ROOT = Path(__file__).resolve().parents[1]
# Seconds are in them, which no two runs share.
_TIMED = re.compile("tables/(speed|latency|digits-detection|studies)[.]|figures/latency|report.html|records/latency/")
_CLASSIFIER = (
    "aw_resnet20", "--set", "epochs=4", "--set", "batch_size=96", "--set", "norm_batch_size=32",
)  # fmt: skip
_DETECTOR_CHANGES = (
    "iterations=12", "evaluate_every=6", "batch_size=2", "images_per_part=1", "lr_scaled_by=1", "norm=batch",
    "schedule={steps: [8], warmup_iterations: 1}", "input={train: [48, 64], train_max: 96, test: 48, test_max: 96}",
    "sampling={anchors: 32, regions: 16, train_proposals: 50, test_proposals: 20}",
)  # fmt: skip


def reproduce(folder: Path) -> list[str]:
    study = write_study(folder, changes=["epochs=2", "batch_size=96", "norm_batch_size=32"])
    return [sys.executable, __file__, "small-reproduce", study, "reproduce"]


def torchrun(folder: Path) -> list[str]:
    from awbench.experiments.sweep import launcher

    words = ["-m", "awbench", "train", *_CLASSIFIER, "--checkpoint-seconds", "0.2", "--resume"]
    return [*launcher(2), *words]


def detector(folder: Path) -> list[str]:
    from awbench.data.digits_detection import write

    write(folder / "set", train_images=8, val_images=3, width=96, height=64)
    words = [sys.executable, "-m", "awbench", "train", "faster_rcnn_resnet18_fpn", "--engine", "torchvision"]
    words += ["--dataset", "digits-detection", "--data", str(folder / "set"), "--workers", "1", "--resume"]
    return [*words, "--checkpoint-seconds", "0", *(word for change in _DETECTOR_CHANGES for word in ("--set", change))]


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "reproduce": reproduce, "torchrun": torchrun, "detector": detector,
}  # fmt: skip


def small_reproduce(study: str, argv: Sequence[str]) -> int:
    """`awbench reproduce` with little to measure, in this process."""
    from awbench.cli import grid
    from awbench.cli import reproduce as command
    from awbench.cli.main import main
    from awbench.variants import list_variants

    names = ("resnet20", "aw_resnet20", "faster_rcnn_resnet18_fpn")
    small = [variant for variant in list_variants() if variant.name in names]
    grid.list_variants = lambda task: [variant for variant in small if variant.task == task]
    grid.LATENCY_ARCHITECTURES, grid.LATENCY_SECONDS, command.STUDIES = ("resnet20",), 0.5, (study,)
    return main(argv)


def processes_of(mark: str) -> list[int]:
    """Those whose environment has AWBENCH_KILLS=mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"AWBENCH_KILLS={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


def start(command: Sequence[str], where: Path, mark: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "AWBENCH_KILLS": mark,
        "AWBENCH_AW_STRATEGY": "rule", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return subprocess.Popen(
        [*command, "--results", str(where)], env=environment, cwd=ROOT, start_new_session=True, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def left_behind(where: Path, mark: str) -> list[str]:
    """Processes and unfinished files, after those that still save themselves had time to."""
    until = time.monotonic() + 60
    while (pids := processes_of(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    return [*(f"process {pid}" for pid in pids), *(str(path) for path in where.rglob("*.partial"))]


def compared(where: Path) -> dict[str, str]:
    """Of the log the rounded rows: processes add up an interval's losses in another order if it was interrupted."""
    names = [path.name for path in where.glob("records/*/*.json")]
    keys = {name.partition("Z-")[0].rpartition("-")[0] for name in names}
    found = {name: digest for name, digest in results(where).items() if not _TIMED.search(name)}
    for path in where.rglob("metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[str(path.relative_to(where))] = repr(
            [{name: f"{value:.10g}" for name, value in row.items() if name != "images_per_s"} for row in rows]
        )
    return {**found, "records": f"{len(names)} of {len(keys)} keys"}


def check(name: str, kills: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Counts of what was killed and of how the command ended; what went wrong."""
    moments, counts, wrong, mark = random.Random(seed), Counter[str](), list[str](), f"{os.getpid()}-{seed}"
    command, whole, killed = COMMANDS[name](folder), folder / "whole", folder / "killed"
    began = time.monotonic()
    process = start(command, whole, mark)
    said = process.communicate()[1]
    longest = time.monotonic() - began
    assert process.returncode == 0, said
    expected, done = compared(whole), 0
    while True:
        process = start(command, killed, mark)
        what = "nothing"
        try:
            left = None if done == kills else moments.uniform(longest / 5, longest)
            said = process.communicate(timeout=left)[1]
        except subprocess.TimeoutExpired:
            pids = processes_of(mark)
            what = moments.choice(("all", "all", "first", "any"))
            kill({"all": pids, "first": [process.pid], "any": [moments.choice(pids or [process.pid])]}[what])
            done += 1
            said = process.communicate()[1]  # of all that hold the pipe
        counts[f"killed {what}: exit code {process.returncode}"] += 1
        if re.search(r'File ".*/awbench/', said) or (what == "nothing" and process.returncode):
            wrong.append(f"kill {done}, of {what}, exit code {process.returncode}: {said[-1500:]}")
        if process.returncode == 0:
            litter, found = left_behind(killed, mark), compared(killed)
            differing = sorted(n for n in {*found, *expected} if found.get(n) != expected.get(n))
            counts["compared with the command that was not killed"] += 1
            if litter or differing:
                wrong.append(f"after {done} kills: left {litter}, differing {differing}")
            shutil.rmtree(killed)
        print(f"{name}: {done} of {kills} kills, {len(wrong)} wrong", *wrong[-1:], file=sys.stderr, flush=True)
        if what == "nothing" and done == kills:
            kill(processes_of(mark))
            return counts, wrong


if __name__ == "__main__":
    if sys.argv[1] == "small-reproduce":
        sys.exit(small_reproduce(sys.argv[2], sys.argv[3:]))
    numbers = [int(word) for word in sys.argv[2:]]
    drawn = numbers[1] if len(numbers) > 1 else time.time_ns()
    print("seed", drawn)
    with tempfile.TemporaryDirectory() as temporary:
        counted, failures = check(sys.argv[1], numbers[0] if numbers else 40, drawn, Path(temporary))
    for answer, times in sorted(counted.items()):
        print(f"{times:6} {answer}")
    print(*failures, sep="\n")
    sys.exit(bool(failures))
