"""What a shell completes: argcomplete asks the parser, and here for names and for the values of options."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

NEEDS = "pip install argcomplete, into the environment of awbench"
_SHELLS_STDERR = 9  # as argcomplete's own script for shells has it; their stderr is thrown away


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end, or say what is missing."""
    try:
        import argcomplete
    except ImportError:
        with contextlib.suppress(OSError):
            os.write(_SHELLS_STDERR, f"\nawbench: completion needs argcomplete: {NEEDS}\n".encode())
        sys.exit(1)
    argcomplete.autocomplete(parser)


def _networks(**_: Any) -> Iterable[str]:
    from awbench.variants import list_variants

    return [variant.name for variant in list_variants()]


def _recipes(**_: Any) -> Iterable[str]:
    from awbench.recipes.common import FILES

    return sorted(path.stem for path in FILES.rglob("[!.]*.yaml"))


def _datasets(**_: Any) -> Iterable[str]:
    from awbench.recipes import RECIPES_OF

    return list(RECIPES_OF)


def _studies(**_: Any) -> Iterable[str]:
    from awbench.studies import load_studies

    return [study.name for study in load_studies()]


def _columns(prefix: str = "", parsed_args: argparse.Namespace | None = None, **_: Any) -> Iterable[str]:
    """Of `table KIND`, behind those that are there already."""
    from awbench.records import Records
    from awbench.reference.load import load_references
    from awbench.report.tables import TABLES

    kind = getattr(parsed_args, "kind", None)
    if kind not in TABLES:
        return []
    there = prefix.rpartition(",")[0]
    names = TABLES[kind](Records(), load_references()).columns
    return [f"{there},{name}" if there else name for name in names]


def _aw_options(**_: Any) -> Iterable[str]:
    from awbench.variants import AWOptions

    return [f"{field.name}=" for field in dataclasses.fields(AWOptions)]


def _recipe_keys(parsed_args: argparse.Namespace | None = None, **_: Any) -> Iterable[str]:
    """Of a classifier's recipe, or of a detector's."""
    from awbench.recipes import DetectionRecipe, Recipe
    from awbench.recipes.common import recipe_keys

    named = getattr(parsed_args, "variant", None) or ""
    first = named if isinstance(named, str) else named[0]
    return [f"{key}=" for key in recipe_keys(DetectionRecipe if first.startswith("faster_rcnn") else Recipe)]


# Name of an argument -> its values.
COMPLETERS: dict[str, Callable[..., Iterable[str]]] = {
    "variant": _networks,
    "recipe": _recipes,
    "recipes": _recipes,
    "study": _studies,
    "dataset": _datasets,
    "columns": _columns,
    "sort": _columns,
    "aw_option": _aw_options,
    "changes": _recipe_keys,
}
