from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from awbench.attention import AWConv2d, aw_convolution, pooling
from awbench.attention.pooling import POOLINGS, pool, pool_beside, pool_by_window


def gradients(layer: AWConv2d, I: torch.Tensor) -> list[torch.Tensor]:
    """Of a block with a shortcut, so that the layer's input has another reader."""
    return list(torch.autograd.grad((layer(I) + I).square().sum(), [I, *layer.parameters()]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"padding_mode": "reflect"}, {"pool_size": "global"}, {"expansion": 2}, {"pooling": "max"}], ids=str
)
@pytest.mark.parametrize("image", [(9, 9), (7, 10), (3, 3), (2, 2)], ids=str)
def test_adding_poolings_gradient_to_the_convolutions_is_adding_the_two(layout, options, image, monkeypatch):
    torch.manual_seed(0)
    layer = AWConv2d(4, 4, 3, padding=1, dtype=torch.float64, **options).to(memory_format=layout)
    I = torch.randn(3, 4, *image, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    found = gradients(layer, I)
    monkeypatch.setattr(aw_convolution, "pool_beside", lambda I, *given: (I, pool(I, *given)))
    torch.testing.assert_close(found, gradients(layer, I), rtol=1e-12, atol=1e-12)


def test_a_gradient_of_any_strides_has_poolings_added():
    I = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    weights, of_pooled = torch.randn(2, 3, 5, 6, dtype=torch.float64), torch.randn(2, 3, 3, 2, dtype=torch.float64)
    (found,) = torch.autograd.grad(pool_beside(I, (3, 2), "average"), I, (weights.transpose(2, 3), of_pooled))
    (pooled,) = torch.autograd.grad(F.adaptive_avg_pool2d(I, (3, 2)), I, of_pooled)
    torch.testing.assert_close(found, weights.transpose(2, 3) + pooled, rtol=1e-12, atol=1e-12)


def test_derivatives_of_derivatives_go_through_both():
    I = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)

    def both(I: torch.Tensor) -> torch.Tensor:
        again, A0 = pool_beside(I, (3, 3), "average")
        return again.pow(3).sum() + A0.pow(3).sum()

    assert torch.autograd.gradgradcheck(both, (I,))
    again, A0 = pool_beside(I, (3, 3), "average")
    (alone, _) = torch.autograd.grad(again.pow(3).sum() + A0.sum(), (again, I), create_graph=True)
    assert torch.equal(alone, 3 * I**2)


@pytest.mark.parametrize(
    ("given", "kind", "used"),
    [
        (torch.ones(1, 1, 4, 4, requires_grad=True), "average", True),
        (torch.ones(1, 1, 4, 4, requires_grad=True), "max", False),
        (torch.ones(1, 1, 4, 4), "average", False),
        (torch.ones(1, 1, 150, 150, requires_grad=True), "average", False),
        (torch.ones(1, 1, 4, 4, dtype=torch.bfloat16, requires_grad=True), "average", False),
        (torch.ones(1, 1, 4, 4, device="meta", requires_grad=True), "average", False),
    ],
)
def test_when_the_gradients_are_added(given, kind, used):
    again, A0 = pool_beside(given, (2, 2), kind)
    assert (again is not given) == used
    assert A0.shape == (1, 1, 2, 2)
    assert given.is_meta or torch.equal(A0, torch.ones(1, 1, 2, 2, dtype=given.dtype))
    with torch.no_grad():
        assert pool_beside(given, (2, 2), kind)[0] is given


