"""The gate passes what agrees, and fails on one changed count, one missing record, one ratio out of its band."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sample_records import latency_record, make_record, trained

from awbench.errors import UserError
from awbench.gate.bands import LatencyBand, check_latency, load_bands
from awbench.gate.checks import check_complexity, check_published, gate_status
from awbench.gate.locked import LockedCounts, counts_to_yaml, load_locked, locked_path
from awbench.gate.proxies import LockedRuns, check_proxies, load_locked_runs, proxy_runs, runs_to_yaml
from awbench.recipes import PROTOCOLS
from awbench.recipes.classification import load_recipe
from awbench.records import Quantity, RecordStore
from awbench.reference.load import References, load_references
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
    return {"pass": 0, "fail": 1, "not measured": 3}[gate_status(checks, required)]


def statuses(checks):
    return [check.status for check in checks]


def test_equal_counts_hold():
    checks = check_complexity([make_record()], [locked()], ["torchvision"])
    assert statuses(checks) == ["pass"] and exit_code(checks, []) == 0


@pytest.mark.parametrize("value", ["params", "macs", "aw_kernel_forming", "activations"])
def test_one_changed_count_shuts_the_gate(value):
    checks = check_complexity([make_record()], [locked(**{value: getattr(locked(), value) + 1})], ["torchvision"])
    assert exit_code(checks, []) == 1
    assert f"{value} is" in checks[0].message and "resnet50 (v1.5, 224)" in checks[0].name


def test_a_network_without_locked_counts_shuts_the_gate():
    checks = check_complexity([make_record(variant="resnet101")], [], ["torchvision"])
    assert exit_code(checks, []) == 1 and "see 'awbench lock'" in checks[0].message


def test_rows_that_stay_as_they_are_are_written_as_they_were():
    """As `make lock` does with Detectron2's where it is not installed."""
    rows = load_locked()
    assert counts_to_yaml([], rows) == locked_path().read_text()


def test_a_locked_row_that_nothing_was_held_to_shuts_the_gate():
    checks = check_complexity([make_record()], [locked(), locked(variant="resnet34")], ["torchvision"])
    assert statuses(checks) == ["pass", "not measured"] and exit_code(checks, []) == 3


def test_rows_of_an_engine_that_is_not_here_are_not_required_unless_asked_for():
    row = locked(variant="faster_rcnn_resnet50_fpn", engine="detectron2", image_size="800x1088", proposals=1000)
    checks = check_complexity([make_record()], [locked(), row], ["torchvision"])
    assert "needs detectron2 (make detectron2)" in checks[1].message
    assert (exit_code(checks, []), exit_code(checks, ["complexity"])) == (0, 3)


def accuracy_record(top1: float, variant="resnet50", sha256="0676ba61" + "0" * 56, images=50_000, **changes):
    """Of torchvision's IMAGENET1K_V1 weights evaluated as there; or with changed settings."""
    evaluation = {"resize": 256, "crop": 224, "interpolation": "bilinear"}
    placement = changes.pop("stride_placement", "v1.5")
    inputs, environment = changes.pop("inputs", {}), changes.pop("environment", {})
    return make_record(
        kind="accuracy",
        variant=variant,
        options={"stride_placement": placement, "num_classes": 1000},
        settings={
            "origin": "weights", "dataset": "imagenet", "weights": "IMAGENET1K_V1", "precision": "float32",
            "evaluation": evaluation, **changes,
        },
        inputs={
            "weights_sha256": sha256, "initial_weights_sha256": "random", "train_sha256": "1", "val_sha256": "0",
            **inputs,
        },
        values={"top1": Quantity(value=top1, unit="percent"), "images": Quantity(value=images, unit="images")},
        notes=["ImageNet val, 50,000 images"],
        environment={**trained(variant, changes.get("seed"), top1), "train_images": 1_281_167, **environment},
    )  # fmt: skip


def training(top1: float, variant="resnet50", seed=0, recipe="torchvision-v1", changes=(), **settings):
    """By a recipe on the complete ImageNet, from random weights."""
    resolved = load_recipe(recipe, changes)
    settings = {"evaluation": resolved.evaluation.model_dump(mode="json"), **settings}
    return accuracy_record(
        top1, variant, origin="trained", recipe=resolved.identity(), protocol=PROTOCOLS["accuracy"], seed=seed,
        **settings,
    )  # fmt: skip


V1 = "resnet50 top1, torchvision (IMAGENET1K_V1)"


def published(store, name=V1):
    checks = check_published(store.read(), load_references())
    return next(check for check in checks if check.name == name), checks


