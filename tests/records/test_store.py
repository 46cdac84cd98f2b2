from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sample_records import latency_record, make_record, training_record

from awbench.errors import UserError
from awbench.records import BrokenRecordError, Quantity, Record, Records, RecordStore, atomic
from awbench.records.record import _sha256

COMMITTED = Path(__file__).parents[2] / "docs" / "records"


def test_a_record_comes_back_as_it_was(tmp_path, record):
    store = RecordStore(tmp_path)
    store.add(record)
    assert store.find("complexity", "resnet50", record.key) == record
    assert store.read().of_kind("complexity") == [record]


def test_the_newest_record_is_the_one_added_last_whatever_the_clock_says(tmp_path, record):
    store = RecordStore(tmp_path)
    of_tomorrow = make_record(finished="2026-01-02T00:00:00.000000Z")
    for added in (of_tomorrow, record):
        store.add(added)
    assert of_tomorrow.key == record.key
    assert store.find("complexity", "resnet50", record.key) == record
    assert Records.read(tmp_path).find(record.key) == record
    assert Records.read(tmp_path).of_kind("complexity") == [of_tomorrow, record]  # nothing is overwritten


def test_records_without_a_number_in_their_name_are_older_and_in_the_order_of_time(tmp_path, record):
    folder = tmp_path / "records" / "complexity"
    folder.mkdir(parents=True)
    times = [f"2027-01-0{day}T00:00:00.000000Z" for day in (2, 1)]
    old = [make_record(finished=time, notes=[time]) for time in times]
    for one, name in zip(old, ("a", "b"), strict=True):
        (folder / f"resnet50-{one.key[:12]}-{one.finished}-{name * 6}.json").write_text(one.to_json())
    RecordStore(tmp_path).add(record)
    assert Records.read(tmp_path).of_kind("complexity") == [old[1], old[0], record]


def test_hidden_files_are_not_records(tmp_path, record):
    path = RecordStore(tmp_path).add(record)
    for name in (f"._{path.name}", f".#{path.name}"):
        path.with_name(name).write_text("an editor's, or a file system's")
    (tmp_path / "records" / ".DS_Store").write_text("")
    assert len(Records.read(tmp_path)) == 1
    assert RecordStore(tmp_path).find("complexity", "resnet50", record.key) == record


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "accuracy").write_text("")
    with pytest.raises(UserError, match="accuracy cannot be read as a folder of records: Not a directory"):
        Records.read(tmp_path)
    with pytest.raises(UserError, match="accuracy cannot be read as a folder"):
        RecordStore(tmp_path).find("accuracy", "resnet50", "0" * 64)


@pytest.mark.parametrize("path", sorted(COMMITTED.glob("*/*.json")), ids=lambda path: path.name)
def test_a_committed_record_is_written_again_byte_for_byte(path):
    text = path.read_text()
    assert Record.from_json(text, path.name).to_json() == text


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("complexity", {"image_size": "224"}, "settings.image_size"),
        ("latency", {"batch_size": True}, "settings.batch_size: Input should be a valid integer"),
        ("latency", {"device_name": 3}, "settings.device_name: Input should be a valid string"),
        ("accuracy", {"recipe": []}, "settings.recipe: Input should be a valid dictionary"),
        ("accuracy", {"recipe": {"name": "cbam", "batch_size": 0}}, "settings.recipe.batch_size"),
        ("accuracy", {"seed": 1.5}, "settings.seed: Input should be a valid integer"),
        ("accuracy", {"origin": "guessed"}, "settings.origin is 'guessed'; it must be 'trained' or 'weights'"),
        ("detection", {"complete": "yes"}, "settings.complete: Input should be a valid boolean"),
    ],
)
def test_a_setting_of_the_wrong_type_is_named(kind, changes, message):
    good = {
        "complexity": make_record,
        "latency": lambda: latency_record("aw_resnet50", (1.2, 1.1, 1.3)),
        "accuracy": lambda: training_record("resnet50"),
        "detection": lambda: training_record("faster_rcnn_resnet50_fpn"),
    }[kind]()
    body = good.model_dump(mode="json")
    body["settings"] |= changes
    with pytest.raises(BrokenRecordError, match=f"r.json is not a valid record: .*{re.escape(message)}"):
        Record.from_json(json.dumps({**body, "sha256": _sha256(body)}), "r.json")


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
    for read in (lambda: store.read().of_kind("complexity"), lambda: store.find("complexity", "resnet50", record.key)):
        with pytest.raises(BrokenRecordError, match=path.name):
            read()


