from __future__ import annotations

import pytest

from awbench.errors import UserError
from awbench.variants import ARCHITECTURES, AWOptions, list_variants, make_options, parse_variant


def test_the_grid_is_every_architecture_with_every_attention_setting():
    names = {variant.name for variant in list_variants("classification")}
    settings = ("", "se_", "cbam_", "eca_", "aw_", "aw_se_", "aw_cbam_", "aw_eca_")
    networks = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152, 20, 32, 56)]
    assert names >= {f"{setting}{network}" for setting in settings for network in networks}


def test_other_backbones_have_every_attention_setting():
    resnext = {variant.setting: variant for variant in list_variants() if variant.architecture.groups == 32}
    assert resnext.keys() == {variant.setting for variant in list_variants()}
    assert (resnext["aw_se"].name, resnext["aw_se"].plain) == ("aw_se_resnext50_32x4d", "resnext50_32x4d")


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name.startswith("resnet")])
def test_a_resnets_name_is_its_number_of_layers(name):
    assert ARCHITECTURES[name].depth == int(name.removeprefix("resnet"))


def test_detectors_carry_their_backbone():
    variant = parse_variant("faster_rcnn_aw_cbam_resnet101_fpn")
    assert (variant.task, variant.backbone, variant.plain) == (
        "detection",
        "aw_cbam_resnet101",
        "faster_rcnn_resnet101_fpn",
    )


@pytest.mark.parametrize("variant", list_variants(), ids=lambda variant: variant.name)
def test_every_listed_name_parses_to_itself(variant):
    assert parse_variant(variant.name) == variant


def test_a_name_with_an_unknown_module_says_how_modules_are_named():
    with pytest.raises(UserError, match="A module mine from outside: --module or AWBENCH_MODULES"):
        parse_variant("faster_rcnn_aw_mine_resnet50_fpn")
    for other in ("resnet5o", "aw_se_cbam_resnet50", "mine"):
        with pytest.raises(UserError, match="is not a variant") as caught:
            parse_variant(other)
        assert "--module" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("resnet51", "resnet50"), ("AW-ResNet50", "aw_resnet50"), ("aw_sse_resnet50", "aw_se_resnet50")],
)
def test_an_unknown_name_suggests_the_nearest(typed, meant):
    with pytest.raises(UserError, match=rf"{typed} is not a variant; did you mean {meant}\?"):
        parse_variant(typed)


def test_a_name_near_nothing_is_still_an_error():
    with pytest.raises(UserError, match="is not a variant. See 'awbench list'"):
        parse_variant("zzz")


def test_a_detector_is_refused_where_a_classifier_is_needed():
    with pytest.raises(UserError, match="this needs a classification one"):
        parse_variant("faster_rcnn_resnet50_fpn", "classification")


@pytest.mark.parametrize(
    ("option", "typed", "value"),
    [
        ("reduction", "8", 8),
        ("expansion", "none", None),
        ("expansion", "4", 4),
        ("residual", "off", False),
        ("norm", "true", True),
        ("stages", "3,4", (3, 4)),
        ("gate", "tanh", "tanh"),
    ],
)
def test_aw_options_are_read_as_typed_on_a_command_line(option, typed, value):
    assert getattr(make_options(aw_options={option: typed}).aw, option) == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reducton": "8"}, r"'reducton' does not exist; did you mean reduction\?"),
        ({"reduction": "half"}, "reduction='half' is not a whole number"),
        ({"reduction": 1.5}, "is not a whole number"),
        ({"residual": "maybe"}, "is not true or false"),
        ({"convolutions": "5x5"}, "use 3x3, 1x1 or all"),
        ({"stages": "0,1"}, "use some of 1,2,3,4"),
    ],
)
def test_a_wrong_aw_option_says_what_would_be_right(options, message):
    with pytest.raises(UserError, match=message):
        make_options(aw_options=options)


def test_every_aw_option_has_a_provenance():
    import dataclasses

    provenances = {field.metadata["provenance"] for field in dataclasses.fields(AWOptions)}
    assert provenances <= {"secondary", "recalled", "chosen"}


def test_unknown_stride_placement_and_class_count():
    with pytest.raises(UserError, match="use v1 or v1.5"):
        make_options(stride_placement="v2")
    with pytest.raises(UserError, match="at least 1 class"):
        make_options(num_classes=0)
