"""Exact complexity of a network: parameters, multiply-accumulates, activations. No arithmetic is done.

The network runs once on torch's `meta` device and torch's dispatch-level counter counts what
it dispatches. fvcore counts independently, from a traced graph, when a cross-check is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from awbench.errors import CounterDisagreement, UserError
from awbench.measure.fvcore_counter import count_with_fvcore
from awbench.measure.layers import own_counts
from awbench.models import build_variant
from awbench.modules import modules
from awbench.variants import ModelOptions, Variant, parse_variant

# Far beyond what these networks are used at; counts stay far below 2^63, and a cross-check within a machine's memory.
LARGEST_IMAGE = 8192


@dataclass(frozen=True)
class Complexity:
    """What one network costs, per image. All numbers are exact.

    Attributes:
        params: trainable parameters.
        macs: multiply-accumulates of convolutions and linear layers.
        macs_by_counter: the same by each counter that counted.
        aw_kernel_forming: kernel modulation, the multiplications of AK = K + A*K, over all AW-convolutions.
        attention_scaling: multiplications of activations by the gates of SE, CBAM, ECA and other attention modules;
            elementwise ones inside modules from outside that take the place of convolutions.
        activations: elements in the outputs of convolutions and linear layers (the definition
            of Radosavovic et al., arXiv 2003.13678, with linear layers added).
        elements: elements that other layers touch, by kind, for counting conventions that
            include them: "convolution_bias" (outputs of convolutions with a bias), "normalisation",
            "activation" (ReLU) and "pooling" (inputs of each).
        macs_by_layer: layer name -> multiply-accumulates.
    """

    params: int
    macs: int
    macs_by_counter: Mapping[str, int]
    aw_kernel_forming: int
    attention_scaling: int
    activations: int
    elements: Mapping[str, int]
    macs_by_layer: Mapping[str, int] = field(repr=False)


def measure_complexity(
    name: str, options: ModelOptions, image_size: int | None = None, cross_check: bool = False
) -> Complexity:
    """Count a classification variant at a square image size.

    Args:
        name: the variant.
        options: how it is built.
        image_size: pixels a side; None for the architecture's own (224 for ImageNet, 32 for CIFAR).
        cross_check: count with fvcore too, on real tensors, and require equality.

    Raises:
        UserError: no such variant, an image too small for it, or options that do not fit.
        CounterDisagreement: the counters differ, in a layer that is named.
    """
    variant = parse_variant(name, task="classification")
    image_size = check_image_size(variant, image_size)
    with torch.device("meta"):
        model = build_variant(name, options).eval()
    complexity = count(model, torch.empty(1, 3, image_size, image_size, device="meta"))
    if not cross_check:
        return complexity
    with WithoutRandomNumbers():
        model = build_variant(name, options).eval()
    return cross_checked(name, complexity, model, torch.zeros(1, 3, image_size, image_size))


_DRAWS = (torch.ops.aten.uniform_.default, torch.ops.aten.normal_.default)


class WithoutRandomNumbers(TorchDispatchMode):
    """A context in which networks start from zeros: to draw their weights takes as long as to count them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0].zero_() if func in _DRAWS else func(*args, **(kwargs or {}))


def cross_checked(name: str, complexity: Complexity, model: nn.Module, image: Tensor) -> Complexity:
    """The same counts, after fvcore gave them too, layer by layer.

    Args:
        model, image: as counted, but on a real device.

    Raises:
        CounterDisagreement: the counters differ, in a layer that is named.
    """
    by_layer = count_with_fvcore(model, image)
    require_agreement(name, complexity.macs_by_layer, by_layer)
    return replace(complexity, macs_by_counter={**complexity.macs_by_counter, "fvcore": sum(by_layer.values())})


def check_image_size(variant: Variant, image_size: int | None) -> int:
    """The image size in force.

    Raises:
        UserError: it is too large, or below the network's total stride, which leaves less than a pixel.
    """
    smallest = variant.architecture.total_stride
    if image_size is not None and image_size > LARGEST_IMAGE:
        raise UserError(f"image size {image_size} is too large; use {LARGEST_IMAGE} or less")
    if image_size is None:
        return variant.architecture.image_size
    if image_size < smallest:
        raise UserError(
            f"image size {image_size} is too small for {variant.name}, whose total stride is {smallest}; "
            f"use {smallest} or more (its own is {variant.architecture.image_size})"
        )
    return image_size


