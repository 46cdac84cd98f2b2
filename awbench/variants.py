"""The variants: one grammar of names, and a frozen Variant behind each.

    classification   [aw_][<attention>_]<architecture>
    detection        faster_rcnn_[aw_][<attention>_]<architecture>_fpn

The only place that knows this grammar. Nothing here imports torch, so listing is instant.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import itertools
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from awbench.errors import UserError, suggestion

Task = Literal["classification", "detection"]
StridePlacement = Literal["v1", "v1.5"]

STRIDE_PLACEMENTS: tuple[StridePlacement, ...] = ("v1", "v1.5")


@dataclass(frozen=True)
class AttentionModule:
    """An attention module on activations, placed on a block's last normalised output.

    Attributes:
        title: the name its paper gives it.
        paper: where it was published.
        path: ``package.module:Class``, imported when a model is built. The class is
            called as ``Class(channels, **attention_options)``.
    """

    title: str
    paper: str
    path: str

    def load(self) -> Any:
        """The class; this imports torch."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)


# The registry of attention modules: one line here and one file in attention/ add one to every command, table and test.
ATTENTION_MODULES: dict[str, AttentionModule] = {
    "se": AttentionModule("SE", "arXiv 1709.01507", "awbench.attention.squeeze_excitation:SqueezeExcitation"),
    "cbam": AttentionModule("CBAM", "arXiv 1807.06521", "awbench.attention.cbam:CBAM"),
    "eca": AttentionModule("ECA", "arXiv 1910.03151", "awbench.attention.efficient_channel_attention:ECA"),
}


@dataclass(frozen=True)
class Architecture:
    """The shape of one residual network (He et al., arXiv 1512.03385, table 1 and section 4.2).

    Attributes:
        groups, width_per_group: of a bottleneck's 3x3 convolution, as torchvision counts them: the width is
            width_per_group where a ResNet has 64. ResNeXt (arXiv 1611.05431) and Wide ResNet (arXiv 1605.07146).
    """

    block: Literal["basic", "bottleneck"]
    blocks_per_stage: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Literal["imagenet", "cifar"]
    total_stride: int
    image_size: int
    num_classes: int
    groups: int = 1
    width_per_group: int = 64

    @property
    def family(self) -> str:
        return self.stem

    @property
    def depth(self) -> int:
        """Layers with weights: the convolutions of stem and blocks, and the classifier. A name's first number."""
        return 2 + sum(self.blocks_per_stage) * (2 if self.block == "basic" else 3)

    @property
    def is_resnet(self) -> bool:
        """Whether it is a ResNet proper: a claim on an attention setting is about these, at every depth."""
        return (self.groups, self.width_per_group) == (1, 64)

    def inner_width(self, stage: int) -> int:
        """Output channels of the 3x3 convolutions in stage 0, 1, ..."""
        return self.widths[stage] * self.width_per_group // 64 * self.groups


def _imagenet(
    block: Literal["basic", "bottleneck"], blocks_per_stage: tuple[int, ...], groups: int = 1, width_per_group: int = 64
) -> Architecture:
    widths = (64, 128, 256, 512)
    return Architecture(block, blocks_per_stage, widths, "imagenet", 32, 224, 1000, groups, width_per_group)


def _cifar(blocks_per_stage: tuple[int, ...]) -> Architecture:
    return Architecture("basic", blocks_per_stage, (16, 32, 64), "cifar", 4, 32, 10)


# The registry of backbones: one line adds one, with every attention setting, to every command, table and test.
ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": _imagenet("basic", (2, 2, 2, 2)),
    "resnet34": _imagenet("basic", (3, 4, 6, 3)),
    "resnet50": _imagenet("bottleneck", (3, 4, 6, 3)),
    "resnet101": _imagenet("bottleneck", (3, 4, 23, 3)),
    "resnet152": _imagenet("bottleneck", (3, 8, 36, 3)),
    "resnext50_32x4d": _imagenet("bottleneck", (3, 4, 6, 3), groups=32, width_per_group=4),
    "wide_resnet50_2": _imagenet("bottleneck", (3, 4, 6, 3), width_per_group=128),
    "resnet20": _cifar((3, 3, 3)),
    "resnet32": _cifar((5, 5, 5)),
    "resnet56": _cifar((9, 9, 9)),
}

DETECTION_ARCHITECTURES: tuple[str, ...] = ("resnet18", "resnet50", "resnet101")


def _option(default: Any, provenance: str, help: str) -> Any:
    return field(default=default, metadata={"provenance": provenance, "help": help})


