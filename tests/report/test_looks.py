"""The table of looks: each as it was judged when no further run was there."""

from __future__ import annotations

import pytest
from study_records import IMAGENET, as_records, runs_of

from awbench.reference.load import load_references
from awbench.report.looks import looks_table
from awbench.studies import load_study
from awbench.verdicts.study import judge_study

FASHION = load_study("fashion-mnist")
PLAIN = [93.0, 93.1, 92.9, 93.05, 92.95, 93.0]
AW = [93.2, 93.1, 93.15, 93.0, 93.3, 93.2]


def fashion(count):
    others = [label for label in FASHION.labels if label not in ("resnet20", "aw_resnet20")]
    return as_records(
        runs_of(FASHION, "resnet20", PLAIN[:count]),
        runs_of(FASHION, "aw_resnet20", AW[:count]),
        *(runs_of(FASHION, label, [93.0, 93.2, 92.9]) for label in others),
    )


def looks(records):
    return [row for row in looks_table(records, load_references()).objects if row.get("network") == "aw_resnet20"]


def test_each_look_is_judged_by_the_runs_that_it_had():
    rows = looks(fashion(6))
    assert [(row["look"], row["of"], row["runs"]) for row in rows] == [(1, 8, 3), (2, 8, 4), (3, 8, 5), (4, 8, 6)]
    for row in rows:
        then = judge_study(FASHION, fashion(row["runs"])).comparisons[0]
        assert then.look == row["look"]
        assert row["interval"] == [then.interval.low, then.interval.high]
        assert (row["difference"], row["level"]) == (then.interval.value, then.interval.level)
        assert row["verdict"] == then.gain
    assert len({tuple(row["interval"]) for row in rows}) == 4


def test_runs_that_wait_for_the_next_look_are_in_none():
    records = as_records(
        runs_of(FASHION, "resnet20", PLAIN[:3]), runs_of(FASHION, "aw_resnet20", [*AW[:3], 10.0, 10.0])
    )
    [row] = looks(records)
    assert row["difference"] == pytest.approx(sum(AW[:3]) / 3 - sum(PLAIN[:3]) / 3)


def test_before_the_first_look_there_is_none():
    table = looks_table(fashion(2), load_references())
    assert {row["study"] for row in table.objects} == {"fashion-mnist"} and not looks(fashion(2))
    [empty] = looks_table(as_records(), load_references()).rows
    assert empty[0] == "not measured: needs 'awbench study run NAME' up to its first look"


def test_a_look_at_a_claim_has_both_its_own_answers_and_names_it():
    """The fourth run of each differs so much that nothing is known any more."""
    records = as_records(
        runs_of(IMAGENET, "resnet101", [77.0, 77.02, 76.98, 76.0]),
        runs_of(IMAGENET, "aw_resnet101", [78.0, 78.02, 77.98, 79.5]),
    )
    table = looks_table(records, load_references())
    assert [(row["claim"], row["verdict"]) for row in table.objects] == [
        ("imagenet-r101", "gain; as claimed"),
        ("imagenet-r101", "undecided"),
    ]
    assert [len(table.records_of(row)) for row in table.values] == [6, 8]


def test_smoke_tests_answer_nothing():
    smoke = load_study("digits")
    records = as_records(*(runs_of(smoke, label, PLAIN) for label in smoke.labels))
    assert judge_study(smoke, records).comparisons[0].taken
    assert len(looks_table(records, load_references()).rows) == 1
