"""A seed that was trained twice, with something else: found whatever it is, and shown beside other seeds."""

from __future__ import annotations

import statistics

import pytest
from study_records import COCO, IMAGENET, as_records, runs_of, study_run

from awbench.report.repeats import repeats_table
from awbench.report.runs import runs_table

VALUES = [77.4, 77.6, 77.1]
FIRST = runs_of(IMAGENET, "resnet101", VALUES)


def rows(*groups):
    table = repeats_table(as_records(*groups))
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def again(seed=1, value=77.5, **environment):
    return study_run(IMAGENET, "resnet101", seed, value, environment=environment)


def test_a_seed_on_another_library_is_shown_beside_the_deviation_between_seeds():
    other = again(torch="2.12.1", torchvision="0.27.1", weights_sha256="other")
    (row,) = rows(FIRST, [other])
    assert row["ran with"] == "torch 2.14.1 -> 2.12.1, torchvision 0.29.1 -> 0.27.1"
    assert [row[name] for name in ("variant", "seed", "first", "again", "change", "seeds", "weights")] == [
        "resnet101", "1", "77.60", "77.50", "-0.10", "3", "differ",
    ]  # fmt: skip
    assert row["deviation between seeds"] == f"{statistics.stdev(VALUES):.2f}"
    (of_programs,) = repeats_table(as_records(FIRST, [other])).objects
    assert of_programs["change"] == pytest.approx(-0.1)
    assert of_programs["ran with"]["torch"] == ["2.14.1", "2.12.1"]


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"source_sha256": "t" * 64}, "code ssssssss -> tttttttt"),
        ({"device": "GPU B"}, "device GPU A -> GPU B"),
        ({"cpu": "another"}, "processor unknown -> another"),
        ({"world_size": 4}, "processes 8 -> 4"),
        ({"threads": 2}, "threads unknown -> 2"),
    ],
)
def test_whatever_they_ran_with_is_told(changed, shown):
    (row,) = rows(FIRST, [again(**changed)])
    assert row["ran with"] == shown and row["weights"] == "same"


def test_detectors_that_each_began_from_a_backbone_of_their_own_are_seeds_of_one_training():
    label = "faster_rcnn_resnet101_fpn"
    (row,) = rows(runs_of(COCO, label, VALUES), [study_run(COCO, label, 1, 77.5, environment={"torch": "2.12.1"})])
    assert (row["seeds"], row["metric"], row["ran with"]) == ("3", "box_ap", "torch 2.14.1 -> 2.12.1")


def test_a_seed_that_only_smaller_groups_share_is_found():
    (row,) = rows(FIRST, [again(3, 77.5, torch="2.12.1")], [again(3, 77.9, torch="2.13.0")])
    assert [row[name] for name in ("seed", "change", "ran with")] == ["3", "+0.40", "torch 2.12.1 -> 2.13.0"]


def test_which_was_recorded_first_changes_nothing():
    other = [again(torch="2.12.1")]
    assert rows(FIRST, other) == rows(other, FIRST)


@pytest.mark.parametrize(
    "other",
    [
        again(),  # with the same: the newest counts, as everywhere
        again(seed=7, torch="2.12.1"),  # a seed that the others do not have
        study_run(IMAGENET, "resnet101", 1, 77.5, environment={"torch": "2.12.1"}, inputs={"val_sha256": "w"}),
        study_run(IMAGENET, "se_resnet101", 1, 77.5, environment={"torch": "2.12.1"}),
        study_run(IMAGENET, "resnet101", 1, 77.5, environment={"torch": "2.12.1"}, options={"stride_placement": "v1"}),
    ],
)
def test_another_training_is_no_repeat(other):
    (row,) = rows(FIRST, [other])
    assert row["variant"].startswith("not measured: needs ")


def test_weights_that_no_record_states_are_unknown():
    (row,) = rows(FIRST, [again(torch="2.12.1", weights_sha256=None)])
    assert row["weights"] == "unknown"


def test_a_record_without_the_metric_has_an_empty_cell():
    run = again(torch="2.12.1")
    values = {name: value for name, value in run.values.items() if name != IMAGENET.metric}
    (row,) = rows(FIRST, [run.model_copy(update={"values": values})])
    assert [row[name] for name in ("first", "again", "change")] == ["77.60", "", ""]


def test_one_seed_has_no_deviation():
    (row,) = rows(FIRST[:1], [again(seed=0, torch="2.12.1")])
    assert (row["deviation between seeds"], row["seeds"]) == ("", "1")


def test_both_stay_rows_of_their_own_among_all_runs():
    assert len(runs_table(as_records(FIRST, [again(torch="2.12.1")])).rows) == 2
