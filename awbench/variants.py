"""The variants: one grammar of names, and a frozen Variant behind each.

    classification   [<convolution>_][<attention>_]<architecture>
    detection        faster_rcnn_[<convolution>_][<attention>_]<architecture>_fpn

<convolution> is "aw" or a module from outside that takes the place of convolutions, <attention> one that stands after a
block's last norm (`awbench.modules`). The only place that knows this grammar. Nothing here imports torch, so listing is
instant.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from awbench.architectures import ARCHITECTURES, DETECTION_ARCHITECTURES, Architecture
from awbench.errors import UserError, suggestion
from awbench.modules import CONVOLUTIONS, VARIABLE, AttentionModule, modules

Task = Literal["classification", "detection"]
StridePlacement = Literal["v1", "v1.5"]
OptionValue = int | float | str | bool

STRIDE_PLACEMENTS: tuple[StridePlacement, ...] = ("v1", "v1.5")


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
        if self.convolutions not in CONVOLUTIONS:
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
        convolution_options: of another module in place of convolutions, as sorted (name, value) pairs: "convolutions"
            and "stages" as of AW, and arguments for it.
    """

    stride_placement: StridePlacement = "v1.5"
    num_classes: int | None = None
    attention_options: tuple[tuple[str, OptionValue], ...] = ()
    aw: AWOptions = AWOptions()
    convolution_options: tuple[tuple[str, OptionValue], ...] = ()

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
        attention: name of the module after each block's last norm, or None.
        convolution: name of the module in place of convolutions of the residual blocks, e.g. "aw", or None.
    """

    name: str
    task: Task
    architecture_name: str
    attention: str | None
    convolution: str | None

    @property
    def aw(self) -> bool:
        """Whether convolutions of the residual blocks are AW-convolutions."""
        return self.convolution == "aw"

    @property
    def modules(self) -> tuple[AttentionModule, ...]:
        """Its attention modules: in place of convolutions, and after norms."""
        known = modules()
        return tuple(known[name] for name in (self.convolution, self.attention) if name)

    @property
    def inputs(self) -> dict[str, str]:
        """What of modules from outside can change a result, as inputs of a record; nothing for the project's own."""
        return {name: value for module in self.modules for name, value in module.inputs.items()}

    @property
    def module_argv(self) -> list[str]:
        """The words by which a command in another process knows its modules from outside."""
        return [word for module in self.modules for word in module.argv]

    @property
    def is_own(self) -> bool:
        """Whether all of it is the project's own, and has locked counts."""
        return not any(module.is_external for module in self.modules)

    @property
    def architecture(self) -> Architecture:
        return ARCHITECTURES[self.architecture_name]

    @property
    def backbone(self) -> str:
        """The name of the classification network inside (the variant itself for classification)."""
        return classification_name(self.architecture_name, self.attention, self.convolution)

    @property
    def plain(self) -> str:
        """The name of the same network without any attention: the baseline of every ratio."""
        return self.name.replace(self.backbone, classification_name(self.architecture_name, None, None))

    @property
    def setting(self) -> str:
        """The attention alone, without the architecture: "plain", "se", "aw", "aw_se", ..."""
        return _setting(self.attention, self.convolution)


def _setting(attention: str | None, convolution: str | None) -> str:
    return "_".join(filter(None, (convolution, attention))) or "plain"


def classification_name(architecture: str, attention: str | None, convolution: str | None) -> str:
    """The name of a classification variant."""
    return "_".join(filter(None, (convolution, attention, architecture)))


@functools.cache
def _grid(
    architectures: tuple[str, ...],
    detectors: tuple[str, ...],
    convolutions: tuple[str | None, ...],
    attentions: tuple[str | None, ...],
) -> dict[str, Variant]:
    """Every variant by its name."""
    found = {}
    for task, networks in (("classification", architectures), ("detection", detectors)):
        for architecture, convolution, attention in itertools.product(networks, convolutions, attentions):
            name = classification_name(architecture, attention, convolution)
            name = f"faster_rcnn_{name}_fpn" if task == "detection" else name
            found[name] = Variant(name, task, architecture, attention, convolution)  # type: ignore[arg-type]  # a task
    return found


def _variants() -> dict[str, Variant]:
    """The grid of what is registered now."""
    slots = (None, *modules("convolution")), (None, *modules("after_norm"))
    return _grid(tuple(ARCHITECTURES), tuple(DETECTION_ARCHITECTURES), *slots)


