"""The bottleneck width, which every attention module computes alike."""

from __future__ import annotations

from awbench.errors import UserError


def reduced_channels(channels: int, reduction: int) -> int:
    """C/r, never below one channel.

    Raises:
        UserError: reduction below 1.
    """
    if not isinstance(reduction, int) or isinstance(reduction, bool):
        raise UserError(f"reduction is {reduction!r}; the reduction ratio r must be a whole number (the default is 16)")
    if reduction < 1:
        raise UserError(f"reduction is {reduction}; the reduction ratio r must be at least 1 (the default is 16)")
    return max(1, channels // reduction)
