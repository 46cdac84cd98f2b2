"""SE, CBAM and ECA held to their papers' equations, one sample and one channel at a time, in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from awbench.attention import CBAM, SqueezeExcitation
from awbench.attention.efficient_channel_attention import ECA, kernel_size_for
from awbench.errors import UserError

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
