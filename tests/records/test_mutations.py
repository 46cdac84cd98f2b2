"""Records that were changed at random, with a checksum that is right: refused in a line, or shown everywhere."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from record_mutations import STUDIES, answers, originals, show_everywhere
from sample_records import make_record

from awbench.records import BrokenRecordError, Record, Records
from awbench.records.record import _sha256
from awbench.report.answers import shown_length
from awbench.verdicts.study import judge_study


def hold(count: int, seed: int) -> None:
    counts, failures = answers(count, seed)
    assert not failures, failures
    assert counts.total() == count
    assert set(counts) <= {"refused in one line", "read and shown", "read, and an error of one line where it is shown"}
    assert min(counts["refused in one line"], counts["read and shown"]) > count // 10


def test_a_few():
    hold(60, 1)


@pytest.mark.slow
def test_twenty_thousand():
    hold(20_000, 0)


def test_a_network_of_another_version_stops_nothing():
    """Two versions of awbench write to one folder: the older one does not know what the newer one has."""
    base, unknown = originals(), []
    for kind in ("complexity", "accuracy", "detection", "latency"):
        [*_, record] = [record for record in base if record.kind == kind]
        unknown.append(Record.from_json(changed(record, variant="future_resnet20"), kind))
    show_everywhere(Records([*base, *unknown]), whole=True)


def test_options_and_changes_of_other_types_stop_nothing():
    for options, recipe in (({"aw": {"expansion": {"a": 1}}}, {}), ({"attention": 0.5}, {"changes": 7}), ({}, 3)):
        [*_, record] = [record for record in originals() if record.kind == "accuracy"]
        body = record.model_dump(mode="json")
        text = changed(
            record, options={**body["options"], **options}, environment={**body["environment"], "recipe": recipe}
        )
        with contextlib.suppress(BrokenRecordError):
            show_everywhere(Records([Record.from_json(text, "record.json")]), whole=False)


def test_options_that_a_study_asks_for_and_a_record_lacks_are_named():
    accuracies = [record for record in originals() if record.kind == "accuracy" and "study" in record.environment]
    record = next(record for record in accuracies if "attention" in record.options)
    options = {name: value for name, value in record.options.items() if name != "attention"}
    lacking = Record.from_json(changed(record, options=options), "record.json")
    show_everywhere(Records([lacking]), whole=False)
    aside = [aside for study in STUDIES for aside in judge_study(study, Records([lacking])).evidence.left_aside]
    assert any("attention" in left.reason for left in aside)


def test_a_recipe_without_a_length_is_shown():
    assert shown_length({"epochs": 3}) == "3 epochs" and shown_length({}) == "a length that is not recorded"


def test_counts_that_lack_a_layer_stop_nothing():
    record = make_record()
    for name in ("elements.pooling", "elements.activation"):
        values = {key: value for key, value in record.model_dump(mode="json")["values"].items() if key != name}
        show_everywhere(Records([Record.from_json(changed(record, values=values), name)]), whole=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {"params": {"value": 10**400, "unit": "parameters"}}}, "values.params.value: Input should be less"),
        ({"values": {"time": {"value": 1e300, "unit": "s"}}}, "values.time.value: Input should be less"),
        ({"values": {"time_low": {"value": 1, "unit": "s"}}}, "a record with time_low lacks time_high"),
        ({"values": {"time_high": {"value": 1, "unit": "s"}}}, "a record with time_high lacks time_low"),
        ({"settings": {"image_size": []}}, "settings.image_size"),
        ({"settings": {"image_size": 10**400}}, "settings.image_size"),
        ({"kind": ["complexity"]}, "kind: Input should be a valid string"),
        ({"environment": {"run": {"a": 1}}}, "environment.run: Input should be a valid string"),
        ({"environment": {"executed_as": {"forward": 1}}}, "environment.executed_as.forward: Input should be a valid"),
    ],
    ids=str,
)
def test_what_no_reader_could_use_is_refused_with_its_name(change, message):
    record = make_record()
    body = record.model_dump(mode="json")
    merged = {key: {**body[key], **value} if isinstance(value, dict) else value for key, value in change.items()}
    with pytest.raises(BrokenRecordError, match=message):
        Record.from_json(changed(record, **merged), "record.json")


def changed(record: Record, **changes: Any) -> str:
    """Its file after a change, with the checksum of what it holds."""
    body = {**record.model_dump(mode="json"), **changes}
    return json.dumps({**body, "sha256": _sha256(body)})