@dataclass(frozen=True)
class AWOptions:
    """Every choice of an AW-convolution; `provenance` says how well each default is known.

    secondary: transcribed from the paper by somebody else. recalled: remembered,
    unverified. chosen: stated nowhere we can read, our decision.
    """

    reduction: int = _option(16, "chosen", "r: Pointconv1 has max(1, C1 // r) output channels")
    expansion: int | None = _option(None, "chosen", "e: repeats of the map along C1; a divisor of C1, or none for C1")
    residual: bool = _option(True, "secondary", "true: AK = K + A*K; false: AK = A*K")
    gate: str = _option("sigmoid", "recalled", "sigmoid, hardsigmoid or tanh")
    norm: bool = _option(True, "recalled", "batch normalisation after each pointwise convolution, instead of a bias")
    pooling: str = _option("average", "secondary", "average or max")
    pool_size: str = _option("kernel", "recalled", "kernel: A0 is h x w; global: A0 is 1 x 1, every tap alike")
    activation: str = _option("relu", "secondary", "between the pointwise convolutions: relu or none")
    pointwise_groups: int = _option(1, "chosen", "groups of Pointconv2")
    convolutions: str = _option("3x3", "chosen", "which convolutions of the residual blocks are AW: 3x3, 1x1 or all")
    stages: tuple[int, ...] = _option((1, 2, 3, 4), "chosen", "stages that have AW-convolutions, e.g. 3,4")

    def __post_init__(self) -> None:
        if self.convolutions not in ("3x3", "1x1", "all"):
            raise UserError(f"AW option convolutions={self.convolutions!r} is not known; use 3x3, 1x1 or all")
        if not self.stages or not set(self.stages) <= {1, 2, 3, 4}:
            raise UserError(f"AW option stages={self.stages!r} is not known; use some of 1,2,3,4")

    def layer_arguments(self) -> dict[str, Any]:
        """The arguments of one AWConv2d: all options but the two that choose the layers."""
        arguments = dataclasses.asdict(self)
        del arguments["convolutions"], arguments["stages"]
        return arguments


@dataclass(frozen=True)
class ModelOptions:
    """How a variant is built. None stands for the architecture's own default.

    Attributes:
        stride_placement: "v1.5", the stride in the bottleneck's 3x3 convolution (torchvision),
            or "v1", in its first 1x1 (He et al.). Basic blocks have no such choice.
        num_classes: outputs of the classifier; 1000 for ImageNet networks, 10 for CIFAR-style.
        attention_options: arguments for the activation-attention module, as sorted (name, value) pairs.
        aw: the choices of every AW-convolution.
    """

    stride_placement: StridePlacement = "v1.5"
    num_classes: int | None = None
    attention_options: tuple[tuple[str, int | float | str | bool], ...] = ()
    aw: AWOptions = AWOptions()

    def __post_init__(self) -> None:
        if self.stride_placement not in STRIDE_PLACEMENTS:
            raise UserError(
                f"stride placement {self.stride_placement!r} is not known; use {' or '.join(STRIDE_PLACEMENTS)}"
            )
        if self.num_classes is not None and not 1 <= self.num_classes <= 10**7:
            raise UserError(f"num_classes is {self.num_classes}; a classifier needs at least 1 class, and at most 10^7")


@dataclass(frozen=True)
class Variant:
    """One network of the grid.

    Attributes:
        name: e.g. ``aw_se_resnet50`` or ``faster_rcnn_aw_resnet50_fpn``.
        task: "classification" or "detection".
        architecture_name: key of ARCHITECTURES.
        attention: key of ATTENTION_MODULES, or None.
        aw: whether convolutions of the residual blocks are AW-convolutions.
    """

    name: str
    task: Task
    architecture_name: str
    attention: str | None
    aw: bool

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.architecture_name]

    @property
    def backbone(self) -> str:
        """The name of the classification network inside (the variant itself for classification)."""
        return classification_name(self.architecture_name, self.attention, self.aw)

    @property
    def plain(self) -> str:
        """The name of the same network without any attention: the baseline of every ratio."""
        return self.name.replace(self.backbone, classification_name(self.architecture_name, None, False))

    @property
    def setting(self) -> str:
        """The attention alone, without the architecture: "plain", "se", "aw", "aw_se", ..."""
        return "_".join(_prefixes(self.attention, self.aw)) or "plain"


