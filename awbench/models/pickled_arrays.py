"""Pickles of numpy arrays, read without running anything.

Not pickle.Unpickler with a find_class: below that hook it hashes nested tuples until its stack
overflows, and fills a memo up to any index that the pickle names. Here the pickle's instructions
are followed in Python, the calls among them are written down instead of made, and what the
calls for a numpy array would give is made from their arguments.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor


class ForbiddenPickle(Exception):
    """A pickle asks for what no array consists of; the message names it, e.g. "posix.system"."""


@dataclass(frozen=True)
class _Function:
    name: str


@dataclass(eq=False)
class Call:
    """A call that a pickle asks for: written down, not made. `state` is what it then wants to set."""

    function: str
    arguments: tuple[Any, ...]
    state: Any = None


_FUNCTIONS = {
    "collections.OrderedDict": "OrderedDict",
    "_codecs.encode": "encode",
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    **{f"numpy.{core}.multiarray._reconstruct": "array" for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": "scalar" for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": "frombuffer" for core in ("core", "_core")},  # of protocol 5
}
_LITERAL = re.compile(
    "INT|BININT[12]?|LONG[14]?|(BIN)?FLOAT|((SHORT_)?BIN)?STRING|UNICODE|(SHORT_)?BINUNICODE|BINUNICODE8"
    "|(SHORT_)?BINBYTES|BINBYTES8|BYTEARRAY8"
)
_LITERALS = frozenset(opcode.name for opcode in pickletools.opcodes if _LITERAL.fullmatch(opcode.name))
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_recorded(file: BinaryIO) -> Any:
    """What a pickle describes: dicts, lists, tuples and plain values as they are, calls as Call.

    Strings of Python 2, which are bytes or text, are text as latin1 has it.

    Raises:
        ForbiddenPickle: it names a function that no numpy array needs, or has an instruction that none needs.
        Exception: of any kind, where the pickle is truncated or makes no sense.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int | None, Any] = {}

    def popped(start: int) -> list[Any]:
        items = stack[start:]
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            stack.append(tuple(popped(-_TUPLES[name])))
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(popped(marks.pop())))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("APPEND", "APPENDS"):
            items = popped(marks.pop() if name == "APPENDS" else -1)
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = popped(marks.pop() if name == "SETITEMS" else -2)
            _set_items(stack[-1], items[::2], items[1::2])
        elif name == "GLOBAL":
            stack.append(_function(str(argument).replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            stack.append(_function(".".join(popped(-2))))
        elif name == "REDUCE":
            stack.append(_called(*popped(-2)))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Call):  # other states are attributes of dicts, as torch's state dicts have them
                stack[-1].state = state
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise ForbiddenPickle(f"the pickle instruction {name}")
    raise ValueError("a pickle without an end")


def _set_items(target: Any, keys: Iterable[Any], values: Iterable[Any]) -> None:
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, (str, int)):  # a nested tuple's hash can take forever, or all of the stack
            raise ValueError(f"a dict with a key of type {type(key).__name__}")
        target[key] = value


def _function(name: str) -> _Function:
    if name not in _FUNCTIONS:
        raise ForbiddenPickle(name)
    return _Function(_FUNCTIONS[name])


def _called(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Function) or not isinstance(arguments, tuple):
        raise ValueError("a call of what is no function")
    if function.name != "OrderedDict":
        return Call(function.name, arguments)
    content: dict[Any, Any] = {}
    for items in arguments:  # Python 2 writes one list of [key, value]
        _set_items(content, [key for key, _ in items], [value for _, value in items])
    return content


def to_tensor(call: Call) -> Tensor:
    """The numpy array that a call would give, as a tensor with memory of its own.

    Raises:
        Exception: of any kind, where that is not an array of plain numbers; the message says why.
    """
    shape: tuple[Any, ...] = ()
    order: Any = "C"
    match call:
        case Call("array", _, (_, tuple(shape), kind, fortran, raw)):
            order = "F" if fortran else "C"
        case Call("frombuffer", (raw, kind, tuple(shape), order)):
            pass
        case Call("scalar", (kind, raw)):
            pass
        case _:
            raise ValueError(f"it is made by {call.function}, in no way that numpy makes one")
    dtype, content = _dtype(kind), _bytes(raw)
    if len(shape) > 8:  # before their product is taken
        raise ValueError(f"it has {len(shape)} dimensions")
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