@pytest.mark.parametrize("image", [(7, 7), (14, 14), (5, 11), (1, 2)], ids=str)
@pytest.mark.parametrize("size", [(3, 3), (1, 1), (2, 5)], ids=str)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_small_images_are_pooled_as_torch_does(image, size, requires_grad):
    torch.manual_seed(0)
    I = torch.randn(3, 4, *image, requires_grad=requires_grad)
    found, right = pool(I, size, "average"), F.adaptive_avg_pool2d(I.double(), size)
    assert found.stride() == right.stride()
    torch.testing.assert_close(found.double(), right, rtol=1e-6, atol=1e-6)
    if requires_grad:
        gradient = torch.randn_like(found)
        (of_found,), (of_right,) = (torch.autograd.grad(out, I, gradient.to(out.dtype)) for out in (found, right))
        torch.testing.assert_close(of_found, of_right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "kind", "size", "used"),
    [
        (torch.ones(2, 3, 4, 4), "average", (2, 2), True),
        (torch.ones(2, 3, 16, 16), "average", (2, 2), True),
        (torch.ones(2, 3, 17, 16), "average", (2, 2), False),
        (torch.ones(2, 3, 4, 4), "max", (2, 2), False),
        (torch.ones(2, 3, 4, 4), "average", (1, 1), False),
        (torch.ones(2, 3, 4, 4, dtype=torch.float64), "average", (2, 2), False),
        (torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last), "average", (2, 2), False),
        (torch.ones(0, 3, 4, 4), "average", (2, 2), False),
    ],
)
def test_when_pooling_is_a_product(given, kind, size, used, monkeypatch):
    asked = []
    shares = pooling._shares
    monkeypatch.setattr(pooling, "_shares", lambda *called: asked.append(1) or shares(*called))
    assert torch.equal(pool(given, size, kind), torch.ones(len(given), 3, *size, dtype=given.dtype))
    assert bool(asked) == used


