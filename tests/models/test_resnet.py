from __future__ import annotations

import pytest
import torch
import torchvision

import awbench
from awbench.attention import AWConv2d
from awbench.attention.aw_convolution import set_strategy
from awbench.errors import UserError
from awbench.variants import ARCHITECTURES, list_variants

CLASSIFICATION = [variant.name for variant in list_variants("classification")]


@pytest.mark.parametrize("network", [name for name, of in ARCHITECTURES.items() if of.stem == "imagenet"])
def test_torchvisions_weights_load_strictly_and_give_bitwise_its_outputs(network):
    theirs = torchvision.models.get_model(network, weights=None)
    torch.manual_seed(0)
    for name, buffer in theirs.named_buffers():  # norms that do something
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    ours = awbench.build(network)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(ours.eval()(image), theirs.eval()(image))
        assert torch.equal(ours.train()(image), theirs.train()(image))


@pytest.mark.parametrize("setting", ["aw", "aw_se", "aw_cbam", "aw_eca"])
@pytest.mark.parametrize("network", ["resnet18", "resnet20", "resnet50", "resnext50_32x4d"])
def test_a_plain_checkpoint_initialises_an_aw_model_which_with_a_of_zero_computes_the_same(setting, network):
    plain = awbench.build(f"{setting}_{network}".removeprefix("aw_")).eval()
    aw = awbench.build(f"{setting}_{network}").eval()
    missing, unexpected = aw.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(".attention.pointconv" in name or ".attention.bn" in name for name in missing)
    for module in aw.modules():
        if isinstance(module, AWConv2d):
            torch.nn.init.zeros_(module.attention.bn2.weight)
            torch.nn.init.constant_(module.attention.bn2.bias, -float("inf"))
    set_strategy(aw, "grouped")  # of one sample it is the plain convolution, to the bit
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(aw(image), plain(image))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_every_variant_runs_and_trains(name):
    torch.manual_seed(0)
    model = awbench.build(name, num_classes=7)
    logits = model(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    for parameter, tensor in model.named_parameters():
        assert tensor.grad is not None, parameter
        assert tensor.grad.isfinite().all(), parameter


def test_stride_placement_moves_the_stride_and_nothing_else():
    v1, v15 = (awbench.build("resnet50", stride_placement=placement) for placement in ("v1", "v1.5"))
    first = "layer2.0"
    assert (v1.get_submodule(first).conv1.stride, v1.get_submodule(first).conv2.stride) == ((2, 2), (1, 1))
    assert (v15.get_submodule(first).conv1.stride, v15.get_submodule(first).conv2.stride) == ((1, 1), (2, 2))
    v1.load_state_dict(v15.state_dict(), strict=True)


def test_the_default_placement_is_v15():
    assert awbench.build("resnet50").layer2[0].conv2.stride == (2, 2)


def where_aw(**options) -> list[str]:
    model = awbench.build("aw_resnet50", aw_options=options)
    return [name for name, module in model.named_modules() if isinstance(module, AWConv2d)]


def test_aw_convolutions_are_the_3x3_of_the_blocks_unless_chosen_otherwise():
    default = where_aw()
    assert len(default) == 16
    assert all(name.endswith("conv2") for name in default)
    assert {name.split(".")[0] for name in where_aw(stages=(3, 4))} == {"layer3", "layer4"}
    assert len(where_aw(convolutions="1x1")) == 32
    assert len(where_aw(convolutions="all")) == 48


def test_basic_blocks_have_both_convolutions_aw():
    model = awbench.build("aw_resnet18")
    assert sum(isinstance(module, AWConv2d) for module in model.modules()) == 16


def test_stage_outputs_are_what_a_pyramid_needs():
    features = awbench.build("aw_resnet50").stages(torch.randn(2, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in features] == [(256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2)]


def test_a_whole_network_compiles_without_graph_breaks():
    model = awbench.build("aw_cbam_resnet20").eval()
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True)(image), model(image), rtol=1e-3, atol=1e-3)


def test_attention_options_reach_the_module_and_unknown_ones_are_named():
    assert awbench.build("se_resnet18", attention_options={"reduction": 8}).layer1[0].attention.fc1.out_features == 8
    with pytest.raises(UserError, match=r"se has no option 'reducton'; did you mean reduction\?"):
        awbench.build("se_resnet18", attention_options={"reducton": 8})


def test_build_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match="build\\(\\) has no option 'pretrained'"):
        awbench.build("resnet18", pretrained=True)
    with pytest.raises(UserError, match="is a detector, and build.. makes .* e.g. its backbone resnet50;"):
        awbench.build("faster_rcnn_resnet50_fpn")
