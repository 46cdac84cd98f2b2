"""The gate opens on what holds, and shuts on one changed count, one missing record, one ratio out of its band."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sample_records import latency_record, make_record

from awbench.errors import UserError
from awbench.gate.bands import LatencyBand, check_latency, load_bands
from awbench.gate.checks import check_complexity, check_published, gate_status
from awbench.gate.locked import LockedCounts
from awbench.gate.proxies import LockedRuns, check_proxies, load_locked_runs, proxy_runs, runs_to_yaml
from awbench.recipes import PROTOCOLS
from awbench.recipes.classification import load_recipe
from awbench.records import Quantity, RecordStore
from awbench.reference.load import load_references
from awbench.variants import ModelOptions, describe_options, parse_variant


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def locked(**changes) -> LockedCounts:
    row = {
        "variant": "resnet50", "stride_placement": "v1.5", "image_size": 224, "params": 25_557_032,
        "macs": 4_089_184_256, "aw_kernel_forming": 0, "activations": 11_114_984,
    }  # fmt: skip
    return LockedCounts(**{**row, **changes})


def exit_code(checks, required):
    return {"holds": 0, "off": 1, "not measured": 3}[gate_status(checks, required)]


def statuses(checks):
    return [check.status for check in checks]


def test_equal_counts_hold():
    checks = check_complexity([make_record()], [locked()], ["torchvision"])
    assert statuses(checks) == ["holds"] and exit_code(checks, []) == 0


@pytest.mark.parametrize("value", ["params", "macs", "aw_kernel_forming", "activations"])
def test_one_changed_count_shuts_the_gate(value):
    checks = check_complexity([make_record()], [locked(**{value: getattr(locked(), value) + 1})], ["torchvision"])
    assert exit_code(checks, []) == 1
    assert f"{value} is" in checks[0].message and "resnet50 (v1.5, 224)" in checks[0].name


def test_a_network_without_locked_counts_shuts_the_gate():
    checks = check_complexity([make_record(variant="resnet101")], [], ["torchvision"])
    assert exit_code(checks, []) == 1 and "see 'awbench lock'" in checks[0].message


def test_a_locked_row_that_nothing_was_held_to_shuts_the_gate():
    checks = check_complexity([make_record()], [locked(), locked(variant="resnet34")], ["torchvision"])
    assert statuses(checks) == ["holds", "not measured"] and exit_code(checks, []) == 3


def test_rows_of_an_engine_that_is_not_here_are_not_required_unless_asked_for():
    row = locked(variant="faster_rcnn_resnet50_fpn", engine="detectron2", image_size="800x1088", proposals=1000)
    checks = check_complexity([make_record()], [locked(), row], ["torchvision"])
    assert "needs detectron2 (make detectron2)" in checks[1].message
    assert (exit_code(checks, []), exit_code(checks, ["complexity"])) == (0, 3)


def accuracy_record(top1: float, **changes):
    return make_record(
        kind="accuracy",
        settings={
            "origin": "weights", "dataset": "imagenet", "weights": "IMAGENET1K_V1",
            "evaluation": {"resize": 256, "crop": 224, "interpolation": "bilinear"}, **changes,
        },
        inputs={"initial_weights_sha256": "random"},
        values={"top1": Quantity(value=top1, unit="percent"), "images": Quantity(value=50_000, unit="images")},
        notes=["ImageNet val, 50,000 images"],
    )  # fmt: skip


def published(store, name):
    checks = check_published(store.read(), load_references())
    return next(check for check in checks if check.name == name), checks


def test_accuracy_of_published_weights_is_held_to_the_published_number(store):
    name = "resnet50 top1, torchvision (IMAGENET1K_V1)"
    check, checks = published(store, name)
    assert (check.status, exit_code(checks, []), exit_code(checks, ["accuracy"])) == ("not measured", 0, 3)
    assert "AWBENCH_IMAGENET=DIR" in check.message
    store.add(accuracy_record(76.132))
    assert published(store, name)[0].status == "holds"
    for changes in ({"evaluation": {"resize": 232, "crop": 224}}, {"dataset": "digits"}):
        store.add(accuracy_record(70.0, **changes))  # another number, which says nothing of this one
    assert published(store, name)[0].status == "holds"
    store.add(accuracy_record(75.0).model_copy(update={"finished": "2026-02-01T00:00:00.000000Z"}))
    check, checks = published(store, name)
    assert check.status == "off" and exit_code(checks, []) == 1
    assert "published 76.130 percent: -1.130 percent, allowed +-0.050" in check.message


def test_trainings_are_held_to_the_number_of_their_own_recipe(store):
    recipe = load_recipe("torchvision-v1", ["precision=bfloat16"]).identity()
    settings = {"origin": "trained", "recipe": recipe, "protocol": PROTOCOLS["accuracy"], "seed": 0}
    store.add(accuracy_record(75.9, **settings))
    assert published(store, "resnet50 top1, torchvision (IMAGENET1K_V1)")[0].status == "holds"
    assert published(store, "resnet50 top1, torchvision (IMAGENET1K_V2)")[0].status == "not measured"
    assert published(store, "resnet50 top1_error, cbam_paper")[0].status == "not measured"


def band(**changes) -> LatencyBand:
    values = {
        "variant": "aw_resnet18", "device": "cpu", "batch_size": 1, "dtype": "float32", "layout": "contiguous",
        "at_least": Decimal("0.8"), "at_most": Decimal("2"), "why": "chosen",
    }  # fmt: skip
    return LatencyBand(**{**values, **changes})


@pytest.mark.parametrize(
    ("ratio", "expected", "code"),
    [
        ((1.5, 1.45, 1.55), "holds", 0),
        ((1.95, 1.85, 2.05), "holds", 0),  # the interval reaches beyond
        ((2.05, 1.95, 2.15), "not measured", 3),  # beyond, but not for sure
        ((2.2, 2.1, 2.3), "off", 1),
        ((0.6, 0.55, 0.65), "off", 1),
        ((1.5, 0.9, 2.4), "not measured", 3),  # so wide that it says nothing
    ],
)
def test_a_ratio_out_of_its_band_shuts_the_gate(store, ratio, expected, code):
    store.add(latency_record("aw_resnet18", ratio))
    checks = check_latency(store.read(), [band()], "cpu")
    assert statuses(checks) == [expected] and exit_code(checks, ["latency"]) == code


def test_only_the_newest_record_of_the_very_setting_counts(store):
    store.add(latency_record("aw_resnet18", (1.5, 1.45, 1.55)))
    for changes in (
        {"batch_size": 8}, {"compile": True}, {"image_size": 256}, {"device": "cuda"}, {"device_name": "another"},
        {"source": "0" * 64},
    ):  # fmt: skip
        store.add(latency_record("aw_resnet18", (9.0, 8.9, 9.1), finished="2026-03-01T00:00:00.000000Z", **changes))
    assert statuses(check_latency(store.read(), [band()], "cpu")) == ["holds"]
    store.add(latency_record("aw_resnet18", (9.0, 8.9, 9.1), finished="2026-02-01T00:00:00.000000Z"))
    assert statuses(check_latency(store.read(), [band()], "cpu")) == ["off"]


def test_bands_of_other_devices_are_left_out_and_missing_records_say_the_command(store):
    (check,) = check_latency(store.read(), [band(), band(device="NVIDIA H200")], "cpu")
    assert check.status == "not measured"
    assert "awbench latency aw_resnet18 --batch-size 1 --dtype float32 --layout contiguous" in check.message
    assert (exit_code([check], []), exit_code([check], ["latency"])) == (0, 3)


def test_a_required_kind_of_which_there_is_nothing_shuts_the_gate():
    assert (exit_code([], []), exit_code([], ["latency"])) == (0, 3)


def digits(top1: float, seed: int, **changes):
    recipe = {**load_recipe("digits-quick").identity(), **changes}
    return make_record(
        kind="accuracy",
        variant="aw_resnet20",
        options=describe_options(parse_variant("aw_resnet20"), ModelOptions(num_classes=10)),
        settings={
            "origin": "trained",
            "dataset": "digits",
            "recipe": recipe,
            "protocol": PROTOCOLS["accuracy"],
            "seed": seed,
        },
        values={"top1": Quantity(value=top1, unit="percent"), "images": Quantity(value=359, unit="images")},
    )


def test_proxy_runs_must_not_lie_apart_from_the_locked_ones(store, tmp_path):
    for seed, top1 in enumerate((98.4, 98.7, 98.9)):
        store.add(digits(top1, seed))
    locked_file = tmp_path / "proxy.yaml"
    locked_file.write_text(runs_to_yaml(proxy_runs(store.read())))
    rows = load_locked_runs(locked_file)
    assert [(row.variant, [float(v) for v in row.values]) for row in rows] == [("aw_resnet20", [98.4, 98.7, 98.9])]
    assert statuses(check_proxies(store.read(), rows)) == ["holds"]
    for shift, expected in ((0.1, "holds"), (-2.0, "off"), (2.0, "off")):
        other = RecordStore(tmp_path / str(shift))
        for seed, top1 in enumerate((98.4, 98.75, 98.9)):
            other.add(digits(top1 + shift, seed))
        (check,) = check_proxies(other.read(), rows)
        assert check.status == expected, check.message


def test_proxies_that_cannot_be_compared_are_not_measured(store):
    row = LockedRuns(variant="aw_resnet20", metric="top1", training="0" * 12, values=[Decimal(98)])
    assert "needs 'awbench reproduce'" in check_proxies(store.read(), [row])[0].message
    store.add(digits(98.0, 0))
    assert "recipe was changed" in check_proxies(store.read(), [row])[0].message
    (present,) = proxy_runs(store.read())
    (check,) = check_proxies(store.read(), [present.model_copy(update={"values": [Decimal(97)]})])
    assert check.status == "not measured" and "two runs or more" in check.message


@pytest.mark.parametrize("values", [(10.0, 10.0, 10.0), (60.0, 55.0, 70.0), (10.0,)])
def test_a_collapse_is_off_however_few_the_runs_or_much_they_scatter(store, values):
    for seed, top1 in enumerate(values):
        store.add(digits(top1, seed))
    (present,) = proxy_runs(store.read())
    locked_values = [Decimal(98), Decimal(98), Decimal(98)][: len(values)]
    (check,) = check_proxies(store.read(), [present.model_copy(update={"values": locked_values})])
    assert check.status == "off"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bands: []", "schema_version"),
        ("schema_version: 1\nbands: [{variant: resnet51}]", "bands"),
        ("schema_version: 1\nbands: 3", "bands"),
        ("- 1", "expected keys and values"),
    ],
)
def test_a_broken_file_of_bands_is_one_line_with_its_name(tmp_path, text, words):
    path = tmp_path / "latency.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        load_bands(path)
    assert str(path) in str(raised.value)


def test_the_committed_files_are_valid():
    assert load_bands() and isinstance(load_locked_runs(), list)
