"""Latency of real networks: what is measured, what is refused, what happens when memory ends."""

from __future__ import annotations

import contextlib
import gc
import itertools
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from awbench.errors import UserError
from awbench.measure import latency
from awbench.measure.latency import (
    LatencySettings,
    TimedNetwork,
    check_settings,
    measure_latency,
    peak_memory,
    with_plain,
)
from awbench.measure.timing import TimingGoal
from awbench.variants import make_options, parse_variant

QUICK = TimingGoal(width=10.0, budget=0.1)


def networks(*names):
    return [TimedNetwork(parse_variant(name)) for name in names]


def test_plain_networks_are_measured_with_what_is_compared_with_them():
    names = [network.name for network in with_plain(networks("aw_resnet20", "se_resnet20", "resnet32"))]
    assert names == ["resnet20", "aw_resnet20", "se_resnet20", "resnet32"]


def test_networks_of_one_variant_are_built_with_their_own_options():
    full, coarse = (
        TimedNetwork(parse_variant("aw_resnet20"), make_options(aw_options={"expansion": e}), f"e{e}") for e in (1, 16)
    )
    run = measure_latency([full, coarse], LatencySettings(), QUICK)
    assert [each.network.name for each in run.latencies] == ["resnet20", "e1", "e16"]
    memory = [each.peak_memory_bytes for each in run.latencies]
    assert memory[1] - memory[2] > 4 * 200_000, "the full map takes more parameters"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_dtype_and_layout(dtype, layout):
    settings = LatencySettings(batch_size=2, dtype=dtype, layout=layout)
    run = measure_latency(networks("aw_se_resnet20"), settings, QUICK)
    plain, attended = run.latencies
    assert (plain.network.name, attended.network.name) == ("resnet20", "aw_se_resnet20")
    assert plain.timing.ratio is None and attended.timing.ratio.value > 0
    assert attended.timing.stages["network"].value > 0
    weights = 272_474 * check_settings(settings).itemsize  # parameters of resnet20
    assert plain.peak_memory_bytes > weights < attended.peak_memory_bytes
    assert run.overhead < 1e-4


def test_inputs_are_random_and_not_the_same_twice_in_a_row(monkeypatch):
    seen = []

    class Spy(nn.Module):
        def forward(self, image):
            seen.append(image)
            return image.sum()

    monkeypatch.setattr(latency, "build_variant", lambda name, options: Spy())
    settings = LatencySettings(dtype="bfloat16", layout="channels_last")
    measure_latency(networks("resnet50"), settings, QUICK)
    timed = seen[-6:]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(timed))
    for image in timed:
        assert image.shape == (1, 3, 224, 224) and image.dtype == torch.bfloat16
        assert image.is_contiguous(memory_format=torch.channels_last)
        assert image.float().std() == pytest.approx(1.0, abs=0.02)


class Hungry(nn.Module):
    """Has memory for `most` images."""

    most, error = 3, torch.OutOfMemoryError("CUDA out of memory")

    def forward(self, image):
        if len(image) > self.most:
            raise self.error
        return image.sum()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_for_all_and_said(monkeypatch, error):
    def build(name, options):
        network = Hungry()
        network.error, network.most = error, 3 if name == "aw_resnet20" else 100
        return network

    monkeypatch.setattr(latency, "build_variant", build)
    run = measure_latency(networks("aw_resnet20"), LatencySettings(batch_size=8), QUICK)
    assert run.settings.batch_size == 2
    assert "batch size 8 did not fit in memory; it was halved to 2" in run.notes


def test_more_than_the_machines_memory_is_refused_before_it_is_filled():
    with pytest.raises(MemoryError):
        latency._require_room(10**15, torch.device("cpu"))


def test_an_image_that_does_not_fit_alone_is_one_line(monkeypatch):
    monkeypatch.setattr(Hungry, "most", 0)
    monkeypatch.setattr(latency, "build_variant", lambda name, options: Hungry())
    with pytest.raises(UserError, match="one image does not fit in the memory of cpu with resnet20"):
        measure_latency(networks("resnet20"), LatencySettings(batch_size=4), QUICK)


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    monkeypatch.setattr(Hungry, "error", RuntimeError("shapes cannot be multiplied"))
    monkeypatch.setattr(latency, "build_variant", lambda name, options: Hungry())
    with pytest.raises(RuntimeError, match="shapes"):
        measure_latency(networks("resnet20"), LatencySettings(batch_size=4), QUICK)


def test_peak_memory_is_weights_input_and_the_largest_sum_of_what_lies_between():
    """Two linear layers of 1 x 1000 -> 3000 -> 500: at most input, both outputs and the weights at once."""
    model = nn.Sequential(nn.Linear(1000, 3000, bias=False), nn.Linear(3000, 500, bias=False))
    image = torch.randn(1, 1000)
    with torch.no_grad():
        peak = peak_memory(model, image, lambda: model(image))
    expected = 4 * (1000 * 3000 + 3000 * 500 + 1000 + 3000 + 500)
    assert expected <= peak < expected * 1.01


def test_a_captured_graph_keeps_the_network_whose_memory_it_reads(monkeypatch):
    class Stream:
        def wait_stream(self, other):
            pass

    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Stream)
    for name in ("stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    network = torch.nn.Linear(2, 2)
    weight = weakref.ref(network.weight)
    next_input, replay = latency._captured(network, itertools.cycle([torch.ones(1, 2)]))
    del network
    gc.collect()
    assert weight() is not None
    replay(next_input())
    del replay
    gc.collect()
    assert weight() is None


def test_settings_that_cannot_be():
    for changes, words in (
        ({"batch_size": 0}, "batch size 0"),
        ({"layout": "nhwc"}, "contiguous or channels_last"),
        ({"dtype": "int8"}, "dtype 'int8' is not a floating-point dtype"),
        ({"dtype": "nonsense"}, "dtype 'nonsense'"),
        ({"dtype": "float8_e5m2"}, "dtype float8_e5m2 does not work on cpu"),
        ({"cuda_graph": True}, "a CUDA graph needs a CUDA device; the device is cpu"),
    ):
        with pytest.raises(UserError, match=words):
            check_settings(LatencySettings(**changes))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_where_there_is_none():
    with pytest.raises(UserError, match="device cuda is not available on this machine; use --device cpu"):
        check_settings(LatencySettings(device="cuda"))