def test_accuracy_of_published_weights_is_held_to_the_published_number(store):
    check, checks = published(store)
    assert (check.status, exit_code(checks, []), exit_code(checks, ["accuracy"])) == ("not measured", 0, 3)
    command = "awbench eval resnet50 --weights IMAGENET1K_V1 --recipe torchvision-v1 --dataset imagenet --data DIR"
    assert check.message == f"not measured: needs '{command}'"
    store.add(accuracy_record(76.132))
    assert published(store)[0].status == "pass"
    store.add(accuracy_record(75.0))
    check, checks = published(store)
    assert check.status == "fail" and exit_code(checks, []) == 1
    assert "published 76.130 percent: -1.130 percent, allowed +-0.060" in check.message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": "1" * 64}, "IMAGENET1K_V1 has sha256 11111111, the published file 0676ba61"),
        ({"evaluation": {"resize": 232, "crop": 224}}, "resize is 232, published with 256"),
        ({"evaluation": {"resize": 256, "crop": 160}}, "crop is 160, published with 224"),
        ({"precision": "bfloat16"}, "evaluated in bfloat16, published in float32"),
        ({"stride_placement": "v1"}, "stride placement is v1, published with v1.5"),
        ({"images": 1000}, "evaluated on 1,000 of 50,000 images"),
    ],
)
def test_weights_evaluated_otherwise_are_not_comparable_and_the_reason_is_said(store, changes, reason):
    store.add(accuracy_record(70.0, **changes))
    check, checks = published(store)
    assert (check.status, exit_code(checks, [])) == ("not measured", 0)
    assert check.message == f"not measured: not comparable: {reason}"
    store.add(accuracy_record(76.13))  # what is comparable counts, whatever lies beside it
    assert published(store)[0].status == "pass"


def test_the_file_counts_and_not_its_name(store):
    store.add(accuracy_record(76.132, weights="resnet50-0676ba61.pth"))
    assert published(store)[0].status == "pass"
    store.add(accuracy_record(70.0, weights="mine.safetensors", sha256="2" * 64))  # nobody published it
    assert published(store)[0].status == "pass"


def test_the_digests_are_those_that_torchvision_names():
    models = pytest.importorskip("torchvision").models
    stated = {(n.variant, n.weights): n.weights_sha256 for n in load_references().numbers if n.weights_sha256}
    assert len(stated) == 9
    for (variant, weights), digest in stated.items():
        name = "fasterrcnn_resnet50_fpn" if variant.startswith("faster") else variant
        assert f"-{digest}.pth" in models.get_model_weights(name)[weights].url


def test_weights_whose_digest_nobody_states_are_not_comparable(store):
    store.add(accuracy_record(70.0, weights="resnet50.tv_in1k"))
    check, _ = published(store, "resnet50 top1, timm (resnet50.tv_in1k)")
    assert check.message == "not measured: not comparable: the digest of resnet50.tv_in1k is not known"


def test_trainings_are_held_to_the_number_of_their_own_recipe(store):
    store.add(training(75.9, changes=["precision=bfloat16"]))
    assert published(store)[0].status == "pass"
    assert published(store, "resnet50 top1, torchvision (IMAGENET1K_V2)")[0].status == "not measured"
    assert published(store, "resnet50 top1_error, cbam_paper")[0].status == "not measured"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"changes": ["epochs=1"]}, "recipe: epochs is 1, not 90"),
        ({"evaluation": {"resize": 64, "crop": 64, "interpolation": "bilinear"}}, "resize is 64, not 256"),
        ({"stride_placement": "v1"}, "stride placement is v1, published with v1.5"),
        ({"images": 49_999}, "evaluated on 49,999 of 50,000 images"),
    ],
)
def test_other_trainings_by_that_recipe_are_not_comparable(store, changes, reason):
    store.add(training(20.0, **changes))
    check, _ = published(store)
    assert check.status == "not measured" and "not comparable" in check.message and reason in check.message


def test_the_first_run_of_a_seed_counts(store):
    for top1 in (60.0, 76.13):
        store.add(training(top1))
    assert published(store)[0].status == "fail"


def test_trainings_that_are_not_independent_or_not_alike_count_once(store):
    """As in studies: copies of one training, other code, the training images as those of the evaluation."""

    def held() -> str:
        return published(store)[0].message

    store.add(training(76.13))
    alone = held()
    for seed in (1, 2):
        store.add(
            training(76.13, seed=seed, environment={"weights_sha256": trained("resnet50", 0, 76.13)["weights_sha256"]})
        )
    for seed in (3, 4):
        store.add(training(70.0, seed=seed, environment={"source_sha256": "6" * 64}))
    store.add(training(70.0, seed=5, inputs={"val_sha256": "1"}))
    store.add(training(70.0, seed=6, environment={"weights_sha256": None}))
    assert held() == alone
    store.add(training(70.0, seed=7))
    assert held() != alone


