"""Sweeps beside each other and on a cluster; apart from the others, so that two cores share the time they take."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from small_runs import QUICK

from awbench.records import RecordStore

pytestmark = pytest.mark.end_to_end


def test_two_sweeps_at_once_share_the_work(tmp_path, root):
    words = [
        sys.executable, "-m", "awbench", "sweep", "resnet20", "--seeds", "0", "1", *QUICK,
        "--results", str(tmp_path), "--json",
    ]  # fmt: skip
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(len(result["trained"]) for result in results) == 2
    records = RecordStore(tmp_path).read().of_kind("accuracy")
    assert len({record.key for record in records}) == len(records) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_cluster_path_through_submitits_local_executor(awbench, tmp_path):
    words = ("resnet20", "--cluster", "local", "--cluster-set", "timeout_min=5")
    code, out, _ = awbench("sweep", *words, *QUICK, "--json")
    assert (code, json.loads(out)["failed"]) == (0, {})
    assert len(RecordStore(tmp_path / "results").read().of_kind("accuracy")) == 1
