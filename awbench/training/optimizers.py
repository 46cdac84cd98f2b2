"""Optimizers of recipes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from awbench.recipes.common import Optimizer


def make_optimizer(parameters: Any, recipe: Optimizer, lr: float) -> torch.optim.Optimizer:
    """The optimizer of a recipe.

    Args:
        parameters: or groups of them, as torch.optim takes; a group may have its own weight decay.
        lr: to begin with; the loop sets it before every step.
    """
    groups = list(parameters)
    tensors = [t for group in groups for t in (group["params"] if isinstance(group, dict) else [group])]
    fused = True if all(t.device.type == "cuda" for t in tensors) else None  # one kernel for all parameters
    if recipe.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=recipe.weight_decay, fused=fused)
    return torch.optim.SGD(
        groups, lr=lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov, fused=fused
    )


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Load an optimizer's state; torch checks neither keys nor shapes of it.

    Raises:
        ValueError, KeyError, TypeError: it is not of this optimizer.
    """
    fused = [group["fused"] for group in optimizer.param_groups]  # of this device, not of where it was saved
    optimizer.load_state_dict(saved)
    for group, own in zip(optimizer.param_groups, fused, strict=True):
        group["fused"] = own
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"{name} is {tuple(value.shape)}, its parameter {tuple(parameter.shape)}")
