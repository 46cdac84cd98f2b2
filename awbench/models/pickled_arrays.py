"""Pickles of numpy arrays, read without running anything.

The reader is pickle's own in Python, reduced to the instructions and functions that arrays consist of; calls of these
functions are written down instead of made. pickle's reader in C cannot be reduced so: below find_class it hashes
nested tuples until its stack overflows, and fills a memo up to any index that the pickle names.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

_INSTRUCTIONS = re.compile(
    r"PROTO|FRAME|STOP|MARK|(LONG_)?BIN(PUT|GET)|PUT|GET|MEMOIZE|NONE|NEWTRUE|NEWFALSE|INT|BININT[12]?|LONG[14]?"
    r"|(BIN)?FLOAT|((SHORT_)?BIN)?STRING|UNICODE|(SHORT_)?BINUNICODE|BINUNICODE8|(SHORT_)?BINBYTES|BINBYTES8|BYTEARRAY8"
    r"|(EMPTY_)?TUPLE|TUPLE[123]|EMPTY_LIST|APPENDS?|EMPTY_DICT|SETITEMS?|(STACK_)?GLOBAL|REDUCE|BUILD"
)
_CODES = [ord(opcode.code) for opcode in pickletools.opcodes if _INSTRUCTIONS.fullmatch(opcode.name)]
_FUNCTIONS = re.compile(
    r"_codecs\.encode|numpy\.ndarray|numpy\.dtype"
    r"|numpy\._?core\.multiarray\.(_reconstruct|scalar)|numpy\._?core\.numeric\._frombuffer"
)


class ForbiddenPickle(Exception):
    """A pickle asks for what no array consists of; the message names it, e.g. "posix.system"."""


@dataclass(eq=False)
class Call:
    """A call that a pickle asks for: written down, not made. `state` is what it then wants to set."""

    function: str
    arguments: tuple[Any, ...]
    state: Any = None


def read_recorded(content: bytes) -> Any:
    """What a pickle describes: dicts, lists, tuples and plain values as they are, calls as Call.

    Strings of Python 2, which are bytes or text, are text as latin1 has it.

    Raises:
        ForbiddenPickle: it names a function that no numpy array needs, or has an instruction that none needs.
        Exception: of any kind, where the pickle is truncated or makes no sense.
    """
    for opcode, _, _ in pickletools.genops(content):  # which also finds sizes that the pickle does not have
        if ord(opcode.code) not in _Reader.dispatch:
            raise ForbiddenPickle(f"the pickle instruction {opcode.name}")
    return _Reader(io.BytesIO(content), encoding="latin1").load()


class _Reader(pickle._Unpickler):
    """Instructions are pickle's, but for those below, in which it trusts the pickle too much."""

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _ordered_dict
        if not _FUNCTIONS.fullmatch(f"{module}.{name}"):
            raise ForbiddenPickle(f"{module}.{name}")
        return lambda *arguments: Call(name, arguments)

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Call):  # other states are attributes of dicts, as torch's state dicts have them
            self.stack[-1].state = state

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _set_item(self.stack[-1], key, value)

    def set_items(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            _set_item(self.stack[-1], key, value)

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {code: pickle._Unpickler.dispatch[code] for code in _CODES}
    dispatch[ord(pickle.BUILD)] = build
    dispatch[ord(pickle.SETITEM)] = set_item
    dispatch[ord(pickle.SETITEMS)] = set_items


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    content: dict[Any, Any] = {}
    for pairs in arguments:  # Python 2 writes one list of [key, value]
        for key, value in pairs:
            _set_item(content, key, value)
        pairs.clear()  # lest a small file ask for many copies
    return content


def _set_item(target: Any, key: Any, value: Any) -> None:
    if not isinstance(key, (str, int)):  # a nested tuple's hash can take forever, or all of the stack
        raise ValueError(f"a dict with a key of type {type(key).__name__}")
    target[key] = value


def to_tensor(call: Call) -> Tensor:
    """The numpy array that a call would give, as a tensor with memory of its own.

    Raises:
        Exception: of any kind, where that is not an array of plain numbers; the message says why.
    """
    shape: tuple[Any, ...] = ()
    order: Any = "C"
    match call:
        case Call("_reconstruct", _, (_, tuple(shape), kind, fortran, raw)):
            order = "F" if fortran else "C"
        case Call("_frombuffer", (raw, kind, tuple(shape), order)):
            pass
        case Call("scalar", (kind, raw)):
            pass
        case _:
            raise ValueError(f"it is made by {call.function}, in no way that numpy makes one")
    dtype, content = _dtype(kind), _bytes(raw)
    if len(shape) > 8 or not all(type(size) is int and 0 <= size < 2**48 for size in shape):  # before multiplying
        raise ValueError(f"its shape of {len(shape)} sizes is none of an array's")
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(content):
        raise ValueError(f"its shape {shape} takes {needed} bytes, {len(content)} are there")
    array = np.ndarray(shape, dtype, content, order=order)
    return torch.from_numpy(array.astype(dtype.newbyteorder("="), order="C"))


def _dtype(kind: Any) -> np.dtype[Any]:
    match kind:
        case Call("dtype", (str(code), *_), state):
            byte_order = state[1] if isinstance(state, tuple) else "="
            if re.fullmatch("f[248]|[iu][1248]|b1", code) and byte_order in ("<", ">", "=", "|"):
                return np.dtype(byte_order + code)
            raise ValueError(f"its type is {code}")
    raise ValueError("its type is none of numpy's")


def _bytes(raw: Any) -> bytes | bytearray:
    """Bytes as pickles hold them: as such, as Python 2's strings, or as text and how to encode it."""
    match raw:
        case bytes() | bytearray():
            return raw
        case str(text) | Call("encode", (str(text), "latin1")):
            return text.encode("latin1")
    raise ValueError("its content is no bytes")
