"""Options of attention modules from outside, by the defaults of their class: read from text, and checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from awbench.errors import UserError
from awbench.modules import AttentionModule


def option_defaults(module: AttentionModule) -> dict[str, Any]:
    """The arguments of its class that have a default; of a module from outside this imports it.

    Raises:
        UserError: as `AttentionModule.load`.
    """
    parameters = inspect.signature(module.load()).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def require_types(module: AttentionModule, options: Mapping[str, Any]) -> None:
    """Check options of a module from outside: "no" is true in Python, and "1,2" is no list.

    Raises:
        UserError: a value is neither of its default's kind nor of its annotation; or as `AttentionModule.load`.
    """
    if not module.is_external or not options:
        return
    parameters, defaults = inspect.signature(module.load()).parameters, option_defaults(module)
    for name, value in options.items():
        default = defaults.get(name)
        if default is None or type(value).__name__ in str(parameters[name].annotation):
            continue
        wanted, fits = _kind_like(default, value)
        if not fits:
            raise UserError(f"option {name}={value!r} of {module.label} must be {wanted}; its default is {default!r}")


def _kind_like(default: Any, value: Any) -> tuple[str, bool]:
    """(of what kind a value must be, whether it is)."""
    if isinstance(default, bool):
        return "true or false", isinstance(value, bool)
    if isinstance(default, (int, float)):
        return "a number", isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, str):
        return "text", isinstance(value, str)
    return f"left alone, since no option can be a {type(default).__name__}", type(value) is type(default)
