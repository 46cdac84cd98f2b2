from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from awbench.attention import AWConv2d
from awbench.errors import UserError


def attention_by_the_paper(layer: AWConv2d, I: torch.Tensor) -> torch.Tensor:
    """F1 with one value for all input channels, expanded to the kernel's shape: (N, C2, C1, h, w)."""
    branch = layer.attention
    C2, C1, h, w = layer.weight.shape
    A0 = F.adaptive_avg_pool2d(I, (h, w))
    first, second = branch.pointconv1, branch.pointconv2
    A1 = torch.relu(branch.bn1(F.conv2d(A0, first.weight, first.bias)))
    A2 = branch.bn2(F.conv2d(A1, second.weight, second.bias, groups=second.groups))
    return torch.sigmoid(A2.view(len(I), C2, 1, h, w)).expand(-1, -1, C1, -1, -1)


def make(*args, **kwargs) -> AWConv2d:
    """A float64 layer in evaluation mode whose norms have seen data."""
    layer = AWConv2d(*args, dtype=torch.float64, **kwargs)
    for _ in range(2):
        layer(torch.randn(4, args[0], 12, 12, dtype=torch.float64))
    return layer.eval()


@pytest.mark.parametrize("options", [{}, {"norm": False}, {"reduction": 4, "pointwise_groups": 2}], ids=str)
def test_the_layer_is_the_papers_equations_one_sample_at_a_time(options):
    torch.manual_seed(0)
    layer = make(16, 8, 3, 2, 1, bias=True, **options)
    I = torch.randn(5, 16, 9, 7, dtype=torch.float64)
    A = attention_by_the_paper(layer, I)
    AK = layer.weight + A * layer.weight
    expected = torch.cat([F.conv2d(I[n : n + 1], AK[n], layer.bias, 2, 1) for n in range(5)])
    torch.testing.assert_close(layer(I), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_settings_equal_the_oracle_to_1e_12(data):
    groups = data.draw(st.integers(1, 2))
    channels = data.draw(st.integers(1, 6))
    C1, C2 = groups * channels, groups * data.draw(st.integers(1, 4))
    kernel = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
    stride = data.draw(st.integers(1, 2))
    layer = AWConv2d(
        C1,
        C2,
        kernel,
        stride,
        data.draw(st.sampled_from([0, 1, "valid", "same"] if stride == 1 else [0, 1, "valid"])),
        data.draw(st.integers(1, 2)),
        groups,
        data.draw(st.booleans()),
        data.draw(st.sampled_from(["zeros", "reflect", "circular", "replicate"])),
        dtype=torch.float64,
        reduction=data.draw(st.sampled_from([1, 2, 16])),
        expansion=data.draw(st.sampled_from([None, *(d for d in range(1, channels + 1) if channels % d == 0)])),
        residual=data.draw(st.booleans()),
        gate=data.draw(st.sampled_from(["sigmoid", "hardsigmoid", "tanh"])),
        norm=data.draw(st.booleans()),
        pooling=data.draw(st.sampled_from(["average", "max"])),
        pool_size=data.draw(st.sampled_from(["kernel", "global"])),
        activation=data.draw(st.sampled_from(["relu", "none"])),
    ).eval()
    I = torch.randn(data.draw(st.integers(1, 3)), C1, 9, 8, dtype=torch.float64)
    out = layer(I)
    layer.strategy = "oracle"
    torch.testing.assert_close(out, layer(I), rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_it_is_a_drop_in_for_conv2d(data):
    """Same arguments and state dict; with A = 0 the same values, sample by sample bitwise.

    For a batch the library may pick another summation order for N kernels than for one, so there
    the bound is rounding; at ResNet's shapes the batch is bitwise too (tests/kernels/test_operator.py).
    """
    groups = data.draw(st.integers(1, 3))
    stride = data.draw(st.integers(1, 3))
    arguments = (
        groups * data.draw(st.integers(1, 4)),
        groups * data.draw(st.integers(1, 4)),
        (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))),
        stride,
        data.draw(st.sampled_from([0, 1, (2, 1)] + (["same"] if stride == 1 else []))),
        data.draw(st.integers(1, 2)),
        groups,
        data.draw(st.booleans()),
        data.draw(st.sampled_from(["zeros", "reflect"])),
    )
    plain = nn.Conv2d(*arguments, dtype=torch.float64)
    layer = AWConv2d(*arguments, dtype=torch.float64, strategy="grouped").eval()
    missing, unexpected = layer.load_state_dict(plain.state_dict(), strict=False)
    assert all(name.startswith("attention.") for name in missing)
    assert not unexpected
    close(layer)
    I = torch.randn(3, arguments[0], 10, 11, dtype=torch.float64)
    for sample in I.split(1):
        assert torch.equal(layer(sample), plain(sample))
    torch.testing.assert_close(layer(I), plain(I), rtol=1e-12, atol=1e-12)


