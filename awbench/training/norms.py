"""Running statistics of a step that is computed in micro-batches, one by one or several in one forward pass.

Every micro-batch of a step starts from the same running statistics; the step's are the mean of what the micro-batches
would have made of them. So they do not depend on which process computed which of them, nor on which were joined.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from awbench.training.distributed import World


class RunningStatistics:
    """The buffers of a model's batch normalisations over one step.

    Call `begin` before a step, `next_micro_batch` after each backward pass (or run a pass `joined`), `finish` at the
    end, or `undo` instead.

    Args:
        model: whose norms' floating-point buffers are averaged; integer ones (batch counters) advance by one a step.
        micro_batches: of a step, over all processes.
    """

    def __init__(self, model: nn.Module, micro_batches: int, world: World) -> None:
        self.micro_batches, self.world = micro_batches, world
        # Frozen norms and other constants stay out: a mean of equal values is not always that value, in floats.
        self.norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        buffers = [buffer for norm in self.norms for buffer in norm.buffers() if buffer.numel()]
        self.floats = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.integers = [buffer for buffer in buffers if not buffer.is_floating_point()]
        # All in one row: on a GPU a hundred small tensors cost a hundred launches.
        self.before = self.sums = self.counters = torch.empty(0)

    @property
    def _trivial(self) -> bool:
        """One micro-batch a step, on one process: the norms' own update is the step's."""
        return self.micro_batches == 1 or not self.floats

    @property
    def can_undo(self) -> bool:
        """Whether the buffers can be what they were before the step; of a single micro-batch no copy is kept."""
        return self.micro_batches > 1 or not self.floats

    @torch.no_grad()
    def begin(self) -> None:
        if self._trivial:
            return
        self.before = _row(self.floats)
        self.counters = torch.stack(self.integers)
        self.sums = torch.zeros_like(self.before)

    @torch.no_grad()
    def next_micro_batch(self) -> None:
        if self._trivial:
            return
        self.sums += _row(self.floats)
        torch._foreach_copy_(self.floats, self._pieces(self.before))

    @contextlib.contextmanager
    def joined(self, count: int) -> Iterator[None]:
        """The forward pass of `count` micro-batches of equal size, one after the other along the batch: inside, every
        norm in training takes statistics of each of them apart.
        """
        rows = self.before.repeat(count, 1)
        pieces = dict(zip(map(id, self.floats), zip(*map(self._pieces, rows), strict=True), strict=True))
        own = [norm for norm in self.norms if norm.training and norm.running_mean is not None]
        for norm in own:
            means, variances = (pieces[id(buffer)] for buffer in (norm.running_mean, norm.running_var))
            norm.forward = _Apart(norm, means, variances)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for norm in own:
                del norm.forward
        with torch.no_grad():
            for row in rows:
                self.sums += row
            torch._foreach_add_(self.integers, count)

    @torch.no_grad()
    def finish(self) -> None:
        if self._trivial:
            return
        if self.world.size > 1:
            dist.all_reduce(self.sums)
        torch._foreach_copy_(self.floats, self._pieces(self.sums / self.micro_batches))
        torch._foreach_copy_(self.integers, list((self.counters + 1).unbind()))

    @torch.no_grad()
    def undo(self) -> None:
        """The buffers as they were at `begin`, if nothing or several micro-batches were computed since."""
        if self._trivial:
            return
        torch._foreach_copy_(self.floats, self._pieces(self.before))
        torch._foreach_copy_(self.integers, list(self.counters.unbind()))

    def _pieces(self, row: Tensor) -> list[Tensor]:
        """Of a row like `before`, a view a buffer."""
        return [
            piece.view_as(buffer)
            for piece, buffer in zip(row.split([buffer.numel() for buffer in self.floats]), self.floats, strict=True)
        ]


def _row(buffers: list[Tensor]) -> Tensor:
    return torch.cat([buffer.flatten() for buffer in buffers])


class _Apart:
    """A norm's forward pass over several micro-batches, each normalised alone.

    Args:
        means, variances: the running ones, a tensor a micro-batch; they are moved as the norm would move its own.
    """

    def __init__(self, norm: _BatchNorm, means: tuple[Tensor, ...], variances: tuple[Tensor, ...]) -> None:
        self.norm, self.means, self.variances = norm, means, variances

    def __call__(self, input: Tensor) -> Tensor:
        norm, count = self.norm, len(self.means)
        if norm.momentum is not None:
            momenta = [norm.momentum] * count
        else:  # a mean over all batches so far
            assert norm.num_batches_tracked is not None, "it tracks statistics"
            momenta = [1.0 / (int(norm.num_batches_tracked) + 1 + position) for position in range(count)]
        parts = zip(input.chunk(count), self.means, self.variances, momenta, strict=True)
        return torch.cat(
            [
                F.batch_norm(part, mean, variance, norm.weight, norm.bias, True, momentum, norm.eps)
                for part, mean, variance, momentum in parts
            ]
        )
