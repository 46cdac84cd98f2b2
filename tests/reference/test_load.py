from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from awbench.errors import UserError
from awbench.reference.load import default_directory, load_references, load_source

SOURCE = """\
schema_version: 1
id: example
title: An example
url: https://example.org
read_from: its table 1
provenance: primary
conventions:
  complexity: {stride_placement: v1, image_size: 224, operation: mac, layers: {convolution: 1, linear: 1}}
numbers:
  - {variant: resnet101, metric: macs, value: 7.570, unit: GMAC}
"""


@pytest.fixture
def source(tmp_path):
    """Write SOURCE with replacements; returns its path."""

    def write(*replacements: tuple[str, str]):
        text = SOURCE
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "example.yaml"
        path.write_text(text)
        return path

    return write


def test_the_projects_own_references_are_valid_and_complete():
    references = load_references()
    assert len(references.numbers) > 100
    assert {claim.id for _, claim in references.claims} == {
        "imagenet-r101",
        "imagenet-combined",
        "coco-r101-fpn",
        "coco-combined",
    }
    assert references.unknown == ("aw_convolution",)
    assert all(number.url.startswith("https://") and number.provenance for number in references.numbers)


def test_the_facts_that_were_handed_over_are_there():
    """A few of each source, as the facts file printed them."""
    numbers = {
        (n.source, n.variant, n.metric, n.schedule or n.weights): (str(n.value), n.provenance)
        for n in load_references().numbers
    }
    assert numbers["torchvision", "resnet101", "top1", "IMAGENET1K_V2"] == ("81.886", "primary")
    assert numbers["cbam_paper", "resnet101", "macs", ""] == ("7.570", "secondary")
    assert numbers["cbam_paper", "se_resnet50", "macs", ""] == ("3.860", "recalled")
    assert numbers["senet_paper", "se_resnet101", "top1_error", ""] == ("22.38", "secondary")
    assert numbers["detectron2_model_zoo", "faster_rcnn_resnet101_fpn", "box_ap", "3x"] == ("42.0", "primary")
    assert numbers["timm", "se_resnet101", "top1", "legacy_seresnet101.in1k"] == ("78.370", "primary")
    assert numbers["pytorchinsight", "cbam_resnet101", "top1", "best epoch"] == ("78.3540", "primary")
    assert numbers["eca_repository", "eca_resnet50", "params", ""] == ("24.37", "primary")
    assert numbers["cbam_paper", "cbam_resnet18", "top1_error", ""] == ("29.27", "recalled")


def test_what_we_measured_ourselves_is_not_called_published():
    assert not [n for n in load_references().of_kind("complexity") if n.source == "detectron2_model_zoo"]


def test_accuracies_say_what_they_are_of():
    found = {number.dataset for number in load_references().of_kind("accuracy")}
    assert found == {"ImageNet-1k val", "CIFAR-10 test", "CIFAR-100 test", "Fashion-MNIST test"}
    conventions = {n.source: n.convention for n in load_references().of_kind("accuracy")}
    for source, placement in (
        ("senet_repository", "v1"),
        ("cbam_repository", "v1.5"),
        ("deep_residual_networks", "v1"),
    ):
        stated = conventions[source]
        assert (stated.stride_placement, stated.crop, stated.resize, stated.crops) == (placement, 224, 256, 1)


def test_published_speeds_of_training_can_be_read():
    speeds = [number for number in load_references().numbers if number.metric == "train_images_per_s"]
    timm = {(n.variant, n.convention.layout): n for n in speeds if n.source == "timm_training"}
    best, measured = timm["resnet101", "NHWC"], timm["resnet101", "NHWC"].convention
    assert (float(best.value), measured.device, measured.dtype, measured.batch_size) == (747.89, "RTX 3090", "amp", 256)
    assert float(timm["resnet101", "NCHW"].value) == 568.98
    assert timm["ecaresnet50d", "NHWC"].network
    assert any(n.source == "eca_paper" and "4 RTX 2080 Ti" in n.convention.device for n in speeds)


def test_printed_zeros_are_kept(source):
    number = load_references(source().parent).numbers[0]
    assert str(number.value) == "7.570"
    assert number.value == Decimal("7.57")


