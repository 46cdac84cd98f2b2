"""The GPU's clock and the current GPU, with stubs that note what is asked of CUDA."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from awbench.kernels import fused, timers, tuning
from awbench.kernels.geometry import Geometry
from awbench.kernels.request import Request
from awbench.kernels.timers import CUDATimer
from awbench.measure import aw_speed
from awbench.measure.timing import Case, TimingGoal, _call


@pytest.mark.parametrize("queued", [False, True])
def test_a_queued_call_is_launched_while_the_gpu_is_busy(queued, monkeypatch):
    """Else a kernel of 30 us is timed as long as Python takes to launch it."""
    asked = []

    class Event:
        def __init__(self, enable_timing):
            pass

        def record(self):
            asked.append("event")

        def elapsed_time(self, end):
            return 2.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: asked.append("wait"))
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: asked.append("busy"))
    case = Case("a", lambda: asked.append("input"), {"call": lambda _: asked.append("call")}, "call", "a")
    assert _call(case, CUDATimer(queued)) == {"call": 2e-3}
    assert asked == ["input", "wait", *["busy"] * queued, "event", "call", "event", "wait"]


def test_single_kernels_are_timed_queued_wherever_they_are_timed(monkeypatch):
    asked = []

    def timer_for(device, queued=False):
        asked.append(queued)
        return timers.timer_for(device)

    monkeypatch.setattr(aw_speed, "timer_for", timer_for)
    monkeypatch.setattr(tuning, "timer_for", timer_for)
    aw_speed.measure_shape(aw_speed.Shape(4, 4), aw_speed.SpeedSettings(batch_size=1), TimingGoal(budget=0.01))
    I, K, A = torch.randn(1, 4, 4, 4), torch.randn(4, 4, 3, 3), torch.rand(1, 4, 1, 3, 3)
    tuning._time(Request(I, K, A, Geometry([1, 1], [1, 1], [1, 1])), "grouped")
    assert asked == [True, True]


def test_a_kernel_is_launched_on_the_gpu_of_its_tensors(monkeypatch):
    """Triton launches on the current GPU: for tensors of cuda:1 that must be cuda:1."""
    triton_kernels = pytest.importorskip("awbench.kernels.triton_kernels")
    current, launched = [0], []

    @contextmanager
    def device(index):
        before, current[:] = current[:], [torch.device(index).index]
        yield
        current[:] = before

    class Kernel:
        def __getitem__(self, grid):
            return lambda *args, **options: launched.append(current[0])

    monkeypatch.setattr(torch.cuda, "device", device)
    for name in ("convolve", "input_gradient", "kernel_gradients"):
        monkeypatch.setattr(triton_kernels, name, Kernel())
    with FakeTensorMode():
        I, K, A, dO = (
            torch.empty(shape, device="cuda:1")
            for shape in ((2, 16, 8, 8), (16, 16, 3, 3), (2, 16, 1, 3, 3), (2, 16, 8, 8))
        )
        geometry = Geometry([1, 1], [1, 1], [1, 1])
        fused.forward(I, K, A, None, geometry)
        fused.backward(dO, I, K, A, geometry)
    assert launched == [1, 1, 1] and current == [0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("cudnn.conv.fp32_precision = 'ieee'", (False, False)),
        ("cudnn.conv.fp32_precision = 'tf32'", (True, False)),
        ("fp32_precision = 'ieee'; torch.backends.cudnn.conv.fp32_precision = 'tf32'", (True, False)),
        ("cuda.matmul.fp32_precision = 'tf32'; torch.backends.cudnn.allow_tf32 = False", (False, True)),
    ],
)
def test_tf32_is_read_however_it_was_set(setting, expected):
    """Reading allow_tf32 raises once torch's newer fp32_precision was set."""
    code = f"import torch; from awbench.kernels.geometry import tf32; torch.backends.{setting}; print(tf32())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(expected), done.stderr
