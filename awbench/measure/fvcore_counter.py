"""The second counter: fvcore's, from a traced graph."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from awbench.kernels import aw_conv2d  # registers the operator
from awbench.measure.layers import own_counts

__all__ = ["aw_conv2d", "count_with_fvcore", "fvcore_handles"]


def fvcore_handles() -> dict[str, Callable[[list[Any], list[Any]], int]]:
    """What fvcore lacks to count networks of this project: for its `FlopCountAnalysis.set_op_handle`.

        analysis = FlopCountAnalysis(model, images).set_op_handle(**awbench.fvcore_handles())

    Returns:
        Name of an operator -> its multiply-accumulates, from the values of its inputs and outputs in a graph: of
        AW-convolutions, of torch's operators for attention between positions, einsum, and products with vectors, which
        fvcore counts as none or rounds, and of every operator of others that has a formula of torch's counter
        (`torch.utils.flop_counter.register_flop_formula`), whose operations are halved.
    """
    found: dict[str, Callable[[list[Any], list[Any]], int]] = {
        "awbench::aw_convolution": _aw_convolution_macs, **_CONTRACTIONS,
    }  # fmt: skip
    for packet, formula in flop_registry.items():
        name = str(packet).replace(".", "::", 1)
        if isinstance(packet, torch._ops.OpOverloadPacket) and not name.startswith(("aten::", "awbench::")):
            found[name] = _by_formula(formula)
    return found


def count_with_fvcore(model: nn.Module, image: Tensor) -> dict[str, int]:
    """Multiply-accumulates of convolutions and linear layers by layer, counted by fvcore.

    Args:
        model: on a real device; fvcore traces it with real tensors.
        image: (1, C, H, W).
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # fvcore traces with torch.jit, which torch calls deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        from fvcore.nn import FlopCountAnalysis
        from fvcore.nn.jit_handles import addmm_flop_jit, bmm_flop_jit, conv_flop_jit, linear_flop_jit

        analysis = FlopCountAnalysis(model, image)
        analysis.clear_op_handles()
        analysis.set_op_handle(
            "aten::_convolution", conv_flop_jit,
            "aten::linear", linear_flop_jit,
            "aten::addmm", addmm_flop_jit,
            "aten::bmm", bmm_flop_jit,
            **fvcore_handles(),
        )  # fmt: skip
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        by_module = {name: int(macs) for name, macs in analysis.by_module().items()}
    return own_counts({f"model.{name}" if name else "model": macs for name, macs in by_module.items()})


def _sizes(value: Any) -> list[int]:
    return list(value.type().sizes())


def _added_product_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Of baddbmm, addbmm and addmv: a tensor plus the product of the next two."""
    return math.prod(_sizes(inputs[1])) * (_sizes(inputs[2])[-1] if len(_sizes(inputs[2])) > 1 else 1)


def _product_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Of two tensors of which one may be a vector, over the last axis of the first."""
    first, second = map(_sizes, inputs[:2])
    return math.prod(first) * (second[-1] if len(second) > 1 else 1) if len(first) > 1 else math.prod(second)


def _matmul_macs(inputs: list[Any], outputs: list[Any]) -> int:
    from fvcore.nn.jit_handles import matmul_flop_jit

    has_vector = any(len(_sizes(value)) == 1 for value in inputs[:2])
    return _product_macs(inputs, outputs) if has_vector else int(matmul_flop_jit(inputs, outputs))


def _tensordot_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """An axis that is summed over is in both factors and not in the product, any other in one and in the product."""
    first, second, product = (math.prod(_sizes(value)) for value in (*inputs[:2], outputs[0]))
    return product * math.isqrt(first * second // product)


def _scaled_dot_product_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Q K^T and its product with V: (..., L, E), (..., S, E), (..., S, F)."""
    query, key, value = map(_sizes, inputs[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _multi_head_attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Four projections of E to E, of queries (N, L, E), keys and values (N, S, E), and the two products between."""
    query, key = map(_sizes, inputs[:2])
    batch, length, channels = query
    return batch * channels * (2 * channels * (length + key[1]) + 2 * length * key[1])


def _einsum_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Of two factors, none where no index is summed over, a product of elements; of more, fvcore's, to four digits."""
    from fvcore.nn.jit_handles import einsum_flop_jit

    factors, arrow, kept = inputs[0].toIValue().replace(" ", "").partition("->")
    shapes = [_sizes(value) for value in inputs[1].node().inputs()]
    if len(shapes) != 2 or not arrow:
        return int(einsum_flop_jit(inputs, outputs))
    first, second = (
        dict(zip(reversed(_spelt_out(text, len(shape))), reversed(shape), strict=True))
        for text, shape in zip(factors.split(","), shapes, strict=True)
    )
    shared, remaining = first.keys() & second.keys(), set(_spelt_out(kept, len(_sizes(outputs[0]))))
    if shared <= remaining:
        return 0
    return math.prod({name: n for name, n in (first | second).items() if name in shared | remaining}.values())


def _spelt_out(indices: str, axes: int) -> str:
    """The indices of a factor, a digit for each axis that "..." stands for, from the last one."""
    hidden = axes - len(indices.replace("...", ""))
    return indices.replace("...", "9876543210"[-hidden:] if hidden else "")


_CONTRACTIONS = {
    **{f"aten::{name}": _product_macs for name in ("mm", "mv", "dot", "vdot")},
    "aten::matmul": _matmul_macs,
    **dict.fromkeys(("aten::baddbmm", "aten::addbmm", "aten::addmv"), _added_product_macs),
    "aten::tensordot": _tensordot_macs,
    "aten::einsum": _einsum_macs,
    "aten::scaled_dot_product_attention": _scaled_dot_product_macs,
    "aten::_native_multi_head_attention": _multi_head_attention_macs,
}


def _aw_convolution_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """fvcore handle: each output element of the batch is a sum over C1/groups * h * w products."""
    _, channels, h, w = inputs[1].type().sizes()
    elements = 1
    for size in outputs[0].type().sizes():
        elements *= size
    return elements * channels * h * w


def _by_formula(formula: Callable[..., int]) -> Callable[[list[Any], list[Any]], int]:
    """A handle from a formula of torch's counter, which takes tensors."""

    def handle(inputs: list[Any], outputs: list[Any]) -> int:
        shown = [_on_meta(value) for value in inputs]
        results = [_on_meta(value) for value in outputs]
        return int(formula(*shown, out_val=results[0] if len(results) == 1 else tuple(results))) // 2

    return handle


def _on_meta(value: Any) -> Any:
    """A value of a graph: a tensor of its shape without data, or the constant that it is."""
    kind = value.type()
    sizes = kind.sizes() if kind.kind() == "TensorType" else None
    return value.toIValue() if sizes is None else torch.empty(sizes, device="meta")
