"""Attention modules by name: the project's own, and anybody's from outside it.

A module has one of two places in a residual block: after its last norm (SE, CBAM, ECA), or instead of its convolutions
(AW). One from outside is named as `package.module:Class`, in the environment variable AWBENCH_MODULES, by an entry
point of the group `awbench.modules`, or with `register_module`. What it is called is read from its source; it is
imported when a network is built.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.metadata
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from awbench.errors import CounterDisagreement, Preempted, Stopped, UserError, suggestion
from awbench.module_files import digest_of, find_class, literal_of, version_of

Slot = Literal["after_norm", "convolution"]
Convolutions = Literal["3x3", "1x1", "all"]
SLOTS: tuple[Slot, ...] = get_args(Slot)
CONVOLUTIONS: tuple[Convolutions, ...] = get_args(Convolutions)
VARIABLE = "AWBENCH_MODULES"
ENTRY_POINTS = "awbench.modules"
DECLARATION = "awbench"  # the class attribute that says what a module is called
INPUT = "module_"  # how the inputs of records begin that are about modules from outside
_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z][a-z0-9]{0,39}")
_FORM = "package.module:Class, or NAME=package.module:Class, with dots as in an import and no .py"
_TAKEN = ("plain", "faster", "rcnn", "fpn")  # words of the grammar of names


@dataclass(frozen=True)
class AttentionModule:
    """An attention module.

    Attributes:
        name: in the names of variants: lower-case letters and digits.
        title: the name its paper gives it.
        paper: where it was published; "" for what is not.
        path: ``package.module:Class``, imported when a model is built.
        slot: "after_norm": ``Class(channels, **options)``, on a block's last normalised output, whose shape it keeps;
            "convolution": ``Class(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            bias=False, **options)`` instead of an `nn.Conv2d`.
        convolutions: which convolutions of the residual blocks it replaces by default: 3x3, 1x1 or all.
        defaults: options and the values that they have where they are not given; an option given at its default is
            not described, so that the same network has the same records.
        is_external: whether it is from outside the project.
        is_installed: whether every process finds it by an entry point.
    """

    name: str
    title: str
    paper: str
    path: str
    slot: Slot = "after_norm"
    convolutions: Convolutions = "3x3"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    is_external: bool = False
    is_installed: bool = False

    def changed(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that are not at their defaults."""
        return {name: value for name, value in options.items() if self.defaults.get(name, ...) != value}

    def load(self) -> Any:
        """The class; this imports torch.

        Raises:
            UserError: importing it raises, it is not there any more, or nothing can be made of it.
        """
        module, _, name = self.path.partition(":")
        if not self.is_external:
            return getattr(importlib.import_module(module), name)
        try:
            found = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:  # whatever code of others raises
            raise UserError(f"{self.label}: importing it raised {described(error)}") from None
        if not isinstance(found, type):
            raise UserError(f"{self.label} is no class when it is imported, but {found!r}"[:200])
        if found.__hash__ is None:
            raise UserError(f"{self.label}: torch needs its objects to have a hash; of a dataclass, state eq=False")
        return found

    @property
    def label(self) -> str:
        """It, in errors."""
        return f"module {self.name} ({self.path})"

    @property
    def is_loaded(self) -> bool:
        """Whether its Python module was imported: a network without it can have none of it."""
        return self.path.partition(":")[0] in sys.modules

    @property
    def inputs(self) -> dict[str, str]:
        """What of it can change a result, as inputs of a record: its code and its version.

        Raises:
            UserError: its source is not there any more.
        """
        if not self.is_external:
            return {}
        module, _, name = self.path.partition(":")
        if module == "__main__":
            raise UserError(f"module {self.name} is defined in the program that runs; put it into a file, to record it")
        found = {"sha256": digest_of(module, name), "version": version_of(module.split(".")[0])}
        return {f"{INPUT}{self.name}_{what}": value for what, value in found.items()}

    @property
    def description(self) -> dict[str, str]:
        """What a record says of it, so that tables can name it where it is not installed."""
        return {"title": self.title, "paper": self.paper, "slot": self.slot, "class": self.path}

    @property
    def argv(self) -> list[str]:
        """The words by which a command in another process knows it."""
        return ["--module", f"{self.name}={self.path}"] if self.is_external and not self.is_installed else []


