"""Command lines at random: every command and option of the parser, with values that fit and values that do not.

PYTHONPATH=tests python tests/command_lines.py [COUNT [SEED]] gives so many to the command line, in this process, and
prints how many ended how. Where measuring, training or timing would begin, an error of the input takes its place.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from sample_records import make_record

from awbench.cli.main import _parser, main
from awbench.errors import UserError
from awbench.records import RecordStore

HOSTILE = [
    "", " ", "-", "--", "-1", "0", "1", "1e400", "nan", "inf", "-inf", "9" * 5000, "0x10", "1_0", "\u0661",
    "true", "null", "=", "a=", "=a", "a=b", "a=b=c", "epochs", "epochs=-1", "epochs=1e9", "lr=nan",
    "optimizer.lr=[", "optimizer={", "x" * 5000, "../..", "/", "/dev/null", "/dev/full", "/nowhere/at/all",
    "folder", "file", "binary", "fifo", "deep.yaml", "latin.yaml", "list.yaml", "empty.yaml", "file.pth", "a,b",
    "name:desc", ":desc", "\x1b[31m", "\u202e", "\udcff", "%s%n", "{0}", "$(x)", "resnet20", "aw_resnet20",
    "resnet51", "faster_rcnn_resnet18_fpn", "digits", "imagenet", "coco", "digits-detection", "fake", "cpu",
    "cuda", "auto", "v1", "v1.5", "1x1", "800x", "224", "32", "float16", "channels_last", "nodes=2",
    "reduction=0", "reduction=4", "gate=x", "top1=0.1", "top1=-1", "resnet101=70", "500h", "2d", "HEAD", "main"
]  # fmt: skip
FITTING: dict[str, list[str]] = {
    "variant": ["resnet20", "aw_resnet20", "se_resnet20", "faster_rcnn_resnet18_fpn"],
    "variants": ["resnet20", "aw_resnet20", "cbam_resnet20"],
    "study": ["digits", "imagenet", "coco"],
    "kind": ["claims", "complexity", "latency", "grid", "proxy", "studies"],
    "results": ["results", "other"],
    "changes": ["epochs=1", "batch_size=64", "optimizer.lr=0.1"],
    "dataset": ["digits", "digits-detection", "fake"],
    "weights": ["file.pth", "IMAGENET1K_V1"],
    "columns": ["variant", "variant,metric"],
    "sort": ["variant", "variant:desc"],
    "base": ["HEAD", "main"],
}
# Where the work would begin.
_WORK = (
    "awbench.training.loop.Loop.run_to_the_end", "awbench.tasks.classification.measure_accuracy",
    "awbench.tasks.detection.DetectionTask.evaluate", "awbench.tasks.detection.DetectionTask.build",
    "awbench.experiments.measurements.record_complexity", "awbench.experiments.measurements.record_detector_complexity",
    "awbench.experiments.measurements.record_latency", "awbench.experiments.aw_speed.record_aw_speed",
    "awbench.experiments.sweep.run_sweep", "awbench.experiments.sweep.submit_sweep",
    "awbench.cli.study.run_study", "awbench.cli.report.write_report", "awbench.regress.trees.side_by_side",
    "awbench.cli.lock.count_grid", "awbench.cli.reproduce.count_grid", "awbench.cli.check.count_grid",
    "awbench.data.digits_detection.write", "torch.hub.download_url_to_file",
    "torchvision.datasets.cifar.download_and_extract_archive", "torchvision.datasets.FashionMNIST",
)  # fmt: skip


def _begin(*args: Any, **options: Any) -> None:
    raise UserError("here the work begins")


def replace_work() -> None:
    """For good: in a process of its own."""
    for name in _WORK:
        module, _, attribute = name.rpartition(".")
        holder: Any
        try:
            holder = importlib.import_module(module)
        except ModuleNotFoundError:
            outer, _, inner = module.rpartition(".")
            holder = getattr(importlib.import_module(outer), inner)
        assert hasattr(holder, attribute), name
        setattr(holder, attribute, _begin)


def make_files() -> None:
    """What the values name, in the current folder."""
    Path("folder").mkdir()
    for name, content in {
        "file": b"text\n", "binary": bytes(range(256)), "deep.yaml": b"[" * 100_000, "latin.yaml": b"name: \xe9\n",
        "list.yaml": b"- a\n", "empty.yaml": b"", "file.pth": b"\x80\x02}q.",
    }.items():  # fmt: skip
        Path(name).write_bytes(content)
    os.mkfifo("fifo")
    RecordStore(Path("results")).add(make_record())


def _commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """(words, parser) of every command, the innermost alone."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        return [(words, parser)]
    return [found for name, sub in inner[0].choices.items() for found in _commands(sub, (*words, name))]


def _value(rng: random.Random, action: argparse.Action) -> str:
    fitting = [str(choice) for choice in action.choices or ()] or FITTING.get(action.dest, [])
    return rng.choice(fitting) if fitting and rng.random() < 0.75 else rng.choice(HOSTILE)


def command_line(rng: random.Random, commands: list[tuple[tuple[str, ...], Any]]) -> list[str]:
    """One, of any command or of none."""
    if rng.random() < 0.02:
        return [rng.choice(HOSTILE) for _ in range(rng.randrange(4))]
    words, parser = rng.choice(commands)
    argv = list(words)
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    for action in actions:
        wanted = not action.option_strings or action.required
        if rng.random() > (0.97 if wanted else 3 / len(actions)):
            continue
        argv += [rng.choice(action.option_strings)] if action.option_strings else []
        if action.nargs != 0:
            several = action.nargs in ("+", "*") and rng.random() < 0.5
            argv += [_value(rng, action) for _ in range(2 if several else 1)]
    if rng.random() < 0.05:
        argv.insert(rng.randrange(len(argv) + 1), rng.choice([*HOSTILE, "--help", "--unknown", "--version"]))
    return argv


def answers(count: int, seed: int) -> tuple[Counter[str], dict[str, list[str]]]:
    """How many ended how, in the current folder; what must not be, and the first command line that gave it."""
    rng, commands = random.Random(seed), _commands(_parser())
    counts: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    for _ in range(count):
        argv, out, err = command_line(rng, commands), io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(argv)
        except SystemExit as exit:
            code = int(exit.code or 0)
        except BaseException as error:
            counts["traceback"] += 1
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "/awbench/" in f.filename][-2:]
            place = " ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames)
            wrong.setdefault(f"{type(error).__name__}: {str(error)[:100]} at {place}", argv)
            continue
        counts[f"exit code {code}"] += 1
        lines = err.getvalue().splitlines()
        if code not in (0, 1, 2, 3) or (code == 2 and not lines) or "Traceback" in err.getvalue():
            wrong.setdefault(f"exit code {code}: {err.getvalue()[-300:]}", argv)
        elif code == 2 and (not lines[-1].startswith("awbench") or not lines[-1].isprintable()):
            wrong.setdefault(f"last line {lines[-1][:200]!r}", argv)
    return counts, wrong


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    replace_work()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        os.environ["AWBENCH_CACHE"] = str(Path(temporary, "cache"))
        make_files()
        before = set(os.listdir())  # noqa: PTH208
        found, failed = answers(numbers[0] if numbers else 20_000, numbers[1] if len(numbers) > 1 else 0)
        os.chdir("/")
    for answer, times in sorted(found.items()):
        print(f"{times:6} {answer}")
    for what, words in failed.items():
        print(f"{what}\n    {[word[:80] for word in words]}")
    sys.exit(bool(failed))
