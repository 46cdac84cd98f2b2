from __future__ import annotations

import subprocess
import sys


def test_the_documented_error_rates_are_the_simulated_ones(root):
    command = [sys.executable, "tools/verdict_rates.py", "--check"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
