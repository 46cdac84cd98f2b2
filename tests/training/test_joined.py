"""Micro-batches joined in one forward pass give the step that they give one by one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import awbench
from awbench.training.distributed import World
from awbench.training.execution import Execution
from awbench.training.loop import Loop
from awbench.training.norms import RunningStatistics, interleave

ALONE = World(0, 1, torch.device("cpu"))


class Noise:
    """A `Trainable` of one step on noise; micro-batches of the sizes given."""

    precision, steps, evaluate_every, joined, same_shapes = "float32", 1, 1, 1, True

    def __init__(self, model: nn.Module, dtype: torch.dtype, sizes: tuple[int, ...], interleaved: bool) -> None:
        self.model, self.dtype, self.sizes, self.interleaved = model.to(dtype), dtype, sizes, interleaved
        self.micro_batches = self.images_per_step = len(sizes)
        self.optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        self.passes: list[int] = []

    def learning_rate(self, step):
        return 0.1

    def batches(self, first_step):
        generator = torch.Generator().manual_seed(0)
        for _ in range(first_step, self.steps):
            for size in self.sizes:
                images = torch.randn(size, 3, 32, 32, generator=generator, dtype=torch.float64)
                yield images.to(self.dtype), torch.randint(10, (size,), generator=generator)

    def join(self, batches):
        if len({len(labels) for _, labels in batches}) > 1:
            return None
        return tuple(map(interleave if self.interleaved else torch.cat, zip(*batches, strict=True)))

    def losses(self, model, batch, seed):
        images, labels = batch
        self.passes.append(len(images))
        return {"loss": F.cross_entropy(model(images), labels)}

    def bad_images(self, batch):
        return ()

    def evaluate(self):
        return {}

    def row(self, result):
        return result


def trained(tmp_path, name, dtype, joined, interleaved, sizes=(4,) * 3):
    torch.manual_seed(0)
    task = Noise(awbench.build(name, num_classes=10), dtype, sizes, interleaved)
    loop = Loop(task, {}, 0, tmp_path / f"{name}-{joined}", Execution(joined=joined), ALONE)
    loop.run_to_the_end()
    momenta = {f"momentum {i}": state["momentum_buffer"] for i, state in enumerate(task.optimizer.state.values())}
    return {**task.model.state_dict(), **momenta, "loss": torch.tensor(loop.state.late_loss)}, task.passes


@pytest.mark.parametrize("interleaved", [True, False])
def test_a_step_of_resnet18_joined_is_the_step_in_parts(tmp_path, interleaved):
    """Weights, momenta, running statistics and the loss after a step of three micro-batches, two joined."""
    for name, dtype, bound in (
        ("resnet18", torch.float64, 1e-12), ("aw_se_resnet20", torch.float64, 1e-12), ("resnet20", torch.float32, 1e-5)
    ):  # fmt: skip
        apart, one_by_one = trained(tmp_path / str(dtype), name, dtype, 1, interleaved)
        joined, passes = trained(tmp_path / str(dtype), name, dtype, 2, interleaved)
        assert one_by_one == [4] * 3 and passes == [8, 4]
        assert apart.keys() == joined.keys()
        for key, expected in apart.items():
            error = (joined[key].double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-3)
            assert error < bound, (name, key, float(error))


def test_parts_of_unequal_size_are_not_joined(tmp_path):
    apart, _ = trained(tmp_path, "resnet20", torch.float32, 1, True, sizes=(4, 3, 4, 4))
    joined, passes = trained(tmp_path, "resnet20", torch.float32, 2, True, sizes=(4, 3, 4, 4))
    assert passes == [4, 3, 8]
    torch.testing.assert_close(joined["bn1.running_mean"], apart["bn1.running_mean"], rtol=1e-4, atol=1e-5)


def test_norms_are_their_own_again_after_a_joined_pass_that_fails():
    norm = nn.BatchNorm1d(2)
    statistics = RunningStatistics(norm, 2, ALONE)
    statistics.begin()
    try:
        with statistics.joined(2, True):
            norm(torch.randn(8, 2))
            raise ValueError
    except ValueError:
        pass
    statistics.undo()
    assert "forward" not in vars(norm) and torch.equal(norm.running_mean, torch.zeros(2))


@pytest.mark.parametrize("layout", [interleave, torch.cat])
def test_a_frozen_norm_and_a_cumulative_one_are_what_they_are_in_parts(layout):
    frozen, cumulative = nn.BatchNorm1d(3).eval(), nn.BatchNorm1d(3, momentum=None)
    network = nn.Sequential(frozen, cumulative)
    images, found = torch.randn(8, 3), []
    for joined in (False, True):
        cumulative.reset_running_stats()
        statistics = RunningStatistics(network, 2, ALONE)
        for _ in range(2):
            statistics.begin()
            if joined:
                with statistics.joined(2, layout is interleave):
                    out = network(layout(images.chunk(2)))
            else:
                out = layout([(network(part), statistics.next_micro_batch())[0] for part in images.chunk(2)])
            statistics.finish()
        found.append((out, cumulative.running_mean.clone(), frozen.running_mean.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_interleaved_micro_batches_have_one_norm_whose_output_is_no_view(monkeypatch):
    """A ReLU in place on a view copies all of its base, in both directions."""
    network, sizes, batch_norm = awbench.build("resnet20", num_classes=10), [], F.batch_norm
    monkeypatch.setattr(F, "batch_norm", lambda input, *rest: sizes.append(input.shape) or batch_norm(input, *rest))
    statistics = RunningStatistics(network, 3, ALONE)
    statistics.begin()
    with statistics.joined(3, True):
        out = network.bn1(torch.randn(6, 16, 4, 4, requires_grad=True))
        network(torch.randn(6, 3, 32, 32))
    assert sizes[0] == (2, 48, 4, 4) and not out._is_view()
    assert len(sizes) == 1 + len(statistics.norms)