_OWN = (
    AttentionModule(
        "se",
        "SE",
        "arXiv 1709.01507",
        "awbench.attention.squeeze_excitation:SqueezeExcitation",
        defaults={"reduction": 16},
    ),
    AttentionModule("cbam", "CBAM", "arXiv 1807.06521", "awbench.attention.cbam:CBAM", defaults={"reduction": 16}),
    AttentionModule(
        "eca",
        "ECA",
        "arXiv 1910.03151",
        "awbench.attention.efficient_channel_attention:ECA",
        defaults={"kernel_size": 0, "released": ""},
    ),
    AttentionModule("aw", "AW", "arXiv 2108.08205", "awbench.attention.aw_convolution:AWConv2d", "convolution"),
)
# The project's own: a line above and a file in attention/ add one to every command, table and test.
_REGISTRY: dict[str, AttentionModule] = {module.name: module for module in _OWN}


def modules(slot: Slot | None = None) -> dict[str, AttentionModule]:
    """Every module there is by its name, the project's own first; of one slot if given.

    Raises:
        UserError: one that AWBENCH_MODULES or an entry point names is not as it must be.
    """
    known = {**_REGISTRY, **_installed(), **_of_environment(os.environ.get(VARIABLE, "")), **_REGISTRY}
    return {name: module for name, module in known.items() if slot in (None, module.slot)}


def register_module(
    module: Any,
    *,
    name: str | None = None,
    title: str | None = None,
    paper: str | None = None,
    slot: str | None = None,
    convolutions: str | None = None,
) -> AttentionModule:
    """Add a module from outside to the grid of variants; the same one again changes nothing.

    Args:
        module: its class, or "package.module:Class".
        other arguments: see `AttentionModule`; by default what the class attribute `awbench`, a dict, says, and else
            the class's name (the name in lower case), no paper, "after_norm" and "3x3".

    Returns:
        The module.

    Raises:
        UserError: no such class, a name that is taken or cannot be in a variant's, or an unknown slot.
    """
    given = {"name": name, "title": title, "paper": paper, "slot": slot, "convolutions": convolutions}
    if isinstance(module, str):
        made = _from_path(module, given)
    else:
        path = f"{module.__module__}:{module.__qualname__}"
        made = _make(path, module.__name__, vars(module).get(DECLARATION), given)
    _require_free(made, modules())
    _REGISTRY[made.name] = made
    return made


@contextlib.contextmanager
def registered(specifications: Sequence[str]) -> Iterator[None]:
    """Meanwhile the modules of `--module` are known, too.

    Raises:
        UserError: as `register_module`, or a specification is of another form.
    """
    before = dict(_REGISTRY)
    try:
        for text in specifications:
            name, path = _specification(text)
            register_module(path, name=name)
        yield
    finally:
        _REGISTRY.clear()
        _REGISTRY.update(before)


@contextlib.contextmanager
def faults_named() -> Iterator[None]:
    """Make one line of what networks with modules from outside raise meanwhile.

    Raises:
        UserError: where their own code raised, or code that met what they had made, as a tensor of another shape or
            type; what else it may be is known by the traceback, which is logged for -v.
    """
    try:
        yield
    except (UserError, CounterDisagreement, Preempted, Stopped, KeyboardInterrupt, OSError):
        raise
    except BaseException as error:
        loaded = [module for module in modules().values() if module.is_external and module.is_loaded]
        if not loaded:
            raise
        _LOG.debug("%s", traceback.format_exc())
        steps = traceback.extract_tb(error.__traceback__)
        for module in loaded:
            file = getattr(sys.modules[module.load().__module__], "__file__", None)
            own = [step for step in steps if step.filename == file]
            if own:
                where = f"{own[-1].name}, line {own[-1].lineno} of {file}"
                raise UserError(f"{module.label}: {where}, raised {described(error)}") from None
        if isinstance(error, SystemExit):
            raise
        raise UserError(
            f"a network with {' and '.join(module.label for module in loaded)} raised {described(error)}; what the "
            "module gives may not fit the next layer or the gradient, see with -v"
        ) from None


