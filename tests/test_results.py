"""Results in Python: the documentation's examples run, and what cannot be compared is refused."""

from __future__ import annotations

import re

import pytest
from sample_records import add_top1, make_record

import awbench
from awbench.errors import UserError
from awbench.recipes.classification import load_recipe
from awbench.records import Quantity, RecordStore
from awbench.variants import describe_options, make_options, parse_variant
from awbench.verdicts.given_runs import measure_gain


@pytest.fixture
def store(tmp_path, monkeypatch) -> RecordStore:
    monkeypatch.chdir(tmp_path)
    return RecordStore(tmp_path / "results")


def add_digits(store):
    for variant, top1 in (("resnet20", (97.5, 98.0, 98.5)), ("aw_resnet20", (98.0, 98.5, 99.0))):
        recipe = load_recipe("digits-quick").identity()
        add_top1(store, variant, *top1, dataset="digits", recipe=recipe, images=400)


def test_the_documentations_examples_run_and_print_what_the_records_hold(store, root, capsys):
    pytest.importorskip("pandas")
    add_digits(store)
    blocks = re.findall(r"```python\n(.*?)```", (root / "docs/python.md").read_text(), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out
    assert "+0.50 (-1.26 to +2.26) at 95%" in printed
    assert "imagenet-r101 undecided undecided None" in printed
    assert re.search(r"aw_resnet20 +98.5 +0.5 +3", printed)


def test_a_frame_has_a_row_a_record_and_names_its_units(store):
    pandas = pytest.importorskip("pandas")
    add_digits(store)
    store.add(make_record())
    results = awbench.Results("results")
    frame = results.frame("accuracy")
    assert len(frame) == 6 and set(frame["settings.seed"]) == {0, 1, 2}
    assert frame.attrs["units"]["top1"] == "percent"
    assert isinstance(frame["finished"].dtype, pandas.DatetimeTZDtype)
    assert results.frame("complexity")["params"].tolist() == [25_557_032]
    assert len(results.frame("latency")) == 0


def test_names_that_do_not_exist_are_named_with_those_that_do(store):
    results = awbench.Results("results")
    with pytest.raises(UserError, match="kind 'acuracy' does not exist; did you mean accuracy?"):
        results.records("acuracy")
    with pytest.raises(UserError, match="table 'claim' does not exist; did you mean claims?"):
        results.table("claim")


def runs(store, variant, **wanted):
    return [
        record
        for record in store.read().of_kind("accuracy")
        if record.variant == variant
        and all(record.settings.json_object[name] == value for name, value in wanted.items())
    ]


def test_a_gain_is_of_runs_alike_on_one_dataset(store):
    add_digits(store)
    add_top1(store, "resnet20", 91.0, 91.2, dataset="cifar10", images=10_000)
    add_top1(store, "aw_resnet20", 92.0, 92.1, dataset="cifar10", images=10_000, precision="bfloat16")
    digits, cifar = runs(store, "aw_resnet20", dataset="digits"), runs(store, "resnet20", dataset="cifar10")
    gain = measure_gain(digits, runs(store, "resnet20", dataset="digits"), "top1")
    assert (gain.value, gain.low < 0.5 < gain.high) == (0.5, True)
    with pytest.raises(UserError, match="runs on cifar10 and digits cannot be compared; give runs on one dataset"):
        measure_gain(digits, cifar, "top1")
    with pytest.raises(UserError, match="not trained and evaluated alike: they differ in precision"):
        measure_gain(runs(store, "aw_resnet20", dataset="cifar10"), cifar, "top1")


def test_runs_that_were_not_made_alike_show_no_gain(store):
    add_digits(store)
    aw, plain = runs(store, "aw_resnet20"), runs(store, "resnet20")

    def changed(**changes):
        return [
            run.model_copy(update={name: getattr(run, name) | value for name, value in changes.items()}) for run in aw
        ]

    for treated, message in (
        (changed(environment={"source_sha256": "6" * 64}), "modelling code 5555.*, the first run has 6666"),
        (changed(environment={"torch": "2.12.1"}), "torch 2.14.1, the first run has 2.12.1"),
        (changed(environment={"device": "GPU B"}), "device GPU A, the first run has GPU B"),
        (changed(environment={"weights_sha256": "one"}), "two runs of aw_resnet20 have the same weights"),
        (changed(environment={"weights_sha256": None}), "seed 0 is no evidence: what weights it left is unknown"),
        (changed(options={"num_classes": 100}), "networks with different options: num_classes"),
        (
            changed(values={"top1": Quantity(value=-1e17, unit="percent")}),
            "is no evidence: top1 is -1e.17, not between",
        ),
        (changed(values={"images_left_out": Quantity(value=5, unit="images")}), "left out 5 images"),
    ):
        with pytest.raises(UserError, match=message):
            measure_gain(treated, plain, "top1")
    add_top1(store, "se_resnet20", 91.0, 91.2, dataset="cifar10")
    add_top1(
        store, "aw_se_resnet20", 91.0, 91.2, dataset="cifar10",
        options=describe_options(parse_variant("aw_se_resnet20"), make_options(attention_options={"reduction": 4})),
    )  # fmt: skip
    with pytest.raises(UserError, match="networks with different options: attention"):
        measure_gain(runs(store, "aw_se_resnet20"), runs(store, "se_resnet20"), "top1")


def test_equal_runs_are_no_gain_that_is_known_exactly(store):
    """They deviate by an image at least, as in studies."""
    add_top1(store, "resnet20", 91.0, 91.0, dataset="cifar10", images=10_000)
    add_top1(store, "aw_resnet20", 91.02, 91.02, dataset="cifar10", images=10_000)
    gain = measure_gain(*(runs(store, name) for name in ("aw_resnet20", "resnet20")), "top1")
    assert gain.floored and gain.deviation == 0.01 and gain.low < 0 < gain.high


def test_a_side_is_independent_runs_of_one_network(store):
    add_digits(store)
    aw, plain = runs(store, "aw_resnet20"), runs(store, "resnet20")
    for treated, message in (
        ([], "runs of nothing were given as one side"),
        ([*aw, *plain], "runs of aw_resnet20, resnet20 were given as one side"),
        ([aw[0], aw[0]], "a seed of aw_resnet20 stands twice"),
    ):
        with pytest.raises(UserError, match=message):
            measure_gain(treated, plain, "top1")
    with pytest.raises(UserError, match="a record of aw_resnet20 has no top5"):
        measure_gain(aw, plain, "top5")
    other = aw[1].model_copy(update={"options": {**aw[1].options, "aw": {"reduction": 8}}})
    with pytest.raises(UserError, match="with different options were given as one side"):
        measure_gain([aw[0], other], plain, "top1")
    with pytest.raises(UserError, match=r"level 95 is not a probability"):
        measure_gain(aw, plain, "top1", level=95)
    fewer = [
        run.model_copy(update={"values": run.values | {"images": Quantity(value=200, unit="images")}}) for run in plain
    ]
    with pytest.raises(UserError, match="they differ in images"):
        measure_gain(aw, fewer, "top1")
    assert measure_gain(iter(aw), iter(plain), "top1").value == 0.5
