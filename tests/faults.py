"""A command is run again and again, and one of its calls that change files fails each time: PYTHONPATH=tests python
tests/faults.py COMMAND [HOW...], of train, sweep, report and table.

A clean run counts the calls: writes, flushes and closings of files, fsync, renames, links, removals, new folders and
locks, of the command's own process; of a table, the file that it is printed to. Then each in turn fails in a fresh
process: ENOSPC and EROFS, which stay; EIO, once; SIGKILL, half of what is written being there. The same command, run
again without a fault, must end with the results of the clean run and leave the same files.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HOWS = ("ENOSPC", "EROFS", "EIO", "SIGKILL")
_STAYING = {"ENOSPC": ("close", "unlink", "rmdir", "flock"), "EROFS": ("close", "flock")}  # and what still works
_MODES = re.compile("[wxa+]")


class Faults:
    """Counts the calls of this process on files below a folder, and lets one fail.

    Args:
        root: the folder.
        at: number of the call, from 1; 0 for none.
        how: one of HOWS.
    """

    def __init__(self, root: Path, at: int = 0, how: str = "") -> None:
        self.root, self.at, self.how, self.count = str(root.resolve()), at, how, 0
        self.calls: list[str] = []
        self.kill = os.kill

    def concerns(self, target: Any) -> bool:
        """Args: target, a path or a descriptor."""
        if isinstance(target, int):
            with contextlib.suppress(OSError):
                return str(Path(f"/proc/self/fd/{target}").readlink()).startswith(self.root)
            return False
        with contextlib.suppress(TypeError):
            return str(Path(os.fsdecode(target)).absolute()).startswith(self.root)
        return False

    def reach(self, name: str, half: Callable[[], Any] = lambda: None) -> None:
        """One call more; `half` does what such a call may have done before it fails."""
        self.count += 1
        self.calls.append(name)
        if not self.at or self.count < self.at or (self.count > self.at and self.how not in _STAYING):
            return
        if name in _STAYING.get(self.how, ()):
            return
        half()
        if self.how == "SIGKILL":
            self.kill(os.getpid(), signal.SIGKILL)
        raise OSError(getattr(errno, self.how), os.strerror(getattr(errno, self.how)))

    def install(self) -> None:
        """In the modules of this process; for good."""
        for module, names in (
            (os, ("fsync", "replace", "rename", "mkdir", "link", "unlink", "rmdir")),
            (fcntl, ("flock",)),
        ):
            for name in names:
                setattr(module, name, self._wrapped(getattr(module, name), name))
        os.remove = os.unlink
        write = os.write

        def os_write(descriptor: int, data: bytes) -> int:
            if self.concerns(descriptor):
                self.reach("write", lambda: write(descriptor, bytes(data)[: len(data) // 2]))
            return write(descriptor, data)

        os.write = os_write
        original = io.open

        def wrapped(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            if not _MODES.search(mode) or not self.concerns(file):
                return original(file, mode, *args, **options)
            self.reach("open")
            return _File(original(file, mode, *args, **options), self)

        builtins.open = io.open = wrapped

    def _wrapped(self, call: Any, name: str) -> Any:
        def function(target: Any, *args: Any, **options: Any) -> Any:
            descriptor = target if isinstance(target, (int, str, bytes, os.PathLike)) else target.fileno()
            if self.concerns(descriptor) and not (name == "flock" and args[0] & fcntl.LOCK_UN):
                self.reach(name)
            return call(target, *args, **options)

        return function


class _File:
    """A file whose writing, flushing and closing are counted."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.reach("write", half)
        return self._file.write(data)

    def flush(self) -> None:
        self._faults.reach("flush")
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._faults.reach("close")
            finally:
                self._file.close()

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def run(argv: Sequence[str], faults: Faults) -> tuple[int, str, list[str]]:
    """(exit code, what was printed, the counted calls) of a command in a process of its own, negative for a signal."""
    from awbench.cli.main import main

    with tempfile.TemporaryDirectory() as folder:
        said, calls = Path(folder, "said"), Path(folder, "calls")
        pid = os.fork()
        if not pid:
            code = 70
            try:
                descriptor = os.open(said, os.O_WRONLY | os.O_CREAT, 0o600)
                os.dup2(descriptor, 1), os.dup2(descriptor, 2)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
                if argv[0] == "table":  # which writes nothing else
                    printed = Path(faults.root, "table.md").open("w")  # noqa: SIM115  # the process's own
                    sys.stdout = _File(printed, faults)  # type: ignore[assignment]
                faults.install()
                code = main(argv)
            except SystemExit as exit:
                code = int(exit.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                if argv[0] != "table":  # which has flushed it itself
                    sys.stdout.flush()
                calls.write_text("\n".join(faults.calls))
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, said.read_text(), calls.read_text().split() if calls.exists() else []


_NAMES = (  # what differs from run to run in a file's name
    (re.compile(r"-\d{8}T[\d.]+Z-\d{6}-[0-9a-f]{6}\.json$"), "-TIME.json"),
    (re.compile(r"log-\d+\.txt$"), "log.txt"),
)


def results(root: Path) -> dict[str, str]:
    """The files of a results folder, names and contents without what differs between equal runs."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        for pattern, replacement in _NAMES:
            name = pattern.sub(replacement, name)
        if path.is_dir() or "tensorboard" in path.parts:  # events are not what a result depends on
            continue
        content = path.read_bytes()
        if "/records/" in f"/{name}":
            record = json.loads(content)
            kept = ("kind", "variant", "options", "settings", "inputs", "values", "notes")
            content = json.dumps({key: record[key] for key in kept}).encode()
            content = re.sub(rb'"(train_time\w*|\w*_ms\w*)": \{[^}]*\}', b"", content)
        elif name.endswith("metrics.jsonl"):
            content = re.sub(rb'"images_per_s": [^,}]*', b"", content)
        elif path.suffix in (".txt", ".html") or path.name == ".lock":
            content = b""  # times; the page is made of records
        found[name] = hashlib.sha256(content).hexdigest()[:12]
    return found


def small_digits() -> None:
    """70 and 30 images under the name of the digits, so that a training takes a moment."""
    from dataclasses import replace

    from small_runs import split

    from awbench.data import datasets

    small = {"train": split(70, 1), "val": split(30, 2)}
    datasets.DATASETS["digits"] = replace(datasets.DATASETS["digits"], open_split=lambda folder, name: small[name])


TRAIN = ("train", "resnet20", "--set", "epochs=1", "--set", "batch_size=32", "--set", "norm_batch_size=32", "--resume")
COMMANDS: dict[str, tuple[str, ...]] = {
    "train": TRAIN,
    "sweep": ("sweep", "resnet20", "--seeds", "1", *TRAIN[2:-1]),
    "report": ("report",),
    "table": ("table", "complexity"),
}


def prepare(command: str, folder: Path) -> None:
    """What must be done before the first run, once."""
    small_digits()
    if command == "sweep":  # its runs are processes of their own, in which no call fails
        startup = folder.parent / "startup"
        startup.mkdir()
        (startup / "sitecustomize.py").write_text(
            "import sys\nif 'train' in sys.orig_argv and 'awbench.system' not in sys.orig_argv:\n"
            "    import faults\n    faults.small_digits()\n"
        )
        os.environ["PYTHONPATH"] = os.pathsep.join([str(startup), *sys.path])
    if command in ("report", "table"):
        from page_records import STATES

        from awbench.records import RecordStore

        for record in STATES["left-aside"]:
            RecordStore(folder).add(record)
    if command == "report":  # of drawings that are made once
        from awbench.records import Records
        from awbench.reference.load import load_references
        from awbench.report import figures

        drawn = figures.all_figures(Records.read(folder), load_references())[:3]
        content = {(figure.name, form): figure.to_bytes(form) for figure in drawn for form in ("svg", "png")}
        figures.all_figures = lambda *args: drawn
        type(drawn[0]).to_bytes = lambda figure, form: content[figure.name, form]


def check(
    command: str, folder: Path, hows: Sequence[str] = HOWS, log: Any = sys.stderr
) -> tuple[Counter[str], list[str]]:
    """Counts of what was done and answered; what went wrong."""
    origin, clean = folder / "origin", folder / "clean"
    origin.mkdir(parents=True)
    prepare(command, origin)
    shutil.copytree(origin, clean)
    words = [*COMMANDS[command], "--results"]
    code, said, calls = run([*words, str(clean)], Faults(clean))
    assert code == 0, said
    expected, counts, wrong = results(clean), Counter[str](), list[str]()
    counts.update({f"calls of {name}": number for name, number in Counter(calls).items()})
    for how in hows:
        for at in range(1, len(calls) + 1):
            root = folder / "faulty"
            shutil.copytree(origin, root)
            code, said, _ = run([*words, str(root)], Faults(root, at, how))
            counts[f"{how}: exit code {code}"] += 1
            what = f"{command}: {how} at call {at} of {len(calls)}, {calls[at - 1]}"
            if "Traceback" in said or code not in (0, 2, -signal.SIGKILL) or (code == 2 and not said.strip()):
                wrong.append(f"{what}: exit code {code}: {said[-1500:]}")
            again, said, _ = run([*words, str(root)], Faults(root))
            found = results(root)
            if again or found != expected:
                names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
                wrong.append(f"{what}: run again, exit code {again}: differing {names}: {said[-1500:]}")
            shutil.rmtree(root)
            print(f"{what}: {counts.total()}, {len(wrong)} wrong", file=log, flush=True)
    return counts, wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        counted, failures = check(sys.argv[1], Path(temporary, "faults"), sys.argv[2:] or HOWS)
    for name, number in sorted(counted.items()):
        print(f"{number:6} {name}")
    print(*failures, sep="\n")
    sys.exit(bool(failures))
