"""Names as papers write them."""

from __future__ import annotations

import pytest
from study_files import write_study

from awbench.report.names import architecture_title, display_name, pair_title, setting_title
from awbench.studies import load_study
from awbench.variants import list_variants


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("resnet50", "ResNet-50"),
        ("aw_se_resnet50", "AW-SE-ResNet-50"),
        ("faster_rcnn_aw_resnet101_fpn", "Faster R-CNN AW-ResNet-101-FPN"),
        ("cbam_resnext50_32x4d", "CBAM-ResNeXt-50 32x4d"),
        ("wide_resnet50_2", "Wide ResNet-50-2"),
        ("no-norm", "no-norm"),  # a study's label
    ],
)
def test_a_network_is_called_as_papers_call_it(name, shown):
    assert display_name(name) == shown


def test_no_two_variants_share_a_name():
    names = [variant.name for variant in list_variants()]
    assert len({display_name(name) for name in names}) == len(names)
    assert architecture_title("resnet18") == "ResNet-18" and setting_title("plain") == "plain"


def titles(tmp_path, networks, *pairs):
    compared = [{"variant": variant, "over": over} for variant, over in pairs]
    study = load_study(write_study(tmp_path, networks=networks, comparisons=compared))
    return [pair_title(study, comparison) for comparison in study.comparisons]


def test_both_sides_of_a_pair_have_their_options(tmp_path):
    networks = {f"e{e}": {"variant": "aw_resnet20", "aw": {"expansion": e}} for e in (1, 16)}
    pairs = [("e1", "aw_resnet20"), ("e1", "e16"), ("aw_resnet20", "e16"), ("aw_resnet20", "resnet20")]
    assert titles(tmp_path, networks, *pairs) == [
        "expansion=1", "AW with expansion=1 over AW with expansion=16", "AW over AW with expansion=16", "AW over plain",
    ]  # fmt: skip


def test_pairs_of_several_architectures_have_theirs(tmp_path):
    pairs = [("aw_resnet20", "resnet20"), ("aw_resnet56", "resnet56")]
    assert titles(tmp_path, None, *pairs) == ["AW-ResNet-20 over ResNet-20", "AW-ResNet-56 over ResNet-56"]


def test_an_option_that_aw_and_the_attention_have_says_whose_it_is(tmp_path):
    """One was shown in the place of the other."""
    networks = {
        "both": {"variant": "aw_se_resnet20", "aw": {"reduction": 4}, "attention": {"reduction": 8}},
        "one": {"variant": "aw_se_resnet20", "attention": {"reduction": 8}},
        "alone": {"variant": "se_resnet20", "attention": {"reduction": 8}},
    }
    pairs = [("both", "aw_se_resnet20"), ("one", "aw_se_resnet20"), ("alone", "se_resnet20")]
    assert titles(tmp_path, networks, *pairs) == [
        "reduction=4, attention reduction=8", "attention reduction=8", "reduction=8",
    ]  # fmt: skip
