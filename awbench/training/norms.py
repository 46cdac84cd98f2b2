"""Running statistics of a step that is computed in micro-batches.

Every micro-batch of a step starts from the same running statistics; the step's are the mean of what the micro-batches
would have made of them. So they do not depend on which process computed which of them.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from awbench.training.distributed import World


class RunningStatistics:
    """The buffers of a model's batch normalisations over one step.

    Call `begin` before a step, `next_micro_batch` after each backward pass, `finish` at the end, or `undo` instead.

    Args:
        model: whose norms' floating-point buffers are averaged; integer ones (batch counters) advance by one a step.
        micro_batches: of a step, over all processes.
    """

    def __init__(self, model: nn.Module, micro_batches: int, world: World) -> None:
        self.micro_batches, self.world = micro_batches, world
        # Frozen norms and other constants stay out: a mean of equal values is not always that value, in floats.
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        buffers = [buffer for norm in norms for buffer in norm.buffers() if buffer.numel()]
        self.floats = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.integers = [buffer for buffer in buffers if not buffer.is_floating_point()]
        self.before: list[Tensor] = []
        self.sums: list[Tensor] = []

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
        self.before = [buffer.clone() for buffer in self.floats]
        self.counters = [buffer.clone() for buffer in self.integers]
        self.sums = [torch.zeros_like(buffer) for buffer in self.floats]

    @torch.no_grad()
    def next_micro_batch(self) -> None:
        if self._trivial:
            return
        torch._foreach_add_(self.sums, self.floats)
        torch._foreach_copy_(self.floats, self.before)

    @torch.no_grad()
    def finish(self) -> None:
        if self._trivial:
            return
        if self.world.size > 1:
            flat = torch.cat([total.flatten() for total in self.sums])
            dist.all_reduce(flat)
            flat /= self.micro_batches
            torch._foreach_copy_(
                self.floats,
                [
                    piece.view_as(b)
                    for piece, b in zip(flat.split([b.numel() for b in self.floats]), self.floats, strict=True)
                ],
            )
        else:
            torch._foreach_copy_(self.floats, torch._foreach_div(self.sums, self.micro_batches))
        torch._foreach_copy_(self.integers, torch._foreach_add(self.counters, 1))

    @torch.no_grad()
    def undo(self) -> None:
        """The buffers as they were at `begin`, if nothing or several micro-batches were computed since."""
        if self._trivial:
            return
        torch._foreach_copy_(self.floats, self.before)
        torch._foreach_copy_(self.integers, self.counters)