def close(layer: AWConv2d) -> None:
    """Make the attention branch give exactly A = 0."""
    nn.init.zeros_(layer.attention.bn2.weight)
    nn.init.constant_(layer.attention.bn2.bias, -float("inf"))


def test_gradients_pass_gradcheck():
    torch.manual_seed(0)
    layer = make(4, 6, 3, 1, 1, expansion=2, reduction=2)
    I = torch.randn(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(I, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (I,))

    assert torch.autograd.gradcheck(run, (I, *parameters))


def test_every_branch_parameter_receives_gradients_in_training():
    layer = AWConv2d(16, 16, 3, padding=1)
    layer(torch.randn(4, 16, 8, 8)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_parameter_count_formula():
    """2w^2/16 + 2(w/16) + 2w beyond the plain convolution."""
    for w in (16, 64, 512):
        added = sum(p.numel() for p in AWConv2d(w, w, 3).attention.parameters())
        assert added == 2 * w * w // 16 + 2 * (w // 16) + 2 * w


def test_compile_without_graph_breaks_and_export_with_a_dynamic_batch():
    torch.manual_seed(0)
    layer = AWConv2d(8, 12, 3, padding=1, groups=2, expansion=2).eval()
    I = torch.randn(3, 8, 6, 6)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True)(I), layer(I), rtol=1e-4, atol=1e-5)
    program = torch.export.export(layer, (I,), dynamic_shapes=({0: torch.export.Dim("N", min=2)},))
    J = torch.randn(5, 8, 6, 6)
    torch.testing.assert_close(program.module()(J), layer(J), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_training_gives_the_same_gradients(dynamic):
    torch.manual_seed(0)
    layer = AWConv2d(8, 8, 3, padding=1, norm=False)
    I = torch.randn(2, 8, 6, 6)
    gradients = []
    for run in (layer, torch.compile(layer, fullgraph=True, dynamic=dynamic)):
        layer.zero_grad()
        J = I.clone().requires_grad_()
        run(J).square().sum().backward()
        gradients.append([J.grad, *(parameter.grad.clone() for parameter in layer.parameters())])
    for eager, compiled in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "reduction is 0; the reduction ratio r must be at least 1"),
        ({"expansion": 3}, "expansion is 3, which does not divide the 8 input channels .* use one of 1, 2, 4, 8"),
        ({"expansion": 0}, "expansion is 0"),
        ({"gate": "sigmod"}, r"gate is 'sigmod'; did you mean sigmoid\?"),
        ({"pooling": "median"}, "pooling is 'median'. Known: average, max"),
        ({"pool_size": "7"}, "pool_size is '7'"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
        ({"pointwise_groups": 3}, "pointwise_groups is 3"),
        ({"strategy": "fast"}, "strategy 'fast' does not exist"),
        ({"reduction": 2.5}, "must be a whole number"),
    ],
)
def test_a_wrong_choice_says_what_would_be_right(options, message):
    with pytest.raises(UserError, match=message):
        AWConv2d(8, 8, 3, **options)


def test_a_single_image_as_conv2d_takes_it():
    layer = make(4, 6, 3, padding=1)
    I = torch.randn(4, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(I), layer(I[None])[0])


@pytest.mark.parametrize("training", [False, True])
def test_compile_with_channels_last(training):
    torch.manual_seed(0)
    layer = AWConv2d(16, 16, 3, padding=1).train(training).to(memory_format=torch.channels_last)
    I = torch.randn(4, 16, 8, 8).to(memory_format=torch.channels_last)
    expected = layer(I)
    assert expected.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True)(I), expected, rtol=1e-4, atol=1e-5)


def test_derivatives_of_derivatives():
    torch.manual_seed(0)
    layer = make(3, 4, 3, padding=1)
    I = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (I,))


def test_torch_func_and_forward_mode():
    torch.manual_seed(0)
    layer = make(3, 4, 3, padding=1)
    I, v = (torch.randn(2, 3, 5, 5, dtype=torch.float64) for _ in range(2))
    _, tangent = torch.func.jvp(layer, (I,), (v,))
    gradient = torch.func.grad(lambda x: layer(x).square().sum())(I)
    step = 1e-6
    torch.testing.assert_close(tangent, (layer(I + step * v) - layer(I - step * v)) / (2 * step), rtol=1e-6, atol=1e-6)
    J = I.clone().requires_grad_()
    layer(J).square().sum().backward()
    torch.testing.assert_close(gradient, J.grad)


def test_float64_stays_float64_under_autocast_as_in_conv2d():
    with torch.autocast("cpu", torch.bfloat16):
        I = torch.randn(2, 4, 6, 6, dtype=torch.float64)
        assert make(4, 4, 3)(I).dtype == nn.Conv2d(4, 4, 3, dtype=torch.float64)(I).dtype == torch.float64
