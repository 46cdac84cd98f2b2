"""How deep the values of a pickle are nested, found without building one.

torch's weights-only reader runs no code of a file, but it hashes the keys of dicts, and the hash of a tuple nested
100,000 deep overflows the stack: the process ends. So a pickle is followed here first, with a depth for every value.
"""

from __future__ import annotations

import pickletools
from typing import BinaryIO

_DEEPEST = 100  # a state dict's values are nested less than 10 deep
_MARK = -1
_FILL = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")  # put values into one that is there


class DeepPickle(ValueError):
    """A pickle's values are nested too deep."""


def check_depth(file: BinaryIO) -> None:
    """Read one pickle, from the file's position to just behind its end.

    Raises:
        DeepPickle: its values are nested more than 100 deep.
        Exception: of any kind, where the pickle is truncated or makes no sense.
    """
    stack: list[int] = []
    memo: dict[int, int] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name == "MARK":
            stack.append(_MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            _follow(opcode, stack)


def _follow(opcode: pickletools.OpcodeInfo, stack: list[int]) -> None:
    """Take what an instruction takes, and put what it gives one deeper than the deepest of that."""
    before = list(opcode.stack_before)
    taken: list[int] = []
    if pickletools.markobject in before:
        while (depth := stack.pop()) != _MARK:
            taken.append(depth)
        before = before[: before.index(pickletools.markobject)]
    taken += [stack.pop() for _ in before]
    container = taken.pop() if opcode.name in _FILL else -1
    depth = max(container, 1 + max(taken, default=-1))
    if depth > _DEEPEST:
        raise DeepPickle(f"its values are nested more than {_DEEPEST} deep")
    stack += [depth] * len(opcode.stack_after)
