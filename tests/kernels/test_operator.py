from __future__ import annotations

import itertools
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from c_compiler import needs_compiler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from awbench.errors import UserError
from awbench.kernels import aw_conv2d
from awbench.kernels.geometry import Geometry
from awbench.kernels.operator import aw_convolution
from awbench.kernels.strategies import STRATEGIES as STRATEGY_MODULES
from awbench.kernels.strategies import size_rule, strategies_for

STRATEGIES = strategies_for(torch.device("cpu"), torch.float64)
FAST = [*sorted(set(STRATEGIES) - {"oracle"}), "auto"]


def by_definition(I, K, A, stride, padding, residual):
    """O[n,c2,y,x] = sum over c1,i,j of AK * I, as loops over plain numbers."""
    N, C1, H, W = I.shape
    C2, _, h, w = K.shape
    e = C1 // A.shape[2]
    padded = F.pad(I, (padding,) * 4)
    rows, columns = (H + 2 * padding - h) // stride + 1, (W + 2 * padding - w) // stride + 1
    O = torch.zeros(N, C2, rows, columns, dtype=I.dtype)
    for n, c2, y, x in itertools.product(range(N), range(C2), range(rows), range(columns)):
        for c1, i, j in itertools.product(range(C1), range(h), range(w)):
            attended = A[n, c2, c1 // e, i, j] * K[c2, c1, i, j]
            AK = K[c2, c1, i, j] + attended if residual else attended
            O[n, c2, y, x] += AK * padded[n, c1, y * stride + i, x * stride + j]
    return O


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("residual", [True, False])
def test_every_strategy_is_the_definition(strategy, residual):
    I = torch.randn(2, 4, 5, 4, dtype=torch.float64)
    K = torch.randn(3, 4, 3, 2, dtype=torch.float64)
    A = torch.rand(2, 3, 2, 3, 2, dtype=torch.float64)
    out = aw_conv2d(I, K, A, None, 2, 1, residual=residual, strategy=strategy)
    torch.testing.assert_close(out, by_definition(I, K, A, 2, 1, residual), rtol=1e-12, atol=1e-12)


@st.composite
def requests(draw):
    """Random sizes of an AW-convolution that fits its input."""
    groups = draw(st.integers(1, 3))
    channels = draw(st.integers(1, 6))
    compact = draw(st.sampled_from([d for d in range(1, channels + 1) if channels % d == 0]))
    C2 = groups * draw(st.integers(1, 4))
    h, w = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    dilation = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    padding = [draw(st.integers(0, 3)), draw(st.integers(0, 3))]
    H = draw(st.integers(max(1, dilation[0] * (h - 1) + 1 - 2 * padding[0]), 12))
    W = draw(st.integers(max(1, dilation[1] * (w - 1) + 1 - 2 * padding[1]), 12))
    return {
        "seed": draw(st.integers(0, 2**31)),
        "input": (draw(st.integers(1, 4)), groups * channels, H, W),
        "weight": (C2, channels, h, w),
        "compact": compact,
        "bias": draw(st.booleans()),
        "stride": [draw(st.integers(1, 3)), draw(st.integers(1, 3))],
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "residual": draw(st.booleans()),
    }


def tensors(request, dtype=torch.float64):
    torch.manual_seed(request["seed"])
    I = torch.randn(request["input"], dtype=dtype)
    K = torch.randn(request["weight"], dtype=dtype)
    C2, _, h, w = request["weight"]
    A = torch.rand(I.shape[0], C2, request["compact"], h, w, dtype=dtype)
    bias = torch.randn(C2, dtype=dtype) if request["bias"] else None
    return [I, K, A, bias]


def execute(request, arguments, strategy):
    settings = (request[name] for name in ("stride", "padding", "dilation", "groups"))
    return aw_conv2d(*arguments, *settings, residual=request["residual"], strategy=strategy)


@pytest.mark.parametrize("strategy", FAST)
@settings(max_examples=150, deadline=None)
@given(request=requests())
def test_fast_strategies_equal_the_oracle_with_all_gradients(strategy, request):
    results = []
    for name in ("oracle", strategy):
        leaves = [t if t is None else t.requires_grad_() for t in tensors(request)]
        out = execute(request, leaves, name)
        (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        results.append([out, *(leaf.grad for leaf in leaves if leaf is not None)])
    for fast, slow in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12 * max(1.0, slow.abs().max().item()))


@settings(max_examples=30, deadline=None)
@given(request=requests())
def test_the_oracles_gradients_are_autograds(request):
    I, K, A, bias = (t if t is None else t.requires_grad_() for t in tensors(request))
    out = execute(request, (I, K, A, bias), "oracle")
    out.sum().backward()
    found = [leaf.grad.clone() for leaf in (I, K, A)]
    e = K.shape[1] // A.shape[2]
    full = A.repeat_interleave(e, 2) * K + (K if request["residual"] else 0)
    settings = [request[name] for name in ("stride", "padding", "dilation", "groups")]
    expected = torch.cat([F.conv2d(I[n : n + 1], full[n], bias, *settings) for n in range(len(I))])
    for ours, theirs in zip(found, torch.autograd.grad(expected.sum(), (I, K, A)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_the_oracles_own_derivatives_in_channels_last():
    """torch's float64 gradient of a grouped convolution is wrong for some strides of a batch of one."""
    torch.manual_seed(0)
    I, K, A = (torch.randn(size, dtype=torch.float64) for size in ((2, 6, 4, 4), (4, 3, 3, 3), (2, 4, 1, 3, 3)))
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        i, k = (t.to(memory_format=layout).requires_grad_() for t in (I, K))
        out = STRATEGY_MODULES["oracle"].forward(i, k, A, None, Geometry([1, 1], [1, 1], [1, 1], 2))
        found.append(torch.autograd.grad((out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum(), (i, k)))
    for contiguous, channels_last in zip(*found, strict=True):
        torch.testing.assert_close(contiguous, channels_last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("groups", [1, 2])
def test_gradcheck(strategy, groups):
    torch.manual_seed(0)
    I, K, A, b = (
        torch.randn(size, dtype=torch.float64, requires_grad=True)
        for size in ((2, 4, 5, 5), (4, 4 // groups, 3, 3), (2, 4, 1, 3, 3), (4,))
    )
    run = lambda *args: aw_conv2d(*args, 2, 1, 1, groups, strategy=strategy)  # noqa: E731
    assert torch.autograd.gradcheck(run, (I, K, A, b))


# Those that call the library's convolution; the others sum in another order and are bound by rounding.
@pytest.mark.parametrize("strategy", ["oracle", "grouped", "per_sample"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(64, 56), (128, 28), (256, 14), (512, 7)])
def test_a_zero_map_gives_the_plain_convolution_bitwise(strategy, dtype, shape):
    C, size = shape
    torch.manual_seed(0)
    I, K = torch.randn(2, C, size, size, dtype=dtype), torch.randn(C, C, 3, 3, dtype=dtype)
    A = torch.zeros(2, C, 1, 3, 3, dtype=dtype)
    one_by_one = torch.cat([F.conv2d(sample[None], K, None, 1, 1) for sample in I])
    plain = F.conv2d(I, K, None, 1, 1) if strategy == "grouped" else one_by_one
    assert torch.equal(aw_conv2d(I, K, A, None, 1, 1, strategy=strategy), plain)


@pytest.mark.parametrize("strategy", ["grouped", "per_sample"])
def test_one_channels_last_sample_of_several_groups_in_float64(strategy):
    """Torch 2.14's gradients are wrong where the step from sample to sample is not H*W*C."""
    I = torch.randn(1, 16, 3, 3, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    K = torch.randn(16, 4, 3, 3, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    A = torch.rand(1, 16, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, 16, 3, 3, dtype=torch.float64)
    found, right = (
        torch.autograd.grad((aw_conv2d(I, K, A, None, 1, 1, 1, 4, strategy=name) * weights).sum(), (I, K, A))
        for name in (strategy, "oracle")
    )
    torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)


def by_rule(C, size, compact=1, dtype=torch.float32, samples=2, layout=torch.channels_last, groups=1):
    I, K, A = (
        torch.empty(samples, C, size, size),
        torch.empty(C, C // groups, 3, 3),
        torch.empty(samples, C, compact, 3, 3),
    )
    geometry = Geometry([1, 1], [1, 1], [1, 1], groups)
    return size_rule(I.to(dtype, memory_format=layout), K.to(dtype), A.to(dtype), geometry)


@needs_compiler
def test_the_size_rule_has_the_least_to_write():
    assert [by_rule(16, 28), by_rule(128, 28), by_rule(256, 28), by_rule(512, 7)] == ["blocked"] * 2 + ["direct"] * 2
    assert [by_rule(256, 28, samples=8), by_rule(512, 7, samples=8)] == ["blocked", "direct"]
    assert [by_rule(C, 28, samples=1) for C in (32, 64, 256)] == ["blocked", "per_sample", "direct"]
    contiguous = {"samples": 1, "layout": torch.contiguous_format}
    assert [by_rule(C, 28, **contiguous) for C in (32, 64, 256)] == ["blocked", "blocked", "direct"]
    assert [by_rule(128, 28, **contiguous, **more) for more in ({"groups": 2}, {"compact": 128})] == ["per_sample"] * 2
    assert [by_rule(256, 14, samples=32, groups=groups) for groups in (16, 32)] == ["blocked", "per_sample"]
    assert [by_rule(512, 7, compact=512), by_rule(64, 7, compact=64)] == ["per_sample", "blocked"]


@needs_compiler
def test_small_outputs_of_one_group_go_without_a_copy_of_the_kernel():
    assert [by_rule(64, size, samples=128) for size in (5, 6)] == ["direct", "blocked"]
    assert [by_rule(64, 5, **other) for other in ({"groups": 2}, {"compact": 64})] == ["blocked", "blocked"]
    I, K, A = torch.empty(2, 64, 9, 9), torch.empty(64, 64, 3, 3), torch.empty(2, 64, 1, 3, 3)  # by the output's size
    assert size_rule(I, K, A, Geometry([2, 2], [1, 1], [1, 1])) == "direct"


def test_the_size_rule_where_nothing_is_compiled(monkeypatch):
    half = torch.bfloat16
    assert [by_rule(C, size, dtype=half) for C, size in ((128, 28), (256, 28), (512, 7))] == WITHOUT_A_COMPILER
    monkeypatch.setattr(STRATEGY_MODULES["blocked"], "unsupported_reason", lambda device, dtype: "needs a C compiler")
    assert [by_rule(C, size) for C, size in ((128, 28), (256, 28), (512, 7))] == WITHOUT_A_COMPILER
    assert by_rule(64, 7) == "tapwise"


WITHOUT_A_COMPILER = ["grouped", "per_sample", "tapwise"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_taps_alike_and_e_of_c1_is_a_scale_of_output_channels(strategy):
    I, K = torch.randn(3, 6, 8, 8, dtype=torch.float64), torch.randn(5, 6, 3, 3, dtype=torch.float64)
    s = torch.rand(3, 5, dtype=torch.float64)
    A = s[:, :, None, None, None].expand(-1, -1, 1, 3, 3)
    expected = (1 + s)[:, :, None, None] * F.conv2d(I, K, None, 1, 1)
    torch.testing.assert_close(aw_conv2d(I, K, A, None, 1, 1, strategy=strategy), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_map_of_c1_alone_is_a_scale_of_input_channels(strategy):
    I, K = torch.randn(3, 6, 8, 8, dtype=torch.float64), torch.randn(5, 6, 3, 3, dtype=torch.float64)
    s = torch.rand(3, 6, dtype=torch.float64)
    A = s[:, None, :, None, None].expand(-1, 5, -1, 3, 3)
    expected = F.conv2d((1 + s)[:, :, None, None] * I, K, None, 1, 1)
    torch.testing.assert_close(aw_conv2d(I, K, A, None, 1, 1, strategy=strategy), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_opcheck(strategy):
    arguments = (
        torch.randn(2, 4, 5, 5, requires_grad=True),
        torch.randn(6, 2, 3, 3, requires_grad=True),
        torch.randn(2, 6, 2, 3, 3, requires_grad=True),
        torch.randn(6, requires_grad=True),
    )
    torch.library.opcheck(aw_convolution, (*arguments, [1, 1], [1, 1], [1, 1], 2, True, strategy))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_empty_batch_gives_an_empty_result(strategy):
    I, A = torch.randn(0, 4, 6, 6, requires_grad=True), torch.randn(0, 3, 1, 3, 3, requires_grad=True)
    K = torch.randn(3, 4, 3, 3, requires_grad=True)
    out = aw_conv2d(I, K, A, None, 1, 1, strategy=strategy)
    out.sum().backward()
    assert out.shape == (0, 3, 6, 6)
    assert not K.grad.any()


def flops(run, arguments, backward: bool) -> int:
    with FlopCounterMode(display=False) as counter:
        out = run(*arguments)
        if backward:
            out.sum().backward()
    return counter.get_total_flops()


# torch's own formula for the backward pass of a grouped convolution counts too much: groups only forward.
@pytest.mark.parametrize(("groups", "backward"), [(1, True), (2, False)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_counter_counts_the_mathematical_operation(strategy, groups, backward):
    I = torch.randn(3, 8, 10, 10, requires_grad=True)
    K = torch.randn(6, 8 // groups, 3, 3, requires_grad=True)
    A = torch.rand(3, 6, 1, 3, 3, requires_grad=True)
    aw = flops(partial(aw_conv2d, strategy=strategy), (I, K, A, None, 2, 1, 1, groups), backward)
    plain = flops(F.conv2d, (I, K, None, 2, 1, 1, groups), backward)
    assert aw == plain > 0


def test_autocast_as_a_convolution():
    I, K, A = torch.randn(2, 4, 6, 6), torch.randn(4, 4, 3, 3), torch.rand(2, 4, 1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert aw_conv2d(I, K, A).dtype == torch.bfloat16
    assert aw_conv2d(I, K, A).dtype == torch.float32


@pytest.mark.parametrize(
    "shape", [(2, 4, 1, 3), (1, 4, 1, 3, 3), (2, 5, 1, 3, 3), (2, 4, 3, 3, 3), (2, 4, 0, 3, 3), (2, 4, 1, 3, 1)]
)
def test_a_map_that_does_not_fit_is_named_with_what_would(shape):
    with pytest.raises(UserError, match=r"it must be .* = \(2, 4, a divisor of 4, 3, 3\)"):
        aw_conv2d(torch.randn(2, 4, 6, 6), torch.randn(4, 4, 3, 3), torch.rand(shape))


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("groupd", r"'groupd' does not exist; did you mean grouped\? Known: oracle, grouped, .*"),
        ("unfolded", r"'unfolded' does not exist.* Known: oracle, grouped, per_sample, .*"),  # as old records have it
    ],
)
def test_an_unknown_strategy_is_named_with_the_known(strategy, message):
    with pytest.raises(UserError) as raised:
        aw_conv2d(torch.randn(2, 4, 6, 6), torch.randn(4, 4, 3, 3), torch.rand(2, 4, 1, 3, 3), strategy=strategy)
    assert re.fullmatch(f"strategy {message}", str(raised.value))