def list_settings() -> list[str]:
    """Every attention setting, "plain" first: those of the project's own modules, then those with others."""
    known = modules()
    pairs = itertools.product((None, *modules("convolution")), (None, *modules("after_norm")))
    ordered = sorted(pairs, key=lambda pair: any(known[name].is_external for name in pair if name))
    return [_setting(attention, convolution) for convolution, attention in ordered]


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
        raise UserError(f"{name} is not a variant{hint} See 'awbench list'.{_about_modules(normal)}")
    variant = known[name]
    if task is not None and variant.task != task:
        raise UserError(
            f"{name} is a {variant.task} variant; this needs a {task} one. See 'awbench list --task {task}'."
        )
    return variant


def _about_modules(name: str) -> str:
    """How to name the module that is missing for a name that fits the grammar otherwise; "" for another name."""
    settings = name.removeprefix("faster_rcnn_").removesuffix("_fpn")
    architecture = next((known for known in ARCHITECTURES if settings.endswith(f"_{known}")), "")
    words = settings.removesuffix(architecture).strip("_").split("_") if architecture else []
    unknown = [word for word in words if word not in ("aw", *modules())]
    if len(unknown) != 1 or len(words) > 2:
        return ""
    return f" A module {unknown[0]} from outside: --module or {VARIABLE}, see docs/your-module.md in the source."


def parse_variants(names: Iterable[str], task: Task | None = None) -> list[Variant]:
    """The Variants of names and of patterns such as "aw_*", each once, in the order of names, then of the grid.

    Args:
        task: of which they must be; patterns match of it alone.

    Raises:
        UserError: as `parse_variant`, or nothing matches a pattern.
    """
    found: dict[str, Variant] = {}
    for name in names:
        if not any(character in name for character in "*?["):
            found.setdefault(name, parse_variant(name, task))
            continue
        matching = [variant for variant in list_variants(task) if fnmatch.fnmatchcase(variant.name, name)]
        if not matching:
            of_task = f"{task} " if task else ""
            raise UserError(f"no {of_task}variant matches the pattern {name!r}; see 'awbench list'")
        for variant in matching:
            found.setdefault(variant.name, variant)
    return list(found.values())


def make_options(
    *,
    stride_placement: str = "v1.5",
    num_classes: int | None = None,
    attention_options: dict[str, Any] | None = None,
    aw_options: dict[str, Any] | None = None,
    convolution_options: dict[str, Any] | None = None,
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
        convolution_options=tuple(sorted(_with_placement(convolution_options or {}).items())),
    )


def _with_placement(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a module in place of convolutions; which ones, and in which stages, are read as AW's are."""
    checked = dict(options)
    if "stages" in options:
        given = options["stages"]
        stages = [str(one).strip() for one in (given if isinstance(given, (list, tuple)) else str(given).split(","))]
        if not stages or not set(stages) <= {"1", "2", "3", "4"}:
            raise UserError(f"option stages={given!r} is not known; use some of 1,2,3,4")
        checked["stages"] = ",".join(stages)
    if options.get("convolutions", "3x3") not in CONVOLUTIONS:
        raise UserError(f"option convolutions={options['convolutions']!r} is not known; use {', '.join(CONVOLUTIONS)}")
    return checked


def describe_options(variant: Variant, options: ModelOptions) -> dict[str, Any]:
    """Every option that changes this variant's network, as plain JSON values; the others are left out."""
    description: dict[str, Any] = {
        "stride_placement": options.stride_placement,
        "num_classes": options.num_classes or variant.architecture.num_classes,
    }
    if variant.attention:
        description["attention"] = modules("after_norm")[variant.attention].changed(dict(options.attention_options))
    if variant.aw:
        description["aw"] = {**dataclasses.asdict(options.aw), "stages": list(options.aw.stages)}
    elif variant.convolution:
        convolutions, stages, arguments = placement_of(variant, options)
        description["convolution"] = {"convolutions": convolutions, "stages": list(stages), **arguments}
    return description


def placement_of(variant: Variant, options: ModelOptions) -> tuple[str, tuple[int, ...], dict[str, Any]]:
    """(which convolutions its module replaces, in which stages, the module's arguments); of a variant that has one."""
    if variant.aw:
        return options.aw.convolutions, options.aw.stages, options.aw.layer_arguments()
    arguments: dict[str, Any] = dict(options.convolution_options)
    convolutions = arguments.pop("convolutions", modules("convolution")[str(variant.convolution)].convolutions)
    stages = str(arguments.pop("stages", "1,2,3,4"))
    return convolutions, tuple(int(stage) for stage in stages.split(",")), arguments


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
