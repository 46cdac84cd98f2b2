"""The fused Triton kernels: compiled on a CUDA GPU; without one in Triton's interpreter, in a process of its own.

Triton reads TRITON_INTERPRET when it is first imported, so the tests of this file run a second time, as one.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import pytest
import torch
from packaging.version import Version

from awbench.errors import UserError
from awbench.kernels import aw_conv2d

pytest.importorskip("triton")


def version_of(package):
    return Version(importlib.metadata.version(package))


INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
executes = pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="runs in the interpreter below")
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
HALVES = [torch.bfloat16] if INTERPRETED else [torch.bfloat16, torch.float16]  # slow there, and alike


@pytest.fixture(autouse=True)
def _poisoned():
    """What is allocated and not written is NaN, and float32 is float32."""
    tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.allow_tf32 = tf32


def results(strategy, tensors, settings, residual, dtype):
    """The output and the gradients of input, kernel, map and bias."""
    leaves = [None if t is None else t.detach().to(dtype).requires_grad_() for t in tensors]
    out = aw_conv2d(*leaves, *settings, residual=residual, strategy=strategy)
    gradient = torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=out.device).view(out.shape)
    return [out, *torch.autograd.grad(out, [leaf for leaf in leaves if leaf is not None], gradient.to(dtype))]


# One a line: input, C2, groups, values of the map along C1, stride, padding, dilation, kernel, channels_last, residual.
CASES = {
    "e = C1, pixels of several samples in a tile": ((3, 20, 9, 7), 24, 1, 1, 1, 1, 1, (3, 3), False, True),
    "e = C1, two samples in a tile": ((3, 20, 10, 7), 24, 1, 1, 1, 1, 1, (3, 3), True, True),
    "e = C1, two samples in a tile, stride 2, groups": ((3, 12, 18, 17), 6, 2, 1, 2, 1, 1, (3, 3), True, False),
    "e = C1, more channels than a tile": ((2, 70, 5, 6), 140, 1, 1, 1, 1, 1, (3, 1), True, True),
    "e = 1": ((2, 6, 7, 5), 5, 1, 6, 1, 1, 1, (3, 3), True, False),
    "e = 4, stride 2": ((2, 20, 9, 7), 24, 1, 5, 2, 1, 1, (3, 3), True, True),
    "e = 3, a tile that e does not divide": ((2, 18, 5, 5), 4, 1, 6, 1, 1, 1, (2, 3), False, True),
    "e larger than half a tile": ((2, 140, 4, 3), 6, 1, 2, 1, 1, 1, (3, 3), True, False),
    "groups, dilation": ((2, 12, 9, 8), 8, 2, 2, 1, 0, 2, (3, 3), False, False),
    "groups, e = C1, stride 2, wide border": ((2, 12, 7, 8), 6, 2, 1, 2, 2, 1, (3, 3), True, True),
    "stride 3, more than the kernel": ((2, 5, 8, 7), 3, 1, 1, 3, 0, 1, (2, 2), False, True),
    "an image of one pixel": ((3, 4, 1, 1), 3, 1, 1, 2, 1, 1, (3, 3), False, True),
}


def holds(case, dtype, bias=True):
    shape, C2, groups, compact, stride, padding, dilation, kernel, channels_last, residual = case
    torch.manual_seed(0)
    I, K = torch.randn(shape), torch.randn(C2, shape[1] // groups, *kernel)
    A, b = torch.rand(shape[0], C2, compact, *kernel), torch.randn(C2) if bias else None
    if channels_last:
        I, K = (t.to(memory_format=torch.channels_last) for t in (I, K))
    tensors = [None if t is None else t.to(DEVICE, dtype) for t in (I, K, A, b)]
    settings = (stride, padding, dilation, groups)
    found = results("fused", tensors, settings, residual, dtype)
    expected = results("oracle", tensors, settings, residual, torch.float64)
    for ours, exact in zip(found, expected, strict=True):
        assert (ours.double() - exact).norm() < BOUNDS[dtype] * exact.norm()
        assert ours.dtype == dtype
    assert found[0].is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@executes
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_oracle_in_float32(case):
    holds(CASES[case], torch.float32, bias=case != "e = 1")


@executes
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_oracle_in_half_precision(case, dtype):
    holds(CASES[case], dtype)


@executes
def test_samples_of_one_program_are_summed_in_order(monkeypatch):
    """A program goes over several samples where there are many programs; parts and whole give the same."""
    from awbench.kernels import fused

    monkeypatch.setattr(fused, "_PROGRAMS", 1)
    holds(((5, 4, 4, 4), 4, 1, 1, 1, 1, 1, (3, 3), False, True), torch.float32)
    monkeypatch.setattr(fused, "_PROGRAMS", 3 * 9)
    holds(((5, 4, 4, 4), 4, 1, 2, 1, 1, 1, (3, 3), False, True), torch.float32)


@executes
def test_the_same_bits_every_time():
    torch.manual_seed(0)
    tensors = [torch.randn(3, 8, 6, 6), torch.randn(8, 8, 3, 3), torch.rand(3, 8, 1, 3, 3), None]
    first, second = (
        results("fused", [None if t is None else t.to(DEVICE) for t in tensors], (1, 1), True, torch.float32)
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.end_to_end
def test_in_tritons_interpreter():
    if INTERPRETED:
        pytest.skip("this is it")
    if version_of("triton") < Version("3.7") and version_of("numpy") >= Version("2.4"):
        pytest.skip("the interpreter of Triton before 3.7 needs NumPy before 2.4")
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "26 passed" in found.stdout, found.stdout


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled there")
@pytest.mark.parametrize("kernel", ["convolve", "input_gradient", "kernel_gradients"])
def test_it_compiles_without_a_gpu(kernel, monkeypatch, tmp_path):
    """For compute capability 9.0, to machine code: the interpreter takes much that a compiler does not."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from awbench.kernels import triton_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(triton_kernels, kernel)
    fixed = {
        "KH": 3, "KW": 3, "TAPS": 9, "RESIDUAL": True, "BIAS": True, "SHARED": False, "TWO": False, "SINGLE_M": False,
        "E": 0, "PRECISION": "tf32", "WIDE": False, "BLOCK_P": 64, "BLOCK_O": 32, "BLOCK_C": 32,
    }  # fmt: skip
    kinds = dict.fromkeys("IKABODG", "*bf16") | {"dK": "*fp32", "dA": "*fp32"}
    names = function.arg_names
    signature = {name: "constexpr" if name in fixed else kinds.get(name, "i32") for name in names}
    constants = {(names.index(name),): value for name, value in fixed.items() if name in names}
    source = ASTSource(fn=function, signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
    assert compiled.asm["cubin"]


@pytest.mark.skipif(INTERPRETED, reason="there it can run")
@pytest.mark.parametrize(
    ("dtype", "reason"), [(torch.float32, "needs a CUDA device, not cpu"), (torch.float64, "has no float64")]
)
def test_where_it_cannot_run_it_says_what_can(dtype, reason):
    I, K, A = torch.randn(1, 4, 5, 5, dtype=dtype), torch.randn(4, 4, 3, 3, dtype=dtype), torch.rand(1, 4, 1, 3, 3)
    with pytest.raises(UserError, match=rf"'fused' {reason}.*; use one of oracle, grouped, .*tapwise, .*or auto"):
        aw_conv2d(I, K, A.to(dtype), strategy="fused")
