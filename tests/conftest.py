"""Fixtures that several rooms of the tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from sample_records import make_record

from awbench.cli.main import main
from awbench.kernels import blocked, direct
from awbench.records import Record

torch.set_num_threads(1)  # two test processes on two cores, and the same sums everywhere
os.environ["AWBENCH_AW_STRATEGY"] = "rule"  # nothing is tuned by chance
signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup and "&" they are ignored, which awbench heeds
signal.signal(signal.SIGHUP, signal.SIG_DFL)
for dtype in (torch.float32, torch.float64):
    # What is compiled the first time is said here, in no test's output.
    direct.unsupported_reason(torch.device("cpu"), dtype)
    blocked.unsupported_reason(torch.device("cpu"), dtype)


@pytest.fixture
def awbench(capsys, monkeypatch, tmp_path):
    """Run `awbench WORDS...` in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit:  # argparse's way
            code = int(exit.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def record() -> Record:
    return make_record()


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent
