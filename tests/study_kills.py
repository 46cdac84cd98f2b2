"""Studies as processes that are killed at random moments."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path


def start_study(study: str, results: Path, root: Path) -> subprocess.Popen[str]:
    """`awbench study run`, in a session of its own."""
    command = [sys.executable, "-m", "awbench", "study", "run", study, "--results", str(results), "--json"]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True)


def kill_at_random(study: str, results: Path, root: Path, kills: int, longest: float) -> None:
    """Start it again and again, each time killed with all its processes within `longest` seconds, if not done before.

    Prints the seed of the moments.
    """
    seed = time.time_ns()
    print("seed", seed)
    moments = random.Random(seed)
    for _ in range(kills):
        process = start_study(study, results, root)
        try:
            process.communicate(timeout=moments.uniform(1, longest))
        except subprocess.TimeoutExpired:
            subprocess.run(["pkill", "-9", "-s", str(process.pid)], check=False)
            process.kill()
            process.communicate()
