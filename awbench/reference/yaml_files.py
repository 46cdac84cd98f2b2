"""YAML that people write by hand: decimal numbers as printed, no key twice, errors of one line with the file's name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from awbench.errors import UserError
from awbench.validation import Strict, first_error

StrictT = TypeVar("StrictT", bound=Strict)
# The same values; libyaml reads them five times as fast.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_validated(path: Path, schema: type[StrictT]) -> StrictT:
    """Read and validate a YAML file.

    Raises:
        UserError: it cannot be read, is not YAML, or breaks the schema.
    """
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected keys and values at the top level, found {type(data).__name__}")
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


def read_yaml(path: Path) -> Any:
    """YAML with decimal numbers kept as printed, and a key given twice refused.

    Raises:
        UserError: the file cannot be read or is not YAML; the line is named.
    """
    try:
        return yaml.load(path.read_text(), Loader=_PrintedNumbersLoader)  # a SafeLoader: builds plain values only
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, RecursionError, ArithmeticError) as error:  # a value that YAML's types refuse
        raise UserError(f"{path}: not valid YAML: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UserError(f"{path}{where}: not valid YAML: {problem}") from None


class _PrintedNumbersLoader(_SafeLoader):  # type: ignore[misc, valid-type]  # one of two classes
    """7.570 is Decimal("7.570"), not 7.57: the printed zero is a digit that a comparison must meet."""


def _construct_decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal | float:
    try:
        return Decimal(node.value)
    except ArithmeticError:  # .inf, .nan and such
        return loader.construct_yaml_float(node)


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


_PrintedNumbersLoader.add_constructor("tag:yaml.org,2002:float", _construct_decimal)
_PrintedNumbersLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
