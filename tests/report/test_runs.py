"""The table of every run: what differs in the seed alone is one row, whatever else differs is another."""

from __future__ import annotations

import re
import statistics

import pytest
from study_records import COCO, IMAGENET, as_records, runs_of, study_run

from awbench.errors import UserError
from awbench.report.formats import render
from awbench.report.runs import runs_table
from awbench.report.table import select


def rows(*groups) -> list[dict[str, str]]:
    table = runs_table(as_records(*groups))
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_runs_of_several_seeds_are_one_row_with_mean_and_deviation():
    values = [77.4, 77.6, 77.1]
    (row,) = rows(runs_of(IMAGENET, "resnet101", values))
    assert (row["variant"], row["seeds"], row["runs"], row["metric"]) == ("resnet101", "0-2", "3", "top1")
    assert (row["mean"], row["standard deviation"]) == (
        f"{statistics.fmean(values):.2f}", f"{statistics.stdev(values):.2f}",
    )  # fmt: skip


def test_one_run_has_no_deviation_and_gaps_in_seeds_are_shown():
    runs = [study_run(IMAGENET, "resnet101", seed, 77.0) for seed in (0, 1, 4)]
    assert rows(runs)[0]["seeds"] == "0-1, 4"
    assert rows(runs[:1])[0]["standard deviation"] == ""


def test_a_seed_that_was_trained_twice_counts_once():
    (row,) = rows([study_run(IMAGENET, "resnet101", 0, 70.0), study_run(IMAGENET, "resnet101", 0, 77.0)])
    assert (row["runs"], row["mean"]) == ("1", "77.00")


def test_which_network_was_recorded_first_changes_nothing():
    groups = [runs_of(IMAGENET, label, [77.0]) for label in ("resnet101", "se_resnet101", "aw_resnet101")]
    assert rows(*groups) == rows(*reversed(groups))


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"stride_placement": "v1"}},
        {"environment": {"source_sha256": "t" * 64}},
        {"environment": {"torch": "2.15.0"}},
        {"inputs": {"val_sha256": "w"}},
        {"inputs": {"initial_weights_sha256": "f" * 64}},
        {"recipe": {**IMAGENET.recipe_identity, "epochs": 5}},
        {"inputs": {"module_x_sha256": "1"}},
    ],
    ids=str,
)
def test_whatever_else_differs_is_another_row(changes):
    ours, other = study_run(IMAGENET, "resnet101", 0, 77.0), study_run(IMAGENET, "resnet101", 1, 78.0, **changes)
    assert [row["mean"] for row in rows([ours, other])] == ["77.00", "78.00"]


def test_the_best_is_among_networks_that_were_trained_alike():
    """A recipe that was changed in its file keeps its name."""
    other = {**IMAGENET.recipe_identity, "epochs": 5}
    alike = [runs_of(IMAGENET, name, [mean]) for name, mean in (("resnet101", 77.0), ("aw_resnet101", 78.0))]
    table = runs_table(as_records(*alike, runs_of(IMAGENET, "se_resnet101", [79.0], recipe=other)))
    assert re.findall(r"textbf\{(.*?)\}", render(table, "latex")) == ["78.00"]


def test_options_and_changes_that_are_not_the_default_are_named():
    options = {"aw": {**study_run(IMAGENET, "aw_resnet101", 0, 1.0).options["aw"], "expansion": 16, "stages": [3, 4]}}
    environment = {"recipe": {"file": "cbam", "changes": ["epochs=5", "optimizer.lr=0.2"]}}
    (row,) = rows([study_run(IMAGENET, "aw_resnet101", 0, 77.0, options=options, environment=environment)])
    assert row["options"] == "expansion=16, stages=3,4"
    assert row["recipe"] == "cbam epochs=5 optimizer.lr=0.2"
    assert rows([study_run(IMAGENET, "resnet101", 0, 77.0)])[0]["options"] == ""


def test_a_network_that_is_not_known_here_is_shown_too():
    record = study_run(IMAGENET, "resnet101", 0, 77.0).model_copy(update={"variant": "theirs_resnet101"})
    assert rows([record])[0]["variant"] == "theirs_resnet101"


def test_detectors_that_each_began_from_a_backbone_of_their_own_are_one_row():
    (row,) = rows(runs_of(COCO, "faster_rcnn_resnet101_fpn", [42.0, 42.2]))
    assert (row["runs"], row["metric"], row["engine"]) == ("2", "box_ap", "detectron2")
    assert row["began from"] == "resnet10"  # of two made-up digests, cut


def test_rows_are_chosen_by_patterns_and_all_must_match():
    table = runs_table(
        as_records(
            runs_of(IMAGENET, "resnet101", [77.0]), runs_of(IMAGENET, "aw_resnet101", [78.0]),
            runs_of(IMAGENET, "aw_se_resnet101", [79.0], options={"stride_placement": "v1"}),
        )
    )  # fmt: skip
    variants = [row[0] for row in select(table, where=[("variant", "aw_*")]).rows]
    assert variants == ["aw_resnet101", "aw_se_resnet101"]
    both = select(table, ["variant"], where=[("variant", "aw_*"), ("options", "stride*")])
    assert both.rows == [("aw_se_resnet101",)]
    assert select(table, where=[("variant", "x")]).rows == []
    with pytest.raises(UserError, match="column 'varient' does not exist; did you mean variant"):
        select(table, where=[("varient", "x")])