def test_what_trainings_are_held_to_is_corrected_over_all(store):
    """Three runs a point below fail by themselves, but not among nine runs of three networks."""
    references = References(sources=(), numbers=load_references().numbers, unknown=())

    def status():
        (found,) = (check.status for check in check_published(store.read(), references) if check.name == V1)
        return found

    def train(variant, mean):
        for seed, top1 in enumerate((mean - 0.1, mean, mean + 0.1)):
            store.add(training(top1, variant, seed))

    train("resnet50", 76.13 - 1.0)
    assert status() == "fail"
    train("resnet18", 69.758)
    train("resnet101", 77.374)
    assert status() == "pass"


def test_what_no_command_can_measure_is_for_comparison_only(store):
    messages = [check.message for check in check_published(store.read(), load_references())]
    for message in messages:
        assert message.startswith(("not measured: needs 'awbench ", "not measured: for comparison only: "))
        assert "reproduce" not in message
    assert "not measured: needs 'awbench study run imagenet --data DIR'" in messages
    assert "not measured: for comparison only: no recipe here trains as the source did" in messages


def band(**changes) -> LatencyBand:
    values = {
        "variant": "aw_resnet18", "device": "cpu", "batch_size": 1, "dtype": "float32", "layout": "contiguous",
        "at_least": Decimal("0.8"), "at_most": Decimal("2"), "why": "chosen",
    }  # fmt: skip
    return LatencyBand(**{**values, **changes})


@pytest.mark.parametrize(
    ("ratio", "expected", "code"),
    [
        ((1.5, 1.45, 1.55), "pass", 0),
        ((1.95, 1.85, 2.05), "pass", 0),  # the interval reaches beyond
        ((2.05, 1.95, 2.15), "not measured", 3),  # beyond, but not for sure
        ((2.2, 2.1, 2.3), "fail", 1),
        ((0.6, 0.55, 0.65), "fail", 1),
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
    assert statuses(check_latency(store.read(), [band()], "cpu")) == ["pass"]
    store.add(latency_record("aw_resnet18", (9.0, 8.9, 9.1), finished="2026-02-01T00:00:00.000000Z"))
    assert statuses(check_latency(store.read(), [band()], "cpu")) == ["fail"]


def test_bands_of_other_devices_are_left_out_and_missing_records_say_the_command(store):
    (check,) = check_latency(store.read(), [band(), band(device="NVIDIA H200")], "cpu")
    assert check.status == "not measured"
    assert "awbench latency aw_resnet18 --batch-size 1 --dtype float32 --layout contiguous" in check.message
    assert (exit_code([check], []), exit_code([check], ["latency"])) == (0, 3)


def test_a_required_kind_of_which_there_is_nothing_shuts_the_gate():
    assert (exit_code([], []), exit_code([], ["latency"])) == (0, 3)


def digits(top1: float, seed: int, variant="aw_resnet20", **changes):
    recipe = {**load_recipe("digits-quick").identity(), **changes}
    return make_record(
        kind="accuracy",
        variant=variant,
        options=describe_options(parse_variant(variant), ModelOptions(num_classes=10)),
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
    assert statuses(check_proxies(store.read(), rows)) == ["pass"]
    for shift, expected in ((0.1, "pass"), (-2.0, "fail"), (2.0, "fail")):
        other = RecordStore(tmp_path / str(shift))
        for seed, top1 in enumerate((98.4, 98.75, 98.9)):
            other.add(digits(top1 + shift, seed))
        (check,) = check_proxies(other.read(), rows)
        assert check.status == expected, check.message


def test_proxy_runs_of_all_networks_are_pooled_and_corrected(store, tmp_path):
    """Three runs of one network alone would find nothing at that level; four say how far runs lie apart."""
    names = ("resnet20", "se_resnet20", "aw_resnet20", "aw_se_resnet20")
    other = RecordStore(tmp_path / "other")
    for place, name in enumerate(names):
        for seed, top1 in enumerate((98.4, 98.6, 98.8) if place == 3 else (98.3, 98.6, 98.9)):
            store.add(digits(top1, seed, variant=name))
            other.add(digits(top1 - 0.1 * (seed + 1) - (1.5 if place == 3 else 0.0), seed, variant=name))
    rows = proxy_runs(store.read())
    found = {check.name.split()[0]: check for check in check_proxies(other.read(), rows)}
    assert {name: found[name].status for name in names} == dict.fromkeys(names[:3], "pass") | {names[3]: "fail"}
    assert "99.38% interval" in found[names[3]].message


def test_proxies_that_cannot_be_compared_are_not_measured(store):
    row = LockedRuns(variant="aw_resnet20", metric="top1", training="0" * 12, values=[Decimal(98)])
    assert "needs 'awbench study run digits'" in check_proxies(store.read(), [row])[0].message
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
    assert check.status == "fail"


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