def _prefixes(attention: str | None, aw: bool) -> list[str]:
    return (["aw"] if aw else []) + ([attention] if attention else [])


def classification_name(architecture: str, attention: str | None, aw: bool) -> str:
    """The name of a classification variant."""
    return "_".join([*_prefixes(attention, aw), architecture])


@functools.cache
def _grid(
    architectures: tuple[str, ...], detectors: tuple[str, ...], attentions: tuple[str | None, ...]
) -> dict[str, Variant]:
    """Every variant by its name."""
    found = {}
    for task, networks in (("classification", architectures), ("detection", detectors)):
        for architecture, aw, attention in itertools.product(networks, (False, True), attentions):
            name = classification_name(architecture, attention, aw)
            name = f"faster_rcnn_{name}_fpn" if task == "detection" else name
            found[name] = Variant(name, task, architecture, attention, aw)  # type: ignore[arg-type]  # one of the two
    return found


def _variants() -> dict[str, Variant]:
    """The grid of what is registered now."""
    return _grid(tuple(ARCHITECTURES), tuple(DETECTION_ARCHITECTURES), (None, *ATTENTION_MODULES))


def list_variants(task: Task | None = None) -> list[Variant]:
    """All variants, classification first, each architecture with its attention settings side by side.

    Raises:
        UserError: the task is neither "classification" nor "detection".
    """
    if task not in (None, "classification", "detection"):
        raise UserError(f"task {task!r} is not known; use classification or detection")
    return [variant for variant in _variants().values() if task in (None, variant.task)]


def parse_variant(name: str, task: Task | None = None) -> Variant:
    """The Variant of a name.

    Raises:
        UserError: no such variant (the nearest name is suggested), or one of another task.
    """
    known = _variants()
    if name not in known:
        normal = re.sub(r"[-.\s]", "_", name.lower())
        hint = f"; did you mean {normal}?" if normal in known else suggestion(normal, known)
        raise UserError(f"{name} is not a variant{hint} See 'awbench list'.")
    variant = known[name]
    if task is not None and variant.task != task:
        raise UserError(
            f"{name} is a {variant.task} variant; this needs a {task} one. See 'awbench list --task {task}'."
        )
    return variant


def make_options(
    *,
    stride_placement: str = "v1.5",
    num_classes: int | None = None,
    attention_options: dict[str, Any] | None = None,
    aw_options: dict[str, Any] | None = None,
) -> ModelOptions:
    """ModelOptions from plain values, as Python callers and the command line give them.

    Raises:
        UserError: an AW option does not exist or has the wrong type.
    """
    fields = {f.name: f for f in dataclasses.fields(AWOptions)}
    values: dict[str, Any] = {}
    for name, value in (aw_options or {}).items():
        if name not in fields:
            raise UserError(f"AW option {name!r} does not exist{suggestion(name, fields)} Known: {', '.join(fields)}.")
        values[name] = _parse_aw_value(name, str(fields[name].type), value)
    return ModelOptions(
        stride_placement=stride_placement,  # type: ignore[arg-type]  # checked in __post_init__
        num_classes=num_classes,
        attention_options=tuple(sorted((attention_options or {}).items())),
        aw=AWOptions(**values),
    )


def describe_options(variant: Variant, options: ModelOptions) -> dict[str, Any]:
    """Every option that changes this variant's network, as plain JSON values; the others are left out."""
    description: dict[str, Any] = {
        "stride_placement": options.stride_placement,
        "num_classes": options.num_classes or variant.architecture.num_classes,
    }
    if variant.attention:
        description["attention"] = dict(options.attention_options)
    if variant.aw:
        description["aw"] = {**dataclasses.asdict(options.aw), "stages": list(options.aw.stages)}
    return description


def _parse_aw_value(name: str, kind: str, value: Any) -> Any:
    """A value of the field's type; strings, as typed on a command line, are read as that type."""
    try:
        if kind == "bool":
            if isinstance(value, bool):
                return value
            return {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}[str(value).lower()]
        if kind.startswith("tuple"):
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(int(part) for part in parts)
        if kind == "int | None" and (value is None or str(value).lower() == "none"):
            return None
        if kind.startswith("int"):
            if isinstance(value, (bool, float)):
                raise ValueError
            return int(value)
        return str(value)
    except (KeyError, ValueError, TypeError):
        wanted = {"bool": "true or false", "int": "a whole number", "int | None": "a whole number or none"}
        raise UserError(f"AW option {name}={value!r} is not {wanted.get(kind, 'a list of whole numbers')}") from None
