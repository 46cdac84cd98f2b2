"""A plan as text: what it says does not depend on Python's hashes."""

from __future__ import annotations

import os
import subprocess
import sys

from sample_records import add_ap, add_top1, training_record

from awbench.records import RecordStore


def test_the_same_records_give_the_same_plan_in_every_process(tmp_path):
    store = RecordStore(tmp_path)
    add_top1(store, "se_resnet101", 78.3, 78.4)
    add_top1(store, "aw_se_resnet101", 78.3, 78.9)
    add_ap(store, "faster_rcnn_resnet101_fpn", 42.0, 42.1)
    for seed in range(3):
        store.add(training_record("resnet50", 76 + seed / 10, seed))
        store.add(training_record("aw_resnet50", 76.5 + seed / 7, seed))
    plans = set()
    for seed in "01":
        command = [sys.executable, "-m", "awbench", "plan", "--results", str(tmp_path)]
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed})
        plans.add(run.stdout + run.stderr)
    assert len(plans) == 1 and "one run:" in plans.pop()
