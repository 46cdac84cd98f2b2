"""What a record costs to write (with fsync) and a folder of them to read."""

from __future__ import annotations

import pytest
from sample_records import make_record

from awbench.records import Record, Records, RecordStore


def record(number: int) -> Record:
    return make_record(options={"stride_placement": "v1.5", "num_classes": 1000, "number": number})


@pytest.mark.benchmark(group="record store")
def test_write(benchmark, tmp_path):
    store = RecordStore(tmp_path)
    assert benchmark(store.add, record(1)).exists()


@pytest.mark.benchmark(group="record store")
def test_read_a_thousand(benchmark, tmp_path):
    store = RecordStore(tmp_path)
    for number in range(1000):
        store.add(record(number))
    assert len(benchmark(Records.read, tmp_path)) == 1000


@pytest.mark.benchmark(group="record store")
def test_find_among_a_thousand(benchmark, tmp_path):
    store = RecordStore(tmp_path)
    for number in range(1000):
        store.add(record(number))
    key = record(500).key
    assert benchmark(store.find, "complexity", "resnet50", key) is not None
