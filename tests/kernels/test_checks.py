"""What does not fit is named, before a kernel reads memory that is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from awbench.errors import UserError
from awbench.kernels import aw_conv2d, chosen_strategy

I, K, A = torch.ones(2, 4, 6, 6), torch.ones(6, 4, 3, 3), torch.ones(2, 6, 1, 3, 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input": torch.ones(2, 5, 6, 6)}, "the input has 5 channels; it must have 4 of the kernel times 1 groups"),
        ({"input": torch.ones(4, 6, 6)}, r"the input has shape \(4, 6, 6\) and the kernel .* must be \(N, C1, H, W\)"),
        ({"groups": 4}, "groups is 4; it must divide the 6 output channels"),
        ({"groups": 0}, "groups is 0; it must divide the 6 output channels"),
        ({"groups": 2}, "the input has 4 channels; it must have 4 of the kernel times 2 groups"),
        ({"stride": 0}, r"stride is \(0, 0\); it must be two numbers of 1 or more"),
        ({"stride": [1, 1, 1]}, r"stride, padding or dilation is \[1, 1, 1\]; it must be a whole number, or two"),
        ({"padding": "same"}, "stride, padding or dilation is 'same'; it must be a whole number, or two"),
        ({"padding": 1.5}, "stride, padding or dilation is 1.5; it must be"),
        ({"input": torch.ones(2, 0, 6, 6), "weight": torch.ones(6, 0, 3, 3)}, "nothing but the batch may be empty"),
        ({"weight": torch.ones(6, 4, 0, 3)}, "nothing but the batch may be empty"),
        ({"padding": [0, -1]}, r"padding is \(0, -1\); it must be two numbers of 0 or more"),
        ({"dilation": 0}, r"dilation is \(0, 0\); it must be two numbers of 1 or more"),
        ({"dilation": [1, 3]}, "the kernel covers 7 columns; the input has 6, padding included"),
        ({"bias": torch.ones(4)}, r"the bias has shape \(4,\); it must be \(C2,\) = \(6,\)"),
        ({"weight": K.double()}, "the kernel is float64 on cpu; it must be float32 on cpu, as the input is"),
        ({"attention_map": A.bfloat16()}, "the attention map is bfloat16 on cpu; it must be float32 on cpu"),
        ({"weight": K.to("meta")}, "the kernel is float32 on meta; it must be float32 on cpu"),
    ],
)
def test_it_is_named_with_its_value_and_what_would_be_right(changed, message):
    arguments = {"input": I, "weight": K, "attention_map": A, **changed}
    for strategy in ("auto", "direct", "grouped"):
        with pytest.raises(UserError, match=message):
            aw_conv2d(**arguments, strategy=strategy)


def test_sizes_may_be_given_as_in_torch():
    expected = aw_conv2d(I, K, A, None, 2, 1)
    for stride, padding in ((np.int64(2), [1]), ((2, 2), torch.Size([1, 1]))):
        assert torch.equal(aw_conv2d(I, K, A, None, stride, padding), expected)


@pytest.mark.parametrize("strategy", ["direct", "grouped"])
def test_the_operator_itself_checks_too(strategy):
    """An exported program calls it without `aw_conv2d` before it."""
    with pytest.raises(UserError, match="the attention map has shape"):  # in a trace it alone does
        torch.jit.trace(lambda I: aw_conv2d(I, K, A[:1], None, 1, 1, strategy=strategy), I)
    settings = ([1, 1], [1, 1], [1, 1], 1, True, strategy)
    with pytest.raises(UserError, match="the attention map has shape"):
        torch.ops.awbench.aw_convolution(I, K, A[:1], None, *settings)
    for gradient, message in (
        (torch.ones(1, 6, 6, 6), r"the output's gradient has shape \(1, 6, 6, 6\); it must be \(2, 6, 6, 6\)"),
        (torch.ones(2, 6, 6, 6).double(), "the output's gradient is float64 on cpu; it must be float32 on cpu"),
    ):
        with pytest.raises(UserError, match=message):
            torch.ops.awbench.aw_convolution_backward(gradient, I, K, A, *settings)
        with pytest.raises(UserError, match=message):
            chosen_strategy(I, K, A, 1, 1, grad_output=gradient)


def test_autocast_leaves_float64_alone_as_torch_does():
    with torch.autocast("cpu", torch.bfloat16):
        assert aw_conv2d(I.double(), K.double(), A.double()).dtype == torch.float64
        with pytest.raises(UserError, match="the attention map is float32 on cpu; it must be float64"):
            aw_conv2d(I.double(), K.double(), A)