@pytest.mark.parametrize(
    ("replacements", "message"),
    [
        ([("value:", "vlaue:")], r"numbers\[0\]: unknown key 'vlaue'; did you mean value\?"),
        ([("read_from:", "raed_from:")], r"unknown key 'raed_from'; did you mean read_from\?"),
        (
            [("image_size:", "image_sise:")],
            r"conventions.complexity: unknown key 'image_sise'; did you mean image_size",
        ),
        (
            [("provenance: primary\n", "")],
            r"numbers\[0\] \(resnet101 macs 7.570\) has no provenance; add provenance: primary",
        ),
        ([("provenance: primary", "provenance: heard")], r"provenance: .*primary.* \(it is 'heard'\)"),
        ([("unit: GMAC", "unit: GFLOP")], "unit 'GFLOP' does not fit macs; use MAC or MMAC or GMAC or GiMAC"),
        ([(", unit: GMAC", "")], r"numbers\[0\].unit: Field required"),
        ([("metric: macs", "metric: mac")], r"metric 'mac' is not known; did you mean macs\?"),
        ([("resnet101", "resnet100")], r"resnet100 is not a variant; did you mean resnet101\?"),
        ([("value: 7.570", "value: about 7")], "value"),
        ([("value: 7.570", "value: .nan")], "'.nan' is not a number"),
        ([("value: 7.570", "value: 0")], "between 1e-9 and 1e15"),
        ([("value: 7.570", "value: 4.0e-40")], "between 1e-9 and 1e15"),
        ([("value: 7.570", "value: 1e999999999")], "value"),
        ([("value: 7.570", "value: !!int abc")], "not valid YAML"),
        ([("title: An example", "[a, b]: c")], "not valid YAML"),
        ([("title: An example", "title: " + "{" * 5000)], "not valid YAML"),
        ([("title: An example", "title: a\0b")], "example.yaml"),
        ([("image_size: 224", "image_size: 0")], "image_size"),
        ([("unit: GMAC}", "unit: GMAC, url: nonsense}")], "must begin with https"),
        ([("value: 7.570", "value: -1.0")], "between 1e-9 and 1e15"),
        (
            [("title:", "titel:"), ("conventions:", "convention:")],
            "unknown key 'titel'; did you mean title.* unknown key 'convention'; did you mean conventions",
        ),
        (
            [("value: 7.570", "value: 0.757"), ("metric: macs", "metric: top1"), ("unit: GMAC", "unit: percent")],
            "value 0.757 of top1 looks like a fraction; give it in percent",
        ),
        (
            [("metric: macs", "metric: top1"), ("unit: GMAC", "unit: percent")],
            "has no convention; add conventions: acc",
        ),
        ([("linear: 1", "linear: 2")], "both with the same weight"),
        ([("https://", "http://")], "must begin with https"),
        (
            [
                (
                    "numbers:\n  - {variant: resnet101, metric: macs, value: 7.570, unit: GMAC}",
                    "rows:\n  - {variant: resnet101, values: {macs: 7.570}}",
                )
            ],
            r"rows\[0\] \(resnet101\): macs may be in MAC or MMAC or GMAC or GiMAC; add it to the source's units",
        ),
        (
            [
                (
                    "numbers:\n  - {variant: resnet101, metric: macs, value: 7.570, unit: GMAC}",
                    "rows:\n  - {variant: resnet101, values: {mac: 7.570}}",
                )
            ],
            r"rows\[0\] \(resnet101\): metric 'mac' is not known; did you mean macs\?",
        ),
        (
            [("unit: GMAC}", "unit: GMAC, dataset: CIFAR-10}")],
            r"dataset 'CIFAR-10' is not known; did you mean CIFAR-10",
        ),
        ([("schema_version: 1", "schema_version: 9")], "schema_version"),
        ([("title: An example", "title: An: example")], "line 3: not valid YAML"),
        ([("title: An example", "title: a\ntitle: b")], "line 4: not valid YAML: key 'title' is given twice"),
    ],
)
def test_a_wrong_file_gives_one_line_naming_the_file_and_the_remedy(replacements, message, source):
    path = source(*replacements)
    with pytest.raises(UserError, match=message) as error:
        load_references(path.parent)
    assert str(path) in str(error.value)


def test_a_number_given_twice(source):
    path = source()
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    with pytest.raises(UserError, match="resnet101 macs is given twice"):
        load_references(path.parent)


def test_a_number_can_differ_from_its_source(source):
    path = source(("unit: GMAC", "unit: GMAC, provenance: recalled, url: 'https://example.org/2'"))
    number = load_references(path.parent).numbers[0]
    assert (number.provenance, number.url) == ("recalled", "https://example.org/2")


def test_two_files_of_one_id(source):
    path = source()
    (path.parent / "twin.yaml").write_text(path.read_text())
    with pytest.raises(UserError, match="id 'example' is already that of"):
        load_references(path.parent)


@pytest.mark.parametrize("text", ["", "just a sentence", "- 1\n- 2\n"])
def test_a_file_that_is_not_a_mapping(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match="expected keys and values"):
        load_references(tmp_path)


def test_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="no reference files in"):
        load_references(tmp_path)


