"""awbench: benchmark and reproducibility suite for attention on the weights of a convolution.

    awbench.build("aw_resnet50")    a torch.nn.Module
    awbench.list_variants()         what exists
    awbench.Results("results")      records, tables and verdicts of a results folder

torch is imported when a model is built, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from awbench.errors import UserError
from awbench.variants import Variant, list_variants

if TYPE_CHECKING:
    from awbench.models import build
    from awbench.results import Results

__version__ = "0.1.0"
__all__ = ["Results", "UserError", "Variant", "__version__", "build", "list_variants"]


def __getattr__(name: str) -> Any:
    if name == "build":
        from awbench.models import build

        return build
    if name == "Results":
        from awbench.results import Results

        return Results
    if name in ("attention", "models"):
        return importlib.import_module(f"awbench.{name}")
    raise AttributeError(f"module 'awbench' has no attribute {name!r}")
