from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from sample_records import make_record

from awbench.errors import UserError
from awbench.records import BrokenRecordError, Quantity, Record, RecordStore, atomic


def test_a_record_comes_back_as_it_was(tmp_path, record):
    store = RecordStore(tmp_path)
    store.add(record)
    assert store.find("complexity", "resnet50", record.key) == record
    assert store.load("complexity") == [record]


def test_the_newest_record_of_a_key_is_found(tmp_path, record):
    store = RecordStore(tmp_path)
    newer = make_record(finished="2026-01-02T00:00:00.000000Z")
    for r in (newer, record):
        store.add(r)
    assert newer.key == record.key
    assert store.find("complexity", "resnet50", record.key) == newer
    assert len(store.load("complexity")) == 2  # nothing is overwritten


@pytest.mark.parametrize(
    "change",
    [
        {"variant": "resnet101"},
        {"options": {"stride_placement": "v1", "num_classes": 1000}},
        {"settings": {"image_size": 192, "cross_check": False}},
        {"inputs": {"source_sha256": "1" * 64}},
        {"kind": "another"},
    ],
)
def test_whatever_can_change_the_result_changes_the_key(change, record):
    assert make_record(**change).key != record.key


def test_when_and_where_do_not_change_the_key(record):
    assert make_record(finished="2027-01-01T00:00:00.000000Z", environment={}).key == record.key


def break_by_truncation(text):
    return text[: len(text) // 2]


def break_by_emptying(text):
    return ""


def break_by_editing(text):
    return text.replace("25557032", "25557033")


def break_by_removing_the_checksum(text):
    return json.dumps({k: v for k, v in json.loads(text).items() if k != "sha256"})


def break_by_another_type(text):
    return "[]"


def break_by_bytes(text):
    return text.replace("resnet50", "resnet50\x00", 1)


def break_by_nan(text):
    return text.replace("25557032", "NaN")


def break_by_infinity(text):
    return text.replace("25557032", "1e999")


def break_by_digits(text):
    return text.replace("25557032", "9" * 5000)


def break_by_depth(text):
    return "[" * 100_000


@pytest.mark.parametrize(
    "damage",
    [
        break_by_nan,
        break_by_infinity,
        break_by_digits,
        break_by_depth,
        break_by_truncation,
        break_by_emptying,
        break_by_editing,
        break_by_removing_the_checksum,
        break_by_another_type,
        break_by_bytes,
    ],
)
def test_a_damaged_record_is_reported_by_name_and_never_skipped(damage, tmp_path, record):
    store = RecordStore(tmp_path)
    path = store.add(record)
    path.write_text(damage(path.read_text()))
    for read in (lambda: store.load("complexity"), lambda: store.find("complexity", "resnet50", record.key)):
        with pytest.raises(BrokenRecordError, match=path.name):
            read()


def test_every_broken_record_is_named(tmp_path, record):
    store = RecordStore(tmp_path)
    paths = [store.add(record), store.add(record)]
    for path in paths:
        path.write_text("{")
    with pytest.raises(BrokenRecordError) as error:
        store.load("complexity")
    assert all(path.name in str(error.value) for path in paths)


def test_a_record_of_a_future_schema_is_refused(tmp_path, record):
    body = record.model_dump(mode="json") | {"schema_version": 2}
    from awbench.records.record import _sha256

    with pytest.raises(BrokenRecordError, match="schema version 2; this awbench reads version 1"):
        Record.from_json(json.dumps({**body, "sha256": _sha256(body)}), "r.json")


def test_a_metric_in_another_unit_is_refused_with_the_files_name(tmp_path, record):
    from awbench.records.record import _sha256

    body = record.model_dump(mode="json")
    body["values"]["params"] = {"value": 25.557032, "unit": "M parameters"}
    path = tmp_path / "records/complexity/resnet50-0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**body, "sha256": _sha256(body)}))
    with pytest.raises(
        BrokenRecordError, match="params is in 'M parameters'; records hold it in 'parameters'"
    ) as error:
        RecordStore(tmp_path).load("complexity")
    assert path.name in str(error.value)


@pytest.mark.parametrize(
    ("place", "name"), [("values", "macs"), ("settings", "image_size"), ("options", "stride_placement")]
)
def test_a_record_that_lacks_what_its_readers_rely_on_is_refused(place, name, record):
    from awbench.records.record import _sha256

    body = record.model_dump(mode="json")
    del body[place][name]
    with pytest.raises(
        BrokenRecordError, match=f"r.json is not a valid record: a record of kind complexity lacks {name}"
    ):
        Record.from_json(json.dumps({**body, "sha256": _sha256(body)}), "r.json")


def test_records_hold_what_is_published_in_its_base_unit():
    from awbench.records.record import UNITS
    from awbench.reference.source import METRICS

    published = {name: next(iter(metric.units)) for name, metric in METRICS.items()}
    assert {name: unit for name, unit in UNITS.items() if name in published and name != "train_time"} == {
        name: unit for name, unit in published.items() if name in UNITS and name != "train_time"
    }
    kinds = ("complexity", "accuracy", "detection")
    compared = {name for name, metric in METRICS.items() if metric.kind in kinds and not name.endswith("_error")}
    assert compared <= set(UNITS)


def test_values_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="value"):
        Quantity(value="25557032", unit="parameters")


def test_a_results_folder_that_is_a_file(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RecordStore(tmp_path / "results")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "table.md"
    atomic.write_text(path, "old")

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_stale_temporaries_are_removed_and_fresh_ones_are_not(tmp_path, record):
    directory = tmp_path / "records" / "complexity"
    directory.mkdir(parents=True)
    stale, fresh = directory / ".a.json.1-0.partial", directory / ".b.json.1-0.partial"
    stale.write_text("{")
    fresh.write_text("{")
    os.utime(stale, (0, 0))
    RecordStore(tmp_path).add(record)
    assert (stale.exists(), fresh.exists()) == (False, True)


_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sample_records import make_record
from awbench.records import RecordStore
store = RecordStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    store.add(make_record(environment={"padding": "x" * 200_000}))
"""


def test_writers_killed_at_random_moments_leave_only_complete_records(tmp_path, root):
    """Two writers at once, killed hard ten times: every file that exists is whole."""
    command = [sys.executable, "-c", _WRITER, str(tmp_path), str(root / "tests")]
    random.seed(0)
    for _ in range(5):
        writers = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) for _ in range(2)]
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        for writer in writers:
            time.sleep(random.uniform(0.0, 0.15))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            writer.stdout.close()
    assert len(RecordStore(tmp_path).load("complexity")) > 5
