"""Networks counted in several processes: the same records, and errors and deaths that cost no more than themselves."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from awbench.errors import CounterDisagreement
from awbench.experiments import counting, measurements
from awbench.experiments.counting import record_complexities
from awbench.experiments.measurements import record_complexity
from awbench.measure.complexity import measure_complexity
from awbench.records import RecordStore
from awbench.variants import ModelOptions, parse_variant

JOBS = [(parse_variant(name), ModelOptions()) for name in ("resnet20", "aw_resnet20", "se_resnet20", "resnet32")]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(counting, "available_cores", lambda: 2)


def is_beside() -> bool:
    return multiprocessing.parent_process() is not None


def test_they_are_the_records_of_one_process_in_order(tmp_path):
    alone = [record_complexity(RecordStore(tmp_path / "alone"), *job, cross_check=True)[0] for job in JOBS]
    store = RecordStore(tmp_path / "beside")
    for new in (True, False):
        found = list(record_complexities(store, JOBS, cross_check=True))
        assert [(record.variant, record.values, record.inputs) for record, _ in found] == [
            (record.variant, record.values, record.inputs) for record in alone
        ]
        assert [is_new for _, is_new in found] == [new] * len(JOBS)


def test_an_error_is_raised_as_in_one_process(tmp_path, monkeypatch):
    def disagrees(name, options, **how):
        assert is_beside()
        if name == "aw_resnet20":
            raise CounterDisagreement("aw_resnet20: layer conv1 has 2 and 1")
        return measure_complexity(name, options, **how)

    monkeypatch.setattr(counting, "measure_complexity", disagrees)
    found = record_complexities(RecordStore(tmp_path), JOBS)
    assert next(found)[0].variant == "resnet20"
    with pytest.raises(CounterDisagreement, match=r"^aw_resnet20: layer conv1 has 2 and 1$"):
        next(found)


def test_what_a_killed_process_leaves_is_counted_here(tmp_path, monkeypatch, caplog):
    def dies(name, options, **how):
        if name == "se_resnet20" and is_beside():
            os.kill(os.getpid(), signal.SIGKILL)
        return measure_complexity(name, options, **how)

    monkeypatch.setattr(counting, "measure_complexity", dies)
    found = list(record_complexities(RecordStore(tmp_path), JOBS))
    assert [record.variant for record, _ in found] == [variant.name for variant, _ in JOBS]
    (line,) = caplog.messages
    assert line == "awbench: counting in one process from here: a loading process was killed by SIGKILL"


def test_what_another_command_records_meanwhile_is_found(tmp_path):
    store = RecordStore(tmp_path)
    found = record_complexities(store, JOBS)
    first, _ = next(found)
    for job in JOBS[1:3]:
        record_complexity(store, *job)
    rest = list(found)
    assert [first.variant, *(record.variant for record, _ in rest)] == [variant.name for variant, _ in JOBS]
    assert [is_new for _, is_new in rest] == [False, False, True]
    assert rest[-1][0].values == record_complexity(RecordStore(tmp_path / "alone"), *JOBS[-1])[0].values


def test_records_are_made_where_a_gpu_can_be_asked_its_name(tmp_path, monkeypatch):
    """A process that was forked from one that has used CUDA cannot."""

    def named(*_):
        assert not is_beside()
        return {}

    monkeypatch.setattr(measurements, "environment", named)
    assert [new for _, new in record_complexities(RecordStore(tmp_path), JOBS)] == [True] * len(JOBS)


def test_one_core_starts_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "available_cores", lambda: 1)
    monkeypatch.setattr(counting, "Loader", None)
    assert len(list(record_complexities(RecordStore(tmp_path), JOBS))) == len(JOBS)
