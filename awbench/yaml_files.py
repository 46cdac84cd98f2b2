"""YAML that people write by hand: no key twice, no value that is not what it looks like, errors of one line."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from awbench.errors import UserError
from awbench.validation import Strict, all_errors

StrictT = TypeVar("StrictT", bound=Strict)
_LARGEST_BYTES = 2**22
_DEEPEST = 50
_MOST_VALUES = 100_000
# The same values; libyaml reads them five times as fast.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_INTEGER_TAG, _FLOAT_TAG, _DATE_TAG = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))


def load_validated(path: Path, schema: type[StrictT]) -> StrictT:
    """Read and validate a YAML file, its decimal numbers as printed.

    Raises:
        UserError: it cannot be read, is not YAML, or breaks the schema.
    """
    try:
        return schema.model_validate(read_yaml(path, printed_numbers=True))
    except ValidationError as error:
        raise UserError(f"{path}: {all_errors(error)}") from None


def read_yaml(path: Path, printed_numbers: bool = False) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Args:
        printed_numbers: 7.570 is Decimal("7.570"), not 7.57: the printed zero is a digit that a comparison must meet.

    Raises:
        UserError: the file cannot be read, is no UTF-8, is not YAML, or holds something else; the line is named.
    """
    data = _parse(_read_text(path), str(path), _PrintedNumbersLoader if printed_numbers else _Loader)
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected keys and values at the top level, found {type(data).__name__}")
    return data


def parse_value(text: str, where: str) -> Any:
    """A value as YAML writes it, e.g. 4, 0.05, true or [1, 2].

    Raises:
        UserError: it is none; the message begins with `where`.
    """
    return _parse(text, where, _Loader)


def _read_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a regular file")
        content = path.read_bytes() if path.stat().st_size <= _LARGEST_BYTES else None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if content is None:
        raise UserError(f"{path} has more than {_LARGEST_BYTES >> 20} MiB; nobody writes such a file by hand")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _parse(text: str, where: str, loader: Any) -> Any:
    try:
        _check_size(text)
        return yaml.load(text, Loader=loader)  # a SafeLoader: builds plain values only
    except (ValueError, TypeError, ArithmeticError) as error:  # a value that YAML's types do not take
        raise UserError(f"{where}: not valid YAML: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{where}{line}: not valid YAML: {problem}") from None


def _check_size(text: str) -> None:
    """Raises: ValueError: values nested too deep for any parser, or aliases that stand for too many values."""
    sizes: dict[str, int] = {}
    stack: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append((event.anchor, 0))
            if len(stack) > _DEEPEST:
                raise ValueError(f"values are nested more than {_DEEPEST} deep")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in (name for name, _ in stack):
                raise ValueError(f"*{event.anchor} is inside of what it stands for")
            anchor, size = None, sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        else:
            continue
        if anchor:
            sizes[anchor] = size
        outer, counted = stack.pop()
        stack.append((outer, counted + size))
        if counted + size > _MOST_VALUES:
            raise ValueError(f"it stands for more than {_MOST_VALUES:,} values")


class _Loader(_SafeLoader):  # type: ignore[misc, valid-type]  # one of two classes
    """Numbers as people read them: 010 and 1:30 are no integers, 2026-11-25 is text, infinity is an error."""


class _PrintedNumbersLoader(_Loader):
    """Decimal numbers as printed."""


def _construct_integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    if not _INTEGER.fullmatch(node.value.replace("_", "")):
        raise ValueError(f"{node.value[:40]!r} is not an integer such as 10 or 1_000")
    return int(node.value.replace("_", ""))


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    try:
        value = float(node.value.replace("_", ""))
    except ValueError:  # 1:30.5, which YAML 1.1 takes for 90.5
        raise ValueError(f"{node.value[:40]!r} is not a number such as 0.05 or 1.0e-4") from None
    if not math.isfinite(value):
        raise ValueError(f"{node.value[:40]!r} is not a finite number")
    return value


def _construct_decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    _construct_float(loader, node)
    return Decimal(node.value)


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, str):
            problem = f"key {key!r} is not a word"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
_Loader.add_constructor(_INTEGER_TAG, _construct_integer)
_Loader.add_constructor(_FLOAT_TAG, _construct_float)
_Loader.add_constructor(_DATE_TAG, yaml.SafeLoader.construct_yaml_str)
_PrintedNumbersLoader.add_constructor(_FLOAT_TAG, _construct_decimal)