def test_a_store_parses_a_file_once_and_a_file_that_was_changed_again(tmp_path, record, monkeypatch):
    parsed, parse = [], Record.from_json
    monkeypatch.setattr(Record, "from_json", lambda text, where: parsed.append(where) or parse(text, where))
    store = RecordStore(tmp_path)
    path = store.add(record)
    assert store.find("complexity", "resnet50", record.key) == store.read().find(record.key) == record
    assert store.read().find(record.key) == record and parsed == [str(path)]
    path.write_text(break_by_editing(path.read_text()))
    with pytest.raises(BrokenRecordError, match=path.name):
        store.read()
    assert len(parsed) == 2


def test_every_broken_record_is_named(tmp_path, record):
    store = RecordStore(tmp_path)
    paths = [store.add(record), store.add(record)]
    for path in paths:
        path.write_text("{")
    with pytest.raises(BrokenRecordError) as error:
        store.read().of_kind("complexity")
    assert all(path.name in str(error.value) for path in paths)


def test_a_record_of_a_future_schema_is_refused(tmp_path, record):
    body = record.model_dump(mode="json") | {"schema_version": 2}
    with pytest.raises(BrokenRecordError, match="schema version 2; this awbench reads version 1"):
        Record.from_json(json.dumps({**body, "sha256": _sha256(body)}), "r.json")


def test_a_metric_in_another_unit_is_refused_with_the_files_name(tmp_path, record):
    body = record.model_dump(mode="json")
    body["values"]["params"] = {"value": 25.557032, "unit": "M parameters"}
    path = tmp_path / "records/complexity/resnet50-0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**body, "sha256": _sha256(body)}))
    with pytest.raises(
        BrokenRecordError, match="params is in 'M parameters'; records hold it in 'parameters'"
    ) as error:
        RecordStore(tmp_path).read().of_kind("complexity")
    assert path.name in str(error.value)


@pytest.mark.parametrize(
    ("place", "name"), [("values", "macs"), ("settings", "image_size"), ("options", "stride_placement")]
)
def test_a_record_that_lacks_what_its_readers_rely_on_is_refused(place, name, record):
    body = record.model_dump(mode="json")
    del body[place][name]
    with pytest.raises(BrokenRecordError, match=f"r.json is not a valid record: .*{name}"):
        Record.from_json(json.dumps({**body, "sha256": _sha256(body)}), "r.json")


def test_records_hold_what_is_published_in_its_base_unit():
    from awbench.records.record import UNITS
    from awbench.reference.metrics import METRICS

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


def test_what_is_no_file_is_not_replaced_and_a_link_stays_one(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(OSError, match="it is no regular file; name another"):
            atomic.write_text(tmp_path / name, "new")
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    atomic.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "new"


def test_stale_temporaries_are_removed_and_fresh_ones_are_not(tmp_path, record):
    directory = tmp_path / "records" / "complexity"
    directory.mkdir(parents=True)
    stale, fresh = directory / ".a.json.1-0.partial", directory / ".b.json.1-0.partial"
    stale.write_text("{")
    fresh.write_text("{")
    os.utime(stale, (0, 0))
    RecordStore(tmp_path).add(record)
    assert (stale.exists(), fresh.exists()) == (False, True)


def test_what_a_killed_writer_left_is_removed_at_the_next_write_and_what_is_being_written_is_not(tmp_path):
    held, left = tmp_path / ".a.json.1-0.locked.partial", tmp_path / ".b.json.1-0.locked.partial"
    left.write_text("{")
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        atomic.write_text(tmp_path / "c.json", "{}")
        assert {path.name for path in tmp_path.iterdir()} == {held.name, "c.json"}


def test_a_fifo_among_unfinished_files_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".a.json.1-0.locked.partial")
    atomic.write_text(tmp_path / "b.json", "{}")
    assert (tmp_path / "b.json").read_text() == "{}"


def test_a_writer_whose_file_is_taken_for_a_dead_ones_writes_another(tmp_path, monkeypatch):
    """Between its creation and its lock."""
    lock, taken = fcntl.flock, []

    def flock(file, operation):
        if not taken:
            taken.extend(tmp_path.glob(".*.partial"))
            taken[0].unlink()
        return lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    atomic.write_text(tmp_path / "a", "whole")
    assert taken and [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "whole")]


_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sample_records import latency_record, make_record, training_record
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
    assert len(RecordStore(tmp_path).read().of_kind("complexity")) > 5


def test_a_fifo_is_no_record(tmp_path, record):
    RecordStore(tmp_path).add(record)
    os.mkfifo(tmp_path / "records/complexity/fifo.json")
    with pytest.raises(BrokenRecordError, match=r"fifo.json cannot be read as a record: it is not a regular file"):
        Records.read(tmp_path)


def test_hidden_folders_and_files_are_no_records(tmp_path, record):
    path = RecordStore(tmp_path).add(record)
    (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    (path.parents[1] / ".thumbnails").mkdir()
    assert len(Records.read(tmp_path)) == 1


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, record, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/records/complexity/resnet50-.*\.json'"):
        RecordStore(tmp_path).add(record)
    assert not list(tmp_path.rglob("*.json*"))
