"""`awbench.convert`: networks of others with AW-convolutions, their weights as they were."""

from __future__ import annotations

import io

import pytest
import timm
import torch
import torchvision
from torch import nn

import awbench
from awbench.errors import UserError

NETWORKS = {
    "torchvision": lambda: torchvision.models.resnet18(weights=None),
    "timm": lambda: timm.create_model("resnet18", pretrained=False, zero_init_last=False),
}


def switch_off(model: nn.Module) -> None:
    """Make every attention branch give A = 0."""
    for module in model.modules():
        if isinstance(module, awbench.AWConv2d):
            nn.init.zeros_(module.attention.bn2.weight)
            nn.init.constant_(module.attention.bn2.bias, -1e4)


@pytest.mark.parametrize("library", NETWORKS)
def test_a_network_keeps_its_weights_and_what_it_computes(library):
    model = NETWORKS[library]().eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, parameters = model(x), dict(model.named_parameters())
    assert awbench.convert(model) is model
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in parameters.items())
    replaced = [name for name, module in model.named_modules() if isinstance(module, awbench.AWConv2d)]
    assert len(replaced) == 16 and all(name.startswith("layer") for name in replaced)
    assert not any(module.training for module in model.modules())
    with torch.no_grad():
        assert not torch.allclose(model(x), before)
        switch_off(model)
        torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)


def test_it_is_the_same_network_as_the_projects_own():
    ours = awbench.build("aw_resnet18")
    theirs = awbench.convert(torchvision.models.resnet18(weights=None))
    assert {n: t.shape for n, t in theirs.state_dict().items()} == {n: t.shape for n, t in ours.state_dict().items()}
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(x), ours.eval()(x))


def test_which_convolutions_and_with_which_options():
    model = torchvision.models.resnet18(weights=None)
    awbench.convert(model, where=lambda name, layer: name.startswith("layer4") and layer.stride == (2, 2), reduction=4)
    replaced = {name: module for name, module in model.named_modules() if isinstance(module, awbench.AWConv2d)}
    assert list(replaced) == ["layer4.0.conv1", "layer4.0.downsample.0"]
    assert replaced["layer4.0.conv1"].attention.pointconv1.out_channels == 256 // 4
    awbench.convert(model, where="1x1")
    assert isinstance(model.layer2[0].downsample[0], awbench.AWConv2d)


def test_layers_keep_dtype_device_bias_and_sharing():
    shared = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=True, dtype=torch.float64)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    awbench.convert(model)
    assert model[0] is model[2] and model[0].bias is shared.bias and model[0].groups == 2
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert isinstance(awbench.convert(nn.Conv2d(3, 8, 3)), awbench.AWConv2d)
    with torch.device("meta"):
        on_meta = nn.Sequential(nn.Conv2d(3, 8, 3))
    assert all(p.is_meta for p in awbench.convert(on_meta).parameters())


def test_what_only_derives_from_a_convolution_stays():
    class Own(nn.Conv2d):
        pass

    model = awbench.convert(nn.Sequential(Own(3, 8, 3), nn.Conv2d(8, 8, 3)))
    assert type(model[0]) is Own


@pytest.mark.parametrize(
    ("where", "options", "message"),
    [
        ("5x5", {}, "where is '5x5'; use 3x3, 1x1, all, or a function"),
        ("1x1", {}, "has no convolution to replace, where='1x1'; its plain ones have the kernel sizes 3x3"),
        ("3x3", {"expansion": 5}, "0: expansion is 5, which does not divide the 8 input channels"),
        ("3x3", {"expnsion": 2}, "AWConv2d has no such options: expnsion"),
    ],
)
def test_faults_are_named_and_the_network_stays(where, options, message):
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    with pytest.raises(UserError) as caught:
        awbench.convert(model, where, **options)
    assert message in str(caught.value)
    assert all(type(layer) is nn.Conv2d for layer in model)


@pytest.mark.filterwarnings("ignore")
def test_what_does_not_export_to_onnx_says_why():
    model = awbench.convert(nn.Sequential(nn.Conv2d(3, 8, 3))).eval()
    with pytest.raises(UserError, match="not exported to ONNX: it has neither"):
        torch.onnx.export(model, (torch.zeros(1, 3, 8, 8),), io.BytesIO(), dynamo=False)
    assert torch.export.export(model, (torch.zeros(1, 3, 8, 8),)).module()(torch.zeros(1, 3, 8, 8)).shape[1] == 8


@pytest.mark.parametrize("where", [7, ["layer1"], "5x5", None])
def test_a_choice_that_is_none_is_named(where):
    with pytest.raises(UserError, match="use 3x3, 1x1, all, or a function"):
        awbench.convert(nn.Conv2d(4, 4, 3), where=where)


def test_what_is_no_network_is_named():
    with pytest.raises(UserError, match=r"is a torch.nn.Module, not str"):
        awbench.convert("resnet18")


@pytest.mark.parametrize(
    "hook", [torch.nn.utils.spectral_norm, lambda layer: layer.register_forward_hook(lambda *arguments: None)]
)
def test_a_layer_whose_hooks_would_be_lost_is_named(hook):
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    hook(model[1])
    with pytest.raises(UserError, match="1 has hooks"):
        awbench.convert(model)
    assert type(model[0]) is nn.Conv2d