def test_yaml_cannot_run_code(tmp_path):
    (tmp_path / "a.yaml").write_text("a: !!python/object/apply:os.system ['touch pwned']\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load_references(tmp_path)


def test_the_papers_tables_have_a_slot_that_takes_numbers(tmp_path):
    """Whoever holds the paper enters its numbers; the made-up one here is for this test only."""
    text = (default_directory() / "aw_convolution.yaml").read_text()
    filled = re.sub(
        r"unknown: .*\nnumbers: \[\]",
        "conventions:\n"
        "  complexity: {stride_placement: v1, image_size: 224, operation: mac, layers: {convolution: 1, linear: 1}}\n"
        "numbers:\n  - {variant: aw_resnet50, metric: macs, value: 1.00, unit: GMAC}\n",
        text,
    )
    assert filled != text
    path = tmp_path / "aw_convolution.yaml"
    path.write_text(filled)
    assert load_references(tmp_path).unknown == ()
    assert load_source(path).numbers[0].variant == "aw_resnet50"


def test_a_row_of_a_table_is_a_number_for_each_value(source):
    old = "numbers:\n  - {variant: resnet101, metric: macs, value: 7.570, unit: GMAC}"
    new = (
        "  accuracy: {stride_placement: v1, crop: 224}\n"
        "units: {macs: GMAC}\n"
        "rows:\n"
        "  - {variant: resnet101, values: {macs: 7.570, top1: 77.0}, conventions: {accuracy: {crop: 299}}}\n"
        "  - {variant: resnet20, dataset: CIFAR-10 test, values: {top1_error: 8.27}}\n"
        "  - {variant: resnet34, values: {macs: 3664}, units: {macs: MMAC}}"
    )
    macs, top1, error, small = load_references(source((old, new)).parent).numbers
    assert (str(macs.value), macs.unit, top1.unit, small.unit) == ("7.570", "GMAC", "percent", "MMAC")
    assert (top1.convention.crop, top1.convention.stride_placement) == (299, "v1"), "the rest is the source's"
    assert (top1.dataset, error.dataset) == ("ImageNet-1k val", "CIFAR-10 test")


def test_the_example_of_the_readme_is_a_valid_file(root, tmp_path):
    readme = (root / "reference_results/README.md").read_text()
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "schema_version" in block]
    (tmp_path / "example.yaml").write_text(example)
    references = load_references(tmp_path)
    assert {number.kind for number in references.numbers} == {"complexity", "accuracy", "detection", "latency"}
    assert len(references.run_to_run) == 1
    assert [number.metric for number in references.numbers].count("train_images_per_s") == 1


def test_a_file_with_the_earlier_names_of_keys_is_read(source):
    row = "{what: runs, of: training, dataset: ImageNet-1k val, metric: top1, unit: percent, deviation: 0.1, runs: 3, "
    rows = f"run_to_run:\n  - {row}provenance: primary, url: 'https://example.org'}}\n"
    now = load_source(source(("numbers:", f"{rows}numbers:")))
    path = source(("numbers:", f"{rows}numbers:"), ("run_to_run:", "scatter:"), ("provenance:", "standing:"))
    assert load_source(path) == now and now.run_to_run
    path = source(("provenance: primary", "provenance: primary\nstanding: recalled"))
    with pytest.raises(UserError, match="unknown key 'standing'"):
        load_source(path)


def test_all_errors_of_a_file_are_said_at_once(source):
    path = source(
        ("variant: resnet101, metric: macs", "variant: resnet102, metric: macs"),
        ("unit: GMAC}\n", "unit: GMAC}\n  - {variant: resnet50, metric: params, value: 25.56, unit: GMAC}\n"),
        ("provenance: primary", "provenance: rumour"),
    )
    with pytest.raises(UserError) as caught:
        load_source(path)
    for part in ("resnet102 is not a variant; did you mean resnet101?", "numbers[1]", "provenance: "):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_between_numbers_is_said_at_once(source):
    path = source(
        ("provenance: primary\n", ""),
        ("unit: GMAC}\n", "unit: GMAC}\n  - {variant: resnet50, metric: top1, value: 76.1, unit: percent}\n"),
    )
    with pytest.raises(UserError) as caught:
        load_source(path)
    assert str(caught.value).count("has no provenance") == 2 and "has no convention" in str(caught.value)


def test_files_are_added_to_the_projects_own(source, tmp_path):
    own = load_references()
    path = source()
    for place in (path, tmp_path):  # a file, a folder
        both = load_references(added=[place])
        assert both.sources[:-1] == own.sources and both.sources[-1].id == "example"
    with pytest.raises(UserError, match="id 'torchvision' is already that of"):
        load_references(added=[source(("id: example", "id: torchvision"))])
    with pytest.raises(UserError, match="no reference files in nowhere"):
        load_references(added=[Path("nowhere")])


def test_the_command_adds_or_replaces(source, awbench):
    path = str(source())
    own = awbench("table", "complexity", "--json")[1]
    added = awbench("table", "complexity", "--json", "--references", path)[1]
    alone = awbench("table", "complexity", "--json", "--only-references", path)[1]
    sources = [{row["source"] for row in json.loads(out) if row.get("source")} for out in (own, added, alone)]
    assert sources[1] == sources[0] | {"example"} and sources[2] == {"example"}