def described(error: BaseException) -> str:
    """An exception in one line, e.g. "ValueError: ..."."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _specification(text: str) -> tuple[str | None, str]:
    name, separator, path = text.rpartition("=")
    return (name if separator else None), path


@functools.cache
def _installed() -> dict[str, AttentionModule]:
    """Of entry points, by name; the distribution's order."""
    points = sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    found: dict[str, AttentionModule] = {}
    for point in points:
        made = _from_path(point.value.replace(" ", ""), {"name": point.name})
        _require_free(made, {**{one.name: one for one in _OWN}, **found})
        found[made.name] = dataclasses.replace(made, is_installed=True)
    return found


@functools.cache
def _of_environment(text: str) -> dict[str, AttentionModule]:
    known = {**{one.name: one for one in _OWN}, **_installed()}
    found: dict[str, AttentionModule] = {}
    for specification in filter(None, (word.strip() for word in text.split(","))):
        name, path = _specification(specification)
        made = _from_path(path, {"name": name})
        _require_free(made, {**known, **found})
        found[made.name] = made
    return found


def _from_path(path: str, given: dict[str, str | None]) -> AttentionModule:
    """A module by `package.module:Class`, from its source."""
    module, separator, name = path.partition(":")
    words = [*module.split("."), name]
    if not separator or not all(word.isidentifier() for word in words):
        raise UserError(f"module {path!r} is not of the form {_FORM}")
    file, found = find_class(module, name)
    return _make(path, name, literal_of(file, found, DECLARATION), given)


def _make(path: str, class_name: str, declared: Any, given: dict[str, str | None]) -> AttentionModule:
    fields = ("name", "title", "paper", "slot", "convolutions")
    declared = {} if declared is None else declared
    if not isinstance(declared, dict) or not all(isinstance(value, str) for value in declared.values()):
        raise UserError(f"{path}: {DECLARATION} = {declared!r} must be a dict of texts: {', '.join(fields)}")
    for key in declared:
        if key not in fields:
            raise UserError(
                f"{path}: {DECLARATION} has no key {key!r}{suggestion(str(key), fields)} Known: {', '.join(fields)}."
            )
    default = {"name": class_name.lower(), "title": class_name, "paper": "", "slot": SLOTS[0], "convolutions": "3x3"}
    values: dict[str, Any] = {
        **default,
        **declared,
        **{key: value for key, value in given.items() if value is not None},
    }
    for key, known in (("slot", SLOTS), ("convolutions", CONVOLUTIONS)):
        if values[key] not in known:
            raise UserError(f"{path}: {key} is {values[key]!r}; use {' or '.join(known)}")
    if not _NAME.fullmatch(values["name"]) or values["name"] in _TAKEN:
        raise UserError(
            f"{path}: the name {values['name']!r} cannot be part of a variant's; use lower-case letters and digits, "
            f"40 at most, not {', '.join(_TAKEN)}; e.g. --module mine={path}"
        )
    return AttentionModule(path=path, is_external=True, **values)


def _require_free(made: AttentionModule, known: dict[str, AttentionModule]) -> None:
    """Raise a UserError where a module's name is another's."""
    other = known.get(made.name)
    if other and dataclasses.replace(other, is_installed=False) != dataclasses.replace(made, is_installed=False):
        where = f" ({other.path})" if other.is_external else ", a module of the project"
        raise UserError(
            f"{made.path}: the name {made.name} is taken by {other.title}{where}; give another: "
            f"--module NAME={made.path}"
        )
