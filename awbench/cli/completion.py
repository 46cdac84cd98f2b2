"""What a shell completes: argcomplete asks the parser, and here for networks, recipes, datasets and studies."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end; nothing where argcomplete is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
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


# Name of an argument -> its values.
COMPLETERS: dict[str, Callable[..., Iterable[str]]] = {
    "variant": _networks,
    "recipe": _recipes,
    "recipes": _recipes,
    "study": _studies,
    "dataset": _datasets,
}
