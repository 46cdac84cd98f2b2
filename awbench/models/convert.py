"""Networks of others with AW-convolutions in place of their plain ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from awbench.attention.aw_convolution import AWConv2d
from awbench.errors import UserError
from awbench.modules import CONVOLUTIONS

Where = str | Callable[[str, nn.Conv2d], bool]


def convert(model: nn.Module, where: Where = "3x3", **options: Any) -> nn.Module:
    """Replace convolutions of a network by AW-convolutions, in place; their weights and biases stay, as they are.

        model = awbench.convert(torchvision.models.resnet50(weights="DEFAULT"))
        model = awbench.convert(timm.create_model("resnet26"), where=lambda name, conv: name.startswith("layer4"))

    Args:
        model: of torchvision, timm or anybody. Layers that only derive from `nn.Conv2d` compute something else, and
            stay; so do those that are AW already.
        where: the convolutions of the kernel size "3x3" or "1x1", "all", or a function (name of the layer, the layer)
            that says whether it is one of them.
        options: of every `AWConv2d`: reduction, expansion, gate, ...

    Returns:
        The network; if it is itself a convolution, what replaces it. New attention branches are on each layer's device
        and in its dtype, in training mode where the layer was.

    Raises:
        UserError: no convolution is replaced, `where` is not known, or an option does not fit a layer, which is named,
            or that has hooks, which would be lost. The network is then as it was.
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"a network to convert is a torch.nn.Module, not {type(model).__name__}")
    if not callable(where) and where not in CONVOLUTIONS:
        raise UserError(f"where is {where!r}; use {', '.join(CONVOLUTIONS)}, or a function (name, layer) -> bool")
    found = [(name, layer) for name, layer in model.named_modules() if type(layer) is nn.Conv2d]
    chosen = [(name, layer) for name, layer in found if _is_chosen(where, name, layer)]
    if not chosen:
        sizes = sorted({"x".join(map(str, layer.kernel_size)) for _, layer in found})
        raise UserError(
            f"{type(model).__name__} has no convolution to replace, where={where!r}; its plain ones have the kernel "
            f"sizes {', '.join(sizes) or 'of none'}"
        )
    made: dict[nn.Module, AWConv2d] = {layer: _attended(name, layer, options) for name, layer in chosen}
    for parent in list(model.modules()):
        for name, child in parent._modules.items():  # named_children leaves out a second name of the same layer
            if child in made:
                setattr(parent, name, made[child])
    return made[model] if isinstance(model, nn.Conv2d) else model


def _is_chosen(where: Where, name: str, layer: nn.Conv2d) -> bool:
    if not isinstance(where, str):
        return bool(where(name, layer))
    return where in ("all", "x".join(map(str, layer.kernel_size)))


def _attended(name: str, layer: nn.Conv2d, options: dict[str, Any]) -> AWConv2d:
    """An AW-convolution with a layer's own parameters."""
    if layer._forward_pre_hooks or layer._forward_hooks or not isinstance(layer.weight, nn.Parameter):
        raise UserError(
            f"{name or 'the convolution'} has hooks, as of spectral_norm or pruning, which an AW-convolution in its "
            "place would not have; remove them first, or leave the layer out by where"
        )
    arguments: dict[str, Any] = {
        key: getattr(layer, key)
        for key in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    }
    arguments |= {"bias": layer.bias is not None, "padding_mode": layer.padding_mode}
    arguments |= {"device": layer.weight.device, "dtype": layer.weight.dtype}
    try:
        made = AWConv2d(**arguments, **options)
    except UserError as error:
        raise UserError(f"{name or 'the convolution'}: {error}") from None
    except TypeError:
        raise UserError(f"AWConv2d has no such options: {', '.join(options)}") from None
    made.weight, made.bias = layer.weight, layer.bias
    return made.train(layer.training)