def test_pooling_is_no_product_under_autocast_and_in_transforms(monkeypatch):
    monkeypatch.setattr(pooling, "_shares", None)
    I = torch.randn(2, 3, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert pool(I, (2, 2), "average").dtype == torch.float32
        assert pool_beside(I.requires_grad_(), (2, 2), "average")[0] is I
    torch.func.vmap(lambda image: pool(image[None], (2, 2), "average"))(I.detach())


def test_a_fake_image_is_pooled():
    assert pool(FakeTensorMode().from_tensor(torch.ones(2, 3, 4, 4)), (2, 2), "average").shape == (2, 3, 2, 2)


def test_torchs_counter_sees_no_product_in_pooling():
    layer = AWConv2d(16, 16, 3, padding=1)
    I = torch.randn(2, 16, 8, 8, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        O = layer(I)
    convolution = 2 * 2 * 16 * 16 * 9 * 8 * 8
    branch = 2 * 2 * 9 * (16 * 1 + 1 * 16)
    assert counter.get_total_flops() == convolution + branch
    with FlopCounterMode(display=False) as counter:
        layer(I).sum().backward()
    assert counter.get_total_flops() == 3 * (convolution + branch)
    assert O.shape == I.shape


def test_a_hook_on_the_branch_sees_what_the_layer_pooled():
    layer = AWConv2d(4, 4, 3, padding=1)
    I, seen = torch.randn(2, 4, 9, 9), []
    layer.attention.register_forward_hook(lambda *called: seen.append(called[1:3]), with_kwargs=True)
    layer(I)
    [((A0,), options)] = seen
    torch.testing.assert_close(A0, F.adaptive_avg_pool2d(I, 3))
    assert options == {"is_pooled": True}


def test_one_channels_last_sample_stays_so():
    """`view_as` would give it another step from sample to sample, which a convolution takes for contiguous."""
    I = torch.randn(1, 4, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    assert pool_beside(I, (3, 3), "average")[0].stride() == I.stride()


def test_batched_gradients():
    layer = AWConv2d(4, 4, 3, padding=1, dtype=torch.float64).to(memory_format=torch.channels_last)
    I = torch.randn(2, 4, 9, 9, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    O = layer(I)
    ones = torch.ones_like(O)
    (both,) = torch.autograd.grad(O, I, torch.stack([ones, 2 * ones]), is_grads_batched=True, retain_graph=True)
    (right,) = torch.autograd.grad(O, I, ones)
    torch.testing.assert_close(both, torch.stack([right, 2 * right]), rtol=1e-12, atol=1e-12)


def test_no_sample_trains():
    layer = AWConv2d(4, 4, 3, padding=1).eval()
    layer(torch.randn(0, 4, 6, 6, requires_grad=True)).sum().backward()
    assert torch.equal(layer.weight.grad, torch.zeros_like(layer.weight))


def test_an_exported_network_of_two_layers_trains():
    layers = torch.nn.Sequential(AWConv2d(4, 4, 3, padding=1), torch.nn.ReLU(), AWConv2d(4, 4, 3, padding=1))
    exported = torch.export.export(layers, (torch.randn(2, 4, 8, 8),), strict=True).module()
    exported(torch.randn(2, 4, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in exported.parameters())


def test_a_compiled_layer_takes_any_size_and_layout():
    layer = AWConv2d(4, 4, 3, padding=1, padding_mode="reflect").to(memory_format=torch.channels_last)
    I = torch.randn(2, 4, 9, 7).to(memory_format=torch.channels_last).requires_grad_()
    torch._dynamo.mark_dynamic(I, 2)
    torch.compile(layer, backend="aot_eager", fullgraph=True)(I).sum().backward()


def test_symbolic_sizes():
    layer = AWConv2d(4, 4, 3, padding=1)
    make_fx(
        lambda I: torch.autograd.grad(layer(I).sum(), I), tracing_mode="symbolic", _allow_non_fake_inputs=True
    )(torch.randn(2, 4, 9, 9, requires_grad=True))  # fmt: skip


def test_another_attention_takes_the_layers_input():
    layer = AWConv2d(4, 4, 3, padding=1)
    I = torch.randn(2, 4, 9, 9, requires_grad=True)
    right = gradients(layer.eval(), I)
    layer.attention = torch.nn.Sequential(layer.attention)
    torch.testing.assert_close(gradients(layer, I), right)


def test_the_size_of_pooling_may_be_changed():
    attention = AWConv2d(4, 4, 3, padding=1).eval().attention
    attention.pool_size = "global"
    A = attention(torch.randn(2, 4, 9, 9))
    assert torch.equal(A, A[..., :1, :1].expand_as(A))


def test_a_trace_shows_the_pooling():
    """fvcore's counter reads a trace, in which a Python function is a name without a count."""
    layer = AWConv2d(4, 4, 3, padding=1)
    I = torch.randn(2, 4, 9, 9, requires_grad=True)
    counted = FlopCountAnalysis(layer, I).by_operator()
    assert counted["adaptive_avg_pool2d"] == I.numel()
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)  # of sizes that are looked at
        graph = torch.jit.trace(layer.eval(), I, check_trace=False).inlined_graph
    assert "adaptive_avg_pool2d" in str(graph)
    assert "PythonOp" not in str(graph)


@pytest.mark.parametrize("kind", ["average", "max"])
@pytest.mark.parametrize("size", [(3, 3), (1, 1), (2, 5)])
@pytest.mark.parametrize("image", [(7, 7), (5, 11), (1, 2)])
def test_pooling_by_window_is_torchs_adaptive_pooling(kind, size, image):
    """On a GPU torch's has no deterministic backward, so --deterministic would raise."""
    I = torch.randn(2, 3, *image, dtype=torch.float64, requires_grad=True)
    found, right = pool_by_window(I, size, kind), POOLINGS[kind](I, size)
    torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)
    gradient = torch.randn_like(right)
    torch.testing.assert_close(
        *(torch.autograd.grad(out, I, gradient)[0] for out in (found, right)), rtol=1e-12, atol=1e-12
    )


def test_pooling_by_window_is_for_deterministic_training_on_a_gpu(monkeypatch):
    monkeypatch.setattr(pooling, "pool_by_window", lambda *args: "by window")
    monkeypatch.setitem(POOLINGS, "max", lambda *args: "torch's")
    asked = []
    for device in ("cpu", "cuda"):
        for wanted in (False, True):
            for gradient in (False, True):
                monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda wanted=wanted: wanted)
                image = SimpleNamespace(device=torch.device(device), requires_grad=gradient)
                asked.append(pool(image, (3, 3), "max"))
    assert asked == ["torch's"] * 7 + ["by window"]
