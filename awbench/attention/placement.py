"""Attention modules put where they belong in a network; those from outside are checked when they are built."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from awbench.errors import UserError, suggestion
from awbench.modules import AttentionModule, described

_CONVOLUTION = tuple(name for name in inspect.signature(nn.Conv2d).parameters)
_CHANNELS = ("channels",)
_PIXELS = 8  # a side of what a module from outside is tried on


def after_norm(module: AttentionModule, options: Mapping[str, Any]) -> Callable[[int], nn.Module]:
    """What makes the module that stands after the last norm of a block: channels -> module.

    Raises:
        UserError: it has no such option; of a module from outside also, when it is called, what it does wrong.
    """
    made = module.load()
    _require_options(module, made, options, _CHANNELS)

    def make(channels: int) -> nn.Module:
        if not module.is_external:
            return made(channels, **options)
        built = _build(module, lambda: made(channels, **options), f"for {channels} channels")
        shape = (2, channels, _PIXELS, _PIXELS)
        _require_shape(module, built, shape, shape, "after a norm it must keep its input's shape")
        return built

    return make


def in_place_of_convolution(module: AttentionModule, options: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """What makes the module that takes the place of an `nn.Conv2d`, with its first seven arguments and no bias.

    Raises:
        UserError: as `after_norm`.
    """
    made = module.load()
    _require_options(module, made, options, _CONVOLUTION)

    def make(*shape: int) -> nn.Module:
        if not module.is_external:
            return made(*shape, bias=False, **options)
        in_channels, out_channels, kernel_size, stride = shape[:4]
        what = f"in place of a {kernel_size}x{kernel_size} convolution of {in_channels} to {out_channels} channels"
        built = _build(module, lambda: made(*shape, bias=False, **options), what)
        wanted = (2, out_channels, _PIXELS // stride, _PIXELS // stride)
        rule = "it must give what the convolution would"
        _require_shape(module, built, (2, in_channels, _PIXELS, _PIXELS), wanted, rule)
        return built

    return make


def _require_options(module: AttentionModule, made: Any, options: Mapping[str, Any], own: tuple[str, ...]) -> None:
    """Raise a UserError for an option that the class does not take."""
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):
        raise UserError(f"{_name(module)} is not a class of modules, but {made!r}"[:200]) from None
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters if parameter.name not in own]
    for name in options:
        if name not in known:
            raise UserError(
                f"{module.name} has no option {name!r}{suggestion(name, known)} Known: {', '.join(known) or 'none'}."
            )


def _build(module: AttentionModule, make: Callable[[], Any], what: str) -> nn.Module:
    """A module from outside, made; what its code raises becomes a one-line error."""
    try:
        built = make()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{_name(module)}: making it {what} raised {described(error)}") from None
    if not isinstance(built, nn.Module):
        raise UserError(f"{_name(module)} makes a {type(built).__name__}; it must be a torch.nn.Module")
    if type(built).forward is nn.Module.forward:
        raise UserError(f"{_name(module)} has no forward; define forward(self, x)")
    return built


def _require_shape(
    module: AttentionModule, built: nn.Module, shape: tuple[int, ...], wanted: tuple[int, ...], rule: str
) -> None:
    """Raise a UserError unless a module from outside gives the wanted shape; nothing of it or of the seed changes."""
    tensor = next(itertools.chain(built.parameters(), built.buffers()), torch.empty(0))
    training = built.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            output = built.eval()(torch.zeros(shape, device=tensor.device, dtype=tensor.dtype))
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{_name(module)}: its forward raised {described(error)} for an input of {shape}") from None
    built.train(training)
    found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if found != wanted:
        raise UserError(f"{_name(module)} makes {found} of an input of {shape}, not {wanted}: {rule}")


def _name(module: AttentionModule) -> str:
    return f"module {module.name} ({module.path})"
