"""What a training sets where CUDA is, and nowhere else; on tensors without memory, or stubs."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from awbench.recipes.common import Optimizer
from awbench.training import distributed
from awbench.training.distributed import World
from awbench.training.execution import Execution
from awbench.training.loop import Loop
from awbench.training.numerics import deterministic
from awbench.training.optimizers import load_optimizer, make_optimizer


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize(("device", "fused"), [("cuda", True), ("cpu", None)])
@pytest.mark.parametrize("in_groups", [True, False])
def test_the_optimizer_is_fused_on_a_gpu(name, device, fused, in_groups):
    with FakeTensorMode():
        parameters = [torch.nn.Parameter(torch.empty(3, device=device)) for _ in range(2)]
        given = [{"params": parameters[:1]}, {"params": parameters[1:]}] if in_groups else iter(parameters)
        optimizer = make_optimizer(given, Optimizer(name=name, lr=0.1), 0.1)
    assert {group["fused"] for group in optimizer.param_groups} == {fused}


def test_what_was_saved_on_a_gpu_is_stepped_as_this_device_does():
    """Fused steps have other bits, on a CPU too."""
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(3))], Optimizer(name="sgd", lr=0.1), 0.1)
    saved = optimizer.state_dict()
    saved["param_groups"][0]["fused"] = True
    load_optimizer(optimizer, saved)
    assert optimizer.param_groups[0]["fused"] is None


@pytest.mark.parametrize(
    ("exact", "same_shapes", "timed"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_cudnn_times_its_algorithms_where_bits_may_differ_and_shapes_do_not(exact, same_shapes, timed):
    before = torch.backends.cudnn.benchmark
    with deterministic(exact, same_shapes):
        assert torch.backends.cudnn.benchmark is timed
    assert torch.backends.cudnn.benchmark is before


@pytest.mark.parametrize(("kind", "given"), [("cuda", torch.device("cuda", 1)), ("cpu", None)])
def test_nccl_knows_the_process_own_gpu(kind, given, monkeypatch):
    asked = {}
    monkeypatch.setattr(distributed, "rank_and_size", lambda: (1, 2))
    monkeypatch.setattr(distributed, "_die_with_the_launcher", lambda: None)
    device = torch.device("cuda", 1) if kind == "cuda" else torch.device("cpu")
    monkeypatch.setattr(distributed, "choose_device", lambda name, local_rank: device)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    for name, value in (("MASTER_ADDR", "here"), ("MASTER_PORT", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda backend, **named: asked.update(named))
    for name in ("new_group", "destroy_process_group"):
        monkeypatch.setattr(distributed.dist, name, lambda *args, **named: None)
    with distributed.join_world(kind):
        pass
    assert asked["device_id"] == given


class Still:
    """A `Trainable` that is at its end."""

    precision, steps, evaluate_every, micro_batches, joined, interleaved = "float32", 0, 1, 2, 1, True
    images_per_step, same_shapes = 2, True

    def __init__(self):
        self.model = torch.nn.Linear(2, 2)
        self.optimizer = torch.optim.SGD(self.model.parameters())

    def batches(self, first_step):
        return iter(())

    def evaluate(self):
        return torch.backends.cudnn.benchmark

    def row(self, result):
        return {}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("same_shapes", [False, True])
def test_the_loop_says_whether_shapes_are_the_same(tmp_path, exact, same_shapes):
    task = Still()
    task.same_shapes = same_shapes
    loop = Loop(task, {}, 0, tmp_path, Execution(deterministic=exact), World(0, 1, torch.device("cpu")))
    assert loop.run_to_the_end().result is (same_shapes and not exact)


@pytest.mark.parametrize(("size", "device", "given"), [(1, "cuda:1", None), (2, "cuda:1", [1]), (2, "cpu", None)])
def test_gradients_are_views_of_the_buckets_that_are_sent(tmp_path, monkeypatch, size, device, given):
    asked = []

    def parallel(model, **named):
        asked.append(named)
        return model

    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", parallel)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *args, **named: None)
    Loop(Still(), {}, 0, tmp_path, Execution(), World(1, size, torch.device(device)))._parallel()
    wanted = {"device_ids": given, "broadcast_buffers": False, "gradient_as_bucket_view": True}
    assert asked == ([wanted] if size > 1 else [])
