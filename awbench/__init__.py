"""awbench: benchmark and reproducibility suite for attention on the weights of a convolution.

    awbench.build("aw_resnet50")    a torch.nn.Module
    awbench.list_variants()         what exists
    awbench.Results("results")      records, tables and verdicts of a results folder
    awbench.convert(model)          AW-convolutions in a network of torchvision, timm or your own
    awbench.AWConv2d(64, 64, 3)     one of them, a drop-in for nn.Conv2d
    awbench.register_module(Mine)   an attention module of your own (docs/your-module.md)
    awbench.fvcore_handles()        what fvcore lacks to count these networks

torch is imported when a model is built, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from awbench.errors import UserError
from awbench.modules import register_module
from awbench.variants import Variant, list_variants

if TYPE_CHECKING:
    from awbench.attention import AWConv2d
    from awbench.measure.fvcore_counter import fvcore_handles
    from awbench.models import build
    from awbench.models.convert import convert
    from awbench.results import Results

__version__ = "0.1.0"
__all__ = [
    "AWConv2d",
    "Results",
    "UserError",
    "Variant",
    "__version__",
    "build",
    "convert",
    "fvcore_handles",
    "list_variants",
    "register_module",
]
# What imports torch or matplotlib, by where it is.
_LATER = {
    "AWConv2d": "awbench.attention",
    "build": "awbench.models",
    "convert": "awbench.models.convert",
    "fvcore_handles": "awbench.measure.fvcore_counter",
    "Results": "awbench.results",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    if name in ("attention", "models"):
        return importlib.import_module(f"awbench.{name}")
    raise AttributeError(f"module 'awbench' has no attribute {name!r}")
