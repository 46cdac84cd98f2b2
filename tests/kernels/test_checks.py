"""What does not fit is named, before a kernel reads memory that is not there."""

from __future__ import annotations

import pytest
import torch

from awbench.errors import UserError
from awbench.kernels import aw_conv2d

I, K, A = torch.ones(2, 4, 6, 6), torch.ones(6, 4, 3, 3), torch.ones(2, 6, 1, 3, 3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"input": torch.ones(2, 5, 6, 6)}, "the input has 5 channels; it must have 4 of the kernel times 1 groups"),
        ({"input": torch.ones(4, 6, 6)}, r"the input has shape \(4, 6, 6\) and the kernel .* must be \(N, C1, H, W\)"),
        ({"groups": 4}, "groups is 4; it must divide the 6 output channels"),
        ({"groups": 0}, "groups is 0; it must divide the 6 output channels"),
        ({"groups": 2}, "the input has 4 channels; it must have 4 of the kernel times 2 groups"),
        ({"stride": 0}, r"stride is \(0, 0\); it must be two numbers of 1 or more"),
        ({"stride": [1, 1, 1]}, r"stride is \(1, 1, 1\); it must be two numbers"),
        ({"padding": [0, -1]}, r"padding is \(0, -1\); it must be two numbers of 0 or more"),
        ({"dilation": 0}, r"dilation is \(0, 0\); it must be two numbers of 1 or more"),
        ({"dilation": [1, 3]}, "the kernel covers 7 columns; the input has 6, padding included"),
        ({"bias": torch.ones(4)}, r"the bias has shape \(4,\); it must be \(C2,\) = \(6,\)"),
        ({"weight": K.double()}, "the kernel is float64 on cpu; it must be float32 on cpu, as the input is"),
        ({"attention_map": A.bfloat16()}, "the attention map is bfloat16 on cpu; it must be float32 on cpu"),
        ({"weight": K.to("meta")}, "the kernel is float32 on meta; it must be float32 on cpu"),
    ],
)
def test_it_is_named_with_its_value_and_what_would_be_right(changed, said):
    arguments = {"input": I, "weight": K, "attention_map": A, **changed}
    for strategy in ("auto", "direct", "grouped"):
        with pytest.raises(UserError, match=said):
            aw_conv2d(**arguments, strategy=strategy)
