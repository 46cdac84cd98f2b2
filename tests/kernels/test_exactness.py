"""Every strategy in every dtype against the oracle in float64, on memory that is NaN until it is written."""

from __future__ import annotations

import pytest
import torch

from awbench.errors import UserError
from awbench.kernels import aw_conv2d
from awbench.kernels.strategies import strategies_for

CPU = torch.device("cpu")
BOUNDS = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
# input, C2, groups, values of the map along C1, stride
SHAPES = [
    ((4, 64, 14, 14), 64, 1, 1, 1),
    ((4, 64, 7, 7), 96, 1, 1, 2),
    ((2, 48, 9, 7), 32, 2, 4, 1),
    ((2, 24, 8, 8), 32, 1, 24, 2),
]


@pytest.fixture(autouse=True)
def _poisoned():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def results(strategy, tensors, stride, groups, dtype):
    leaves = [t.detach().to(dtype).requires_grad_() for t in tensors]
    out = aw_conv2d(*leaves, stride, 1, 1, groups, strategy=strategy)
    gradient = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)
    return [out, *torch.autograd.grad(out, leaves, gradient.to(dtype))]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "strategy"), [(dtype, strategy) for dtype in BOUNDS for strategy in strategies_for(CPU, dtype)]
)
def test_every_strategy_is_within_its_dtypes_bound(strategy, dtype, shape, channels_last):
    size, C2, groups, compact, stride = shape
    torch.manual_seed(0)
    I, K = torch.randn(size), torch.randn(C2, size[1] // groups, 3, 3)
    if channels_last:
        I, K = (t.to(memory_format=torch.channels_last) for t in (I, K))
    tensors = [t.to(dtype) for t in (I, K, torch.rand(size[0], C2, compact, 3, 3), torch.randn(C2))]
    found = results(strategy, tensors, stride, groups, dtype)
    exact = results("oracle", tensors, stride, groups, torch.float64)
    for ours, reference in zip(found, exact, strict=True):
        assert (ours.double() - reference).norm() <= BOUNDS[dtype] * reference.norm()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert all(tensor.is_contiguous(memory_format=layout) for tensor in found[:3])


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.float8_e4m3fn])
def test_a_dtype_without_a_convolution_is_named_with_those_that_have_one(dtype):
    I, K, A = torch.ones(1, 4, 5, 5), torch.ones(4, 4, 3, 3), torch.ones(1, 4, 1, 3, 3)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(
        UserError, match=rf"dtype {name} has no AW-convolution; use one of float64, float32, bfloat16, "
    ):
        aw_conv2d(I.to(dtype), K.to(dtype), A.to(dtype))
