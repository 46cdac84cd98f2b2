"""SE, CBAM and ECA held to their papers' equations, one sample and one channel at a time, in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from awbench.attention import CBAM, SqueezeExcitation
from awbench.attention.cbam import ChannelGate
from awbench.attention.efficient_channel_attention import ECA, kernel_size_for
from awbench.errors import UserError
from awbench.models import build_variant
from awbench.variants import ModelOptions, make_options

X = torch.randn(3, 32, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def sigmoid(value: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-value))


def two_layers(module, z):
    hidden = (module.fc1.weight @ z + module.fc1.bias).clamp(min=0)
    return module.fc2.weight @ hidden + module.fc2.bias


def test_squeeze_excitation():
    module = SqueezeExcitation(32).double()
    for n, out in enumerate(module(X)):
        z = torch.stack([X[n, c].sum() / 20 for c in range(32)])
        torch.testing.assert_close(out, X[n] * sigmoid(two_layers(module, z)).view(-1, 1, 1))


def test_cbam():
    module = CBAM(32).double().eval()
    for layer in (module.channel_gate.fc1, module.channel_gate.fc2):
        torch.nn.init.normal_(layer.bias)  # they start at zero
    torch.nn.init.constant_(module.spatial_gate.bn.weight, 0.7)  # it starts at zero, which would test nothing
    torch.nn.init.constant_(module.spatial_gate.bn.running_mean, 0.2)
    for n, out in enumerate(module(X)):
        average, largest = X[n].mean((1, 2)), X[n].flatten(1).max(1).values
        gate = module.channel_gate
        refined = X[n] * sigmoid(two_layers(gate, average) + two_layers(gate, largest)).view(-1, 1, 1)
        descriptor = torch.stack([refined.max(0).values, refined.mean(0)])[None]  # max first, then mean
        response = F.conv2d(descriptor, module.spatial_gate.conv.weight, padding=3)[0, 0]
        normed = 0.7 * (response - 0.2) / math.sqrt(1 + 1e-5)
        torch.testing.assert_close(out, refined * sigmoid(normed))


def test_eca():
    module = ECA(32).double()
    assert module.conv.kernel_size == (3,)
    weights = module.conv.weight.flatten()
    for n, out in enumerate(module(X)):
        y = F.pad(X[n].mean((1, 2)), (1, 1))
        w = torch.stack([(weights * y[c : c + 3]).sum() for c in range(32)])
        torch.testing.assert_close(out, X[n] * sigmoid(w).view(-1, 1, 1))


@pytest.mark.parametrize(("channels", "k"), [(64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)])
def test_eca_kernel_size_by_equation_12(channels, k):
    assert kernel_size_for(channels) == k


def test_cbams_channel_gate_starts_without_bias_as_in_its_code():
    gate = CBAM(32).channel_gate
    assert not gate.fc1.bias.any() and not gate.fc2.bias.any()
    assert gate.fc1.weight.any()
    network = build_variant("cbam_resnet20", ModelOptions())
    assert not any(module.fc1.bias.any() for module in network.modules() if isinstance(module, ChannelGate))


@pytest.mark.parametrize(("depth", "added"), [(18, 44), (50, 80)])
def test_ecas_released_kernel_sizes(depth, added):
    """80 parameters over ResNet-50, as its paper prints."""
    options = make_options(attention_options={"released": f"resnet{depth}"})
    with torch.device("meta"):
        counts = [
            sum(parameter.numel() for parameter in build_variant(name, chosen).parameters())
            for name, chosen in ((f"resnet{depth}", ModelOptions()), (f"eca_resnet{depth}", options))
        ]
    assert counts[1] - counts[0] == added


def test_a_released_network_that_does_not_fit_is_named():
    with pytest.raises(UserError, match="released is 'resnet51'; ECA released resnet18, resnet34"):
        ECA(256, released="resnet51")
    with pytest.raises(UserError, match="released is resnet50, whose blocks have 256, 512, 1024, 2048 channels"):
        ECA(64, released="resnet50")
    with pytest.raises(UserError, match="give one of the two"):
        ECA(256, kernel_size=3, released="resnet50")


def test_cbams_spatial_gate_starts_with_zero_scale_and_small_momentum():
    gate = CBAM(32).spatial_gate
    assert not gate.bn.weight.any()
    assert (gate.bn.momentum, gate.bn.eps) == (0.01, 1e-5)


@pytest.mark.parametrize("module", [SqueezeExcitation, CBAM])
def test_reduction_never_goes_below_one_channel_and_is_at_least_one(module):
    assert module(8, reduction=16)(X[:, :8].float()).shape == (3, 8, 5, 4)
    with pytest.raises(UserError, match="reduction is 0"):
        module(8, reduction=0)


def test_an_even_eca_kernel_is_an_error():
    with pytest.raises(UserError, match="must be odd"):
        ECA(8, kernel_size=4)
