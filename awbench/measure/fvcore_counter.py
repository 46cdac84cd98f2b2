"""The second counter: fvcore's, from a traced graph."""

from __future__ import annotations

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
        AW-convolutions, and of every operator of others that has a formula of torch's counter
        (`torch.utils.flop_counter.register_flop_formula`), whose operations are halved.
    """
    found: dict[str, Callable[[list[Any], list[Any]], int]] = {"awbench::aw_convolution": _aw_convolution_macs}
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
        from fvcore.nn.jit_handles import addmm_flop_jit, bmm_flop_jit, conv_flop_jit, linear_flop_jit, matmul_flop_jit

        analysis = FlopCountAnalysis(model, image)
        analysis.clear_op_handles()
        analysis.set_op_handle(
            "aten::_convolution", conv_flop_jit,
            "aten::linear", linear_flop_jit,
            "aten::addmm", addmm_flop_jit,
            "aten::bmm", bmm_flop_jit,
            "aten::matmul", matmul_flop_jit,
            **fvcore_handles(),
        )  # fmt: skip
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        by_module = {name: int(macs) for name, macs in analysis.by_module().items()}
    return own_counts({f"model.{name}" if name else "model": macs for name, macs in by_module.items()})


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
