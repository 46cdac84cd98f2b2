"""What the fused kernels need of a GPU, compiled without one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

pytest.importorskip("triton")


def check(root, *words):
    argv = [sys.executable, "tools/gpu_resources.py", "--check", "--processes", "1", *words]
    return subprocess.run(argv, cwd=root, capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "0"})


def test_no_kernel_spills_and_all_use_wgmma(root):
    """At one shape; e = C1, 16 and 1."""
    done = check(root, "256x14x14", "bfloat16", "channels_last")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 cases are within the limits" in done.stdout


@pytest.mark.slow
def test_at_every_shape_dtype_and_layout(root):
    """And the table in docs/gpu.md is that of this Triton, where it has one."""
    done = check(root)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_over_a_limit_is_named(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tools"))
    from gpu_resources import CASES, Need, over_limits

    case = CASES[0]
    assert over_limits({case: {"convolve": Need(168, 0, 57344, 4, 3)}}) == []
    lines = over_limits({case: {"convolve": Need(255, 8, 57344, 0, 1)}})
    where = "64x56x56, bfloat16, channels_last, e = C1, convolve: "
    assert [line.removeprefix(where) for line in lines] == [
        "8 bytes on the stack", "255 registers, 200 at most", "no wgmma", "1 programs a multiprocessor, 2 at least"
    ]  # fmt: skip


def test_a_case_that_does_not_exist_is_named(root):
    done = check(root, "float8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gpu_resources: no case has float8; e.g. '64x56x56, bfloat16, channels_last, e = C1'\n"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_the_gradient_of_the_map_lies_as_the_branch_makes_maps(device, layout):
    """Taps before channels, as the GPU's kernel writes it; channels first in a contiguous network on a GPU."""
    channels_first = device == "cuda" and layout == torch.contiguous_format
    with FakeTensorMode():
        I, K, dO = (torch.empty(size, device=device) for size in ((2, 8, 6, 6), (4, 8, 3, 3), (2, 4, 6, 6)))
        A = torch.empty(2, 4, 8, 3, 3, device=device)
        dA = torch.ops.awbench.aw_convolution_backward(
            dO, I.to(memory_format=layout), K, A, [1, 1], [1, 1], [1, 1], 1, True, "auto"
        )[2]
    assert dA.stride() == ((288, 72, 9, 3, 1) if channels_first else (288, 8, 1, 96, 32))
