"""CondConv held to its equation, one sample at a time, and its counts to arithmetic."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from condconv import CondConv

from awbench.measure.complexity import measure_complexity
from awbench.modules import registered
from awbench.variants import ModelOptions


@pytest.fixture(autouse=True)
def known():
    with registered(["condconv:CondConv"]):
        yield


def test_each_sample_has_its_own_mixture_of_kernels():
    torch.manual_seed(0)
    layer = CondConv(4, 6, 3, 2, 1, experts=3).double()
    x = torch.randn(3, 4, 7, 7, dtype=torch.float64)
    bank, biases = layer.conv.weight.view(3, 6, 4, 3, 3), layer.conv.bias.view(3, 6)
    for n, output in enumerate(layer(x)):
        shares = torch.sigmoid(layer.routing.weight @ x[n].mean((1, 2)) + layer.routing.bias)
        kernel = sum(share * one for share, one in zip(shares, bank, strict=True))
        bias = sum(share * one for share, one in zip(shares, biases, strict=True))
        torch.testing.assert_close(output, F.conv2d(x[n : n + 1], kernel, bias, 2, 1)[0])


def test_mixing_is_counted_as_the_products_that_it_is():
    counted, plain = (
        measure_complexity(name, ModelOptions(), cross_check=True) for name in ("condconv_resnet20", "resnet20")
    )
    kernels = sum(9 * c1 * c2 for c1, c2 in [(16, 16)] * 6 + [(16, 32)] + [(32, 32)] * 5 + [(32, 64)] + [(64, 64)] * 5)
    routing = sum(8 * c1 for c1 in [16] * 6 + [16] + [32] * 5 + [32] + [64] * 5)
    assert counted.macs - plain.macs == 8 * kernels + routing
    assert counted.params - plain.params == 7 * kernels + routing + 8 * 18
