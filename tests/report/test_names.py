"""Names as papers write them."""

from __future__ import annotations

import pytest

from awbench.report.names import architecture_title, display_name, setting_title
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
