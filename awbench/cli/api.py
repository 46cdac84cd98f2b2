"""docs/api.md: the public names with their signatures and docstrings. `python -m awbench.cli.readme` writes it."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import awbench

# Beside awbench's own names: module -> what others may rely on.
_ROOMS = {
    "awbench.attention": ("AWAttention", "SqueezeExcitation", "CBAM"),
    "awbench.models.weights": ("load_weights", "save_weights"),
    "awbench.records": ("Record", "Records", "RecordStore", "Quantity"),
    "awbench.report.table": ("Table", "Column", "select"),
    "awbench.report.formats": ("render",),
    "awbench.verdicts.given_runs": ("measure_gain",),
}
_OF_MODULES = ("forward", "extra_repr")  # every torch.nn.Module has them
_HEAD = """\
# Names for Python

Made from the docstrings by `make readme`; a test fails where it differs. What stands here keeps its name and meaning
within a major version ([CHANGELOG.md](../CHANGELOG.md)); other modules are the project's own affair.
[python.md](python.md) has examples.
"""


def api_page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD, "## awbench\n"]
    for name in awbench.__all__:
        parts += _entry("awbench", name, getattr(awbench, name))
    for module, names in _ROOMS.items():
        parts.append(f"## {module}\n")
        for name in names:
            parts += _entry(module, name, getattr(importlib.import_module(module), name))
    return "\n".join(parts)


def _entry(module: str, name: str, thing: Any) -> Iterator[str]:
    if not callable(thing):
        yield f"### {name}\n\nThe version, {thing!r}.\n" if name == "__version__" else f"### {name}\n"
        return
    yield f"### {name}\n\n```python\n{module}.{name}{_signature(thing)}\n```\n"
    if text := inspect.getdoc(thing):
        yield f"```text\n{text}\n```\n"
    if inspect.isclass(thing):
        for method, of_class in vars(thing).items():
            yield from _member(method, of_class)


def _member(name: str, of_class: Any) -> Iterator[str]:
    """A public method or property that the class itself defines."""
    is_property = isinstance(of_class, property) or type(of_class).__name__ == "cached_property"
    function = getattr(of_class, "fget", None) or getattr(of_class, "func", None) or of_class
    function = getattr(function, "__func__", function)  # of class methods
    if name.startswith("_") or not inspect.isfunction(function) or function.__name__ == "<lambda>":
        return
    if not function.__doc__ and name in _OF_MODULES:
        return
    yield f"#### .{name}{'' if is_property else _signature(function)}\n"
    if function.__doc__:
        yield f"```text\n{inspect.cleandoc(function.__doc__)}\n```\n"


def _signature(thing: Any) -> str:
    """With annotations as they are written, and without addresses."""
    try:
        text = str(inspect.signature(thing))
    except ValueError:  # none that Python knows
        return "(...)"
    text = re.sub(r"<function .*? at 0x[0-9a-f]+>", "...", text)
    return re.sub(r"(: |-> )(?:'([^']*)'|\"([^\"]*)\")", lambda found: found[1] + (found[2] or found[3]), text)
