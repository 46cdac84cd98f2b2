"""Running statistics of a step that is computed in micro-batches, one by one or several in one forward pass.

Every micro-batch of a step starts from the same running statistics; the step's are the mean of what the micro-batches
would have made of them. So they do not depend on which process computed which of them, nor on which were joined.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

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
    def joined(self, count: int, interleaved: bool) -> Iterator[None]:
        """The forward pass of `count` micro-batches of equal size: inside, every norm in training takes statistics of
        each of them apart.

        Args:
            interleaved: the batch is as `interleave` makes it, else one micro-batch after the other.
        """
        own = [norm for norm in self.norms if norm.training and norm.running_mean is not None]
        affine = [part for norm in own for part in (norm.weight, norm.bias) if part is not None] if interleaved else []
        order = _by_tensor(self.floats, count)
        rows = self.before.repeat(count)[order]
        copies = _copies(rows, self.floats, count)
        if affine:
            wide = _row(affine).repeat(count).index_select(0, _by_tensor(affine, count))
            copies |= _copies(wide, affine, count)
        for norm in own:
            means, variances = copies[id(norm.running_mean)], copies[id(norm.running_var)]
            if interleaved:
                shared = copies.get(id(norm.weight)), copies.get(id(norm.bias))
                forward = functools.partial(_side_by_side, norm, count, means, variances, *shared)
            else:
                forward = functools.partial(_in_turn, norm, count, means, variances)
            norm.forward = forward  # type: ignore[method-assign]
        try:
            yield
        finally:
            for norm in own:
                del norm.forward
        with torch.no_grad():
            for row in torch.empty_like(rows).index_copy_(0, order, rows).view(count, -1):
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


def _row(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def interleave(micro_batches: Sequence[Tensor]) -> Tensor:
    """Micro-batches of equal shape as one batch: the first sample of each, the second of each, and so on.

    (count, C) are then neighbours in a contiguous batch, and one norm of count x C channels is all of theirs.
    """
    return torch.stack(list(micro_batches), dim=1).flatten(0, 1)


def _copies(rows: Tensor, tensors: Sequence[Tensor], count: int) -> dict[int, Tensor]:
    """By the identity of a tensor its `count` copies, one after the other, of rows ordered `_by_tensor`."""
    pieces = rows.split([count * tensor.numel() for tensor in tensors])
    return dict(zip(map(id, tensors), pieces, strict=True))


def _by_tensor(tensors: Sequence[Tensor], count: int) -> Tensor:
    """Of `count` rows that hold the tensors: where the copies of the first lie, then those of the second, ..."""
    return _places(tuple(tensor.numel() for tensor in tensors), count, tensors[0].device)


@functools.lru_cache(maxsize=8)
def _places(sizes: tuple[int, ...], count: int, device: torch.device) -> Tensor:
    parts = torch.arange(count * sum(sizes)).view(count, -1).split(sizes, dim=1)
    return torch.cat([part.flatten() for part in parts]).to(device)


def _side_by_side(
    norm: _BatchNorm,
    count: int,
    means: Tensor,
    variances: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    input: Tensor,
) -> Tensor:
    """A norm's forward pass over interleaved micro-batches, each normalised alone: one norm of count x C channels.

    Args:
        means, variances: (count x C) running ones; they are moved as the norm would move its own.
        weight, bias: (count x C) copies of the norm's.
        input: (N x count, C, ...).
    """
    wide = input.unflatten(0, (-1, count)).flatten(1, 2)
    if norm.momentum is not None:
        output = F.batch_norm(wide, means, variances, weight, bias, True, norm.momentum, norm.eps)
    else:
        own = torch.zeros_like(means), torch.zeros_like(variances)
        output = F.batch_norm(wide, *own, weight, bias, True, 1.0, norm.eps)
        shares = torch.tensor(_momenta(norm, count), dtype=means.dtype, device=means.device)[:, None]
        for running, found in zip((means, variances), own, strict=True):
            running.view(count, -1).lerp_(found.view(count, -1), shares)
    # No view to autograd: of a view, a ReLU in place copies the whole forth and back.
    unviewed: Tensor = torch.ops.aten._unsafe_view(output.contiguous(), input.shape)
    return unviewed


def _in_turn(norm: _BatchNorm, count: int, means: Tensor, variances: Tensor, input: Tensor) -> Tensor:
    """As `_side_by_side`, over micro-batches one after the other: (count x N, C, ...), in any layout."""
    parts = zip(input.chunk(count), means.chunk(count), variances.chunk(count), _momenta(norm, count), strict=True)
    return torch.cat(
        [
            F.batch_norm(part, mean, variance, norm.weight, norm.bias, True, momentum, norm.eps)
            for part, mean, variance, momentum in parts
        ]
    )


def _momenta(norm: _BatchNorm, count: int) -> list[float]:
    if norm.momentum is not None:
        return [norm.momentum] * count
    assert norm.num_batches_tracked is not None, "it tracks statistics"  # a mean over all batches so far
    seen = int(norm.num_batches_tracked)
    return [1 / (seen + 1 + position) for position in range(count)]
