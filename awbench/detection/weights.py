"""A whole detector's weights: our own files, Detectron2's model zoo for its engine, torchvision's for its."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from awbench.errors import UserError
from awbench.models.checkpoint_files import read_checkpoint, shortened
from awbench.models.layouts import backbone_entries
from awbench.models.resnet import ResNet
from awbench.models.weights import LoadedWeights, load_backbone_weights

# Constants that some versions of Detectron2 and torchvision save; an engine makes its own.
_CONSTANTS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.", "rpn.anchor_generator.")
# torchvision's FasterRCNN_ResNet50_FPN_Weights.COCO_V1: trained when its frozen norms had no eps, and built so since.
_WITHOUT_EPS = "258fb6c6"
_ENGINE_BY_PREFIX = {"proposal_generator.": "detectron2", "rpn.": "torchvision"}


def load_detector_weights(model: nn.Module, body: ResNet, path: Path, averaged: bool = False) -> LoadedWeights:
    """Read a detector's checkpoint into a detector: all of it, or on any error nothing of pyramid and heads.

    Args:
        model, body: as an engine's `build` made them.
        path: a file of ours, Detectron2's or torchvision's, made with the same engine.
        averaged: read its averaged (EMA) weights.

    Raises:
        UserError: as `awbench.models.weights.load_weights`, or it was made with another engine.
    """
    file = read_checkpoint(path, averaged)
    backbone = backbone_entries(file.state)
    rest: dict[str, Tensor] = {
        _present_name(name): tensor
        for name, tensor in file.state.items()
        if name not in backbone and not name.startswith(_CONSTANTS)
    }
    body_ids = {id(tensor) for tensor in body.state_dict(keep_vars=True).values()}
    wanted = {name: t for name, t in model.state_dict(keep_vars=True).items() if id(t) not in body_ids}
    if not rest:
        raise UserError(f"{path} holds no detector, only a backbone; give it to 'awbench train' as --init-weights")
    theirs, ours = _engine(rest), _engine(wanted)
    if theirs and theirs != ours:
        raise UserError(f"{path} was made with engine {theirs}; this detector is {ours}'s, use --engine {theirs}")
    problems = {
        "missing": [name for name in wanted if name not in rest],
        "unexpected": [name for name in rest if name not in wanted],
        "of another shape": [
            f"{name} {tuple(rest[name].shape)} for {tuple(wanted[name].shape)}"
            for name in wanted
            if name in rest and rest[name].shape != wanted[name].shape
        ],
    }
    listed = [f"{what}: {shortened(names)}" for what, names in problems.items() if names]
    if listed:
        categories = "; is it for as many categories?" if problems["of another shape"] else ""
        raise UserError("; ".join([f"{path} does not fit this detector", *listed]) + categories)
    loaded = load_backbone_weights(body, path, allow_missing_aw=False, averaged=averaged)
    model.load_state_dict(rest, strict=False)  # all of it fits; the backbone is in
    if not loaded.sha256.startswith(_WITHOUT_EPS):
        return loaded
    frozen = [module for module in body.modules() if isinstance(module, FrozenBatchNorm2d)]
    if len(frozen) < sum(name.endswith("running_mean") for name in body.state_dict()):
        raise UserError(f"{path} was trained with frozen norms; evaluate it with a recipe of norm=frozen")
    for module in frozen:
        module.eps = 0.0
    note = "torchvision's COCO_V1: its frozen norms have eps 0, as in torchvision"
    return dataclasses.replace(loaded, notes=(*loaded.notes, note))


def _present_name(name: str) -> str:
    """The name since torchvision 0.13, whose pyramid and RPN head put each convolution into a block."""
    name = re.sub(r"(\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", name)
    return re.sub(r"^(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2", name)


def _engine(names: dict[str, Tensor]) -> str | None:
    found = {engine for prefix, engine in _ENGINE_BY_PREFIX.items() for name in names if name.startswith(prefix)}
    return found.pop() if len(found) == 1 else None