def count(model: nn.Module, image: Tensor) -> Complexity:
    """Count one forward pass of `model` on `image`, (1, C, H, W), on whatever device both are."""
    flop_counter = FlopCounterMode(display=False, custom_mapping=_VECTOR_PRODUCTS)
    elements = _ElementCounter()
    with torch.no_grad(), flop_counter, elements, elements.inside_attention(model):
        model(image)
    own = own_counts({name: sum(flops.values()) // 2 for name, flops in flop_counter.get_flop_counts().items()})
    macs_by_layer = {name: own[name] for name, _ in model.named_modules() if name in own}  # torch's order is a set's
    macs = flop_counter.get_total_flops() // 2
    return Complexity(
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=macs,
        macs_by_counter={"torch": macs},
        aw_kernel_forming=elements.aw_kernel_forming,
        attention_scaling=elements.attention_scaling,
        activations=elements.activations,
        elements=elements.counts,
        macs_by_layer=macs_by_layer,
    )


_CONVOLUTION = torch.ops.aten.convolution.default
_LINEAR = tuple(getattr(torch.ops.aten, name).default for name in ("addmm", "mm", "bmm", "baddbmm", "mv", "addmv"))
_AW = torch.ops.awbench.aw_convolution.default
_PRODUCT = torch.ops.aten.mul.Tensor
_BATCH_NORM = torch.ops.aten.native_batch_norm.default
_PLAIN = ("aten", "prims", "prim")  # torch's own operators, of which most that count have formulas
# Those that count and have none; the last two are fused on real devices alone.
_UNCOUNTED = {
    "_trilinear", "_cdist_forward", "_fft_r2c", "_fft_c2c", "_fft_c2r", "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
}  # fmt: skip


def _vector_product_flops(*shapes: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Of mv, dot and vdot; of addmv the sum of its second argument's products."""
    factor = shapes[1] if len(shapes) > 2 and len(shapes[1]) == 2 else shapes[0]
    return 2 * math.prod(factor)


# What torch's counter takes for free, as flops by its shapes.
_VECTOR_PRODUCTS = {getattr(torch.ops.aten, name): _vector_product_flops for name in ("mv", "addmv", "dot", "vdot")}
_COUNTED_INPUTS = {
    _BATCH_NORM: "normalisation",
    torch.ops.aten.cudnn_batch_norm.default: "normalisation",
    torch.ops.aten.relu.default: "activation",
    torch.ops.aten.relu_.default: "activation",
    torch.ops.aten.max_pool2d_with_indices.default: "pooling",
    torch.ops.aten._adaptive_avg_pool2d.default: "pooling",
    torch.ops.aten.adaptive_max_pool2d.default: "pooling",
    torch.ops.aten.mean.dim: "pooling",
    torch.ops.aten.amax.default: "pooling",
}


class _ElementCounter(TorchDispatchMode):
    """Counts elements by kind of operator, and the multiplications that form AK and that scale activations."""

    def __init__(self) -> None:
        super().__init__()
        self.activations = 0
        self.aw_kernel_forming = 0
        self.attention_scaling = 0
        self._attention_depth = 0
        self.counts = {"convolution_bias": 0, "normalisation": 0, "activation": 0, "pooling": 0}

    @contextmanager
    def inside_attention(self, model: nn.Module) -> Iterator[None]:
        """Meanwhile products inside the model's attention modules count as scaling; frozen norms multiply too.

        AW-convolutions do none outside their operator.
        """
        known = modules().values()
        classes = tuple(module.load() for module in known if module.is_loaded and module.name != "aw")
        handles = []

        def enter(*_: Any) -> None:
            self._attention_depth += 1

        def leave(*_: Any) -> None:
            self._attention_depth -= 1

        for module in model.modules():
            if isinstance(module, classes):
                handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out: Any
        is_free = func.namespace in _PLAIN and func._opname not in _UNCOUNTED
        if self._attention_depth and not is_free and func._overloadpacket not in flop_registry:
            raise UserError(
                f"operator {func.namespace}::{func._opname} has no formula of its operations, and would be counted as "
                "none; register one with torch.utils.flop_counter.register_flop_formula"
            )
        if func is _BATCH_NORM and args[0].is_meta:
            # torch decomposes it in Python on `meta`, a third of the time to count a network.
            out = (torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0))
        else:
            out = func(*args, **(kwargs or {}))
        if func in (_CONVOLUTION, _AW, *_LINEAR):
            self.activations += out.numel()
        if func in (_CONVOLUTION, _AW):
            bias = args[2] if func is _CONVOLUTION else args[3]
            if bias is not None:
                self.counts["convolution_bias"] += out.numel()
        if func is _AW:
            input, weight = args[:2]
            self.aw_kernel_forming += len(input) * weight.numel()
        if func is _PRODUCT and self._attention_depth:
            self.attention_scaling += out.numel()
        kind = _COUNTED_INPUTS.get(func)
        if kind:
            self.counts[kind] += args[0].numel()
        return out


def require_agreement(name: str, torch_macs: Mapping[str, int], fvcore_macs: Mapping[str, int]) -> None:
    """Compare two counts layer by layer.

    Raises:
        CounterDisagreement: naming the first layer where they differ, with both numbers.
    """
    for layer in sorted({*torch_macs, *fvcore_macs}):
        ours, theirs = torch_macs.get(layer, 0), fvcore_macs.get(layer, 0)
        if ours != theirs:
            raise CounterDisagreement(
                f"{name}: layer {layer or '(the network itself)'} has {ours:,} multiply-accumulates by torch's "
                f"counter and {theirs:,} by fvcore's"
            )
