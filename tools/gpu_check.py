"""The first hour on a GPU, in order: `make gpu`. Every step has a verdict of its own, and none stops those after it.

Each step is a process of its own with a time limit; its output and figures lie in RESULTS/gpu/, and a table of all
steps is printed at the end. Exit code 0: nothing failed. 1: something did. 2: there is no CUDA GPU. `--device cpu` goes
through the steps that a CPU can do, at small sizes, to test them; the fused kernels then run in Triton's interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_steps import PYTHON, ROOT, STEPS, Failed, Setting, Skipped, keep


def run_alone(name: str, setting: Setting) -> int:
    """A step in this process: its verdict as the last line of stdout, in JSON."""
    try:
        verdict, line = "pass", STEPS[name].run(setting)
    except Skipped as reason:
        verdict, line = "skipped", str(reason)
    except Exception as error:  # whatever a GPU's libraries raise is a finding
        verdict, line = (
            "FAIL",
            " ".join(f"{'' if isinstance(error, Failed) else type(error).__name__ + ': '}{error}".split()),
        )
    print(json.dumps({"verdict": verdict, "line": line[:400]}))
    return 0


def run_apart(name: str, setting: Setting) -> dict[str, Any]:
    """A step in a process of its own, which a crash of the driver or a hang takes with it."""
    argv = [*PYTHON, __file__, "--device", setting.device, "--output", str(setting.output), "--alone", name]
    interpreted = {"TRITON_INTERPRET": "1"} if setting.small and name in ("numerics",) else {}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **interpreted}
    seconds = STEPS[name].seconds * (4 if setting.small else 1)  # a CPU that others use too
    started, found = time.monotonic(), {"verdict": "FAIL", "line": ""}
    with (setting.output / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        try:
            out, _ = process.communicate(timeout=seconds)
            found = json.loads(out.strip().splitlines()[-1])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            found["line"] = f"not done within {seconds} s; see {log.name}"
        except (ValueError, IndexError):
            found["line"] = f"ended with exit code {process.returncode}; see {log.name}"
    return {"step": name, **found, "seconds": round(time.monotonic() - started, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="gpu_check.py",
        epilog="steps:\n" + "\n".join(f"  {name:12} {step.what}" for name, step in STEPS.items()),
    )  # fmt: skip
    parser.add_argument("steps", nargs="*", metavar="STEP", help="only these, in their order (default: all)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, default=Path("results/gpu"), metavar="DIR")
    parser.add_argument("--alone", metavar="STEP", help=argparse.SUPPRESS)
    args = parser.parse_args()
    setting = Setting(args.device, args.output.resolve())
    if args.alone:
        return run_alone(args.alone, setting)
    if unknown := [name for name in args.steps if name not in STEPS]:
        print(f"gpu_check: {unknown[0]} is no step; use {', '.join(STEPS)}", file=sys.stderr)
        return 2
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print("make gpu: torch sees no CUDA GPU; this is for a machine that has one", file=sys.stderr)
        return 2
    try:
        setting.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"gpu_check: --output {setting.output} cannot be made: {error.strerror}", file=sys.stderr)
        return 2
    rows = list(_all(args.steps or list(STEPS), setting))
    from tabulate import tabulate

    cells = [[row[name] for name in ("step", "verdict", "seconds", "line")] for row in rows]
    table = tabulate(cells, ["step", "verdict", "seconds", "found"], tablefmt="github")
    (setting.output / "summary.md").write_text(table + "\n")
    print(f"\n{table}\n\nkept in {setting.output}")
    return int(any(row["verdict"] == "FAIL" for row in rows))


def _all(names: list[str], setting: Setting) -> Iterator[dict[str, Any]]:
    for name in (name for name in STEPS if name in names):
        print(f"{name}: {STEPS[name].what} ...", file=sys.stderr, flush=True)
        row = run_apart(name, setting)
        print(f"{name}: {row['verdict']} in {row['seconds']} s: {row['line']}", file=sys.stderr, flush=True)
        keep(setting, f"verdict-{name}", row)
        yield row


if __name__ == "__main__":
    sys.exit(main())
