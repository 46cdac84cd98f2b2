"""What attention modules are made of beside convolutions: two counters, and the number by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from awbench.errors import UserError
from awbench.measure.complexity import count
from awbench.measure.fvcore_counter import count_with_fvcore
from awbench.models import build_variant
from awbench.modules import registered
from awbench.variants import ModelOptions

C, P, S = 4, 36, 12  # channels, positions, and those of the keys


class Attention(nn.Module):
    """(1, C, 6, 6) -> whatever `of` makes of tokens x (1, P, C), keys (1, S, C), a square (C, C) and a vector (C)."""

    def __init__(self, of) -> None:
        super().__init__()
        self.of = of
        self.square = nn.Parameter(torch.eye(C))
        self.vector = nn.Parameter(torch.ones(C))
        self.heads = nn.MultiheadAttention(C, 2, batch_first=True)

    def forward(self, image: Tensor) -> Tensor:
        x = image.flatten(2).transpose(1, 2)
        return self.of(self, x, x[:, ::3])


CASES = {
    "scaled dot product": (lambda m, x, k: F.scaled_dot_product_attention(x, k, k), 2 * P * S * C),
    "multi-head": (lambda m, x, k: m.heads(x, k, k, need_weights=False)[0], 2 * C * C * (P + S) + 2 * P * S * C),
    "baddbmm": (lambda m, x, k: torch.baddbmm(x[:, :, :1], x, k.transpose(1, 2)), P * S * C),
    "addmv": (lambda m, x, k: torch.addmv(m.vector, m.square, x[0, 0]), C * C),
    "mv": (lambda m, x, k: torch.mv(x[0], m.vector), P * C),
    "matmul with a vector": (lambda m, x, k: x[0] @ m.vector, P * C),
    "dot": (lambda m, x, k: torch.dot(x[0, 0], m.vector), C),
    "mm": (lambda m, x, k: torch.mm(x[0], m.square), P * C * C),
    "tensordot": (lambda m, x, k: torch.tensordot(x, m.square, dims=1), P * C * C),
    "einsum": (lambda m, x, k: torch.einsum("nqc,nkc->nqk", x, k), P * S * C),
    "einsum of elements": (lambda m, x, k: torch.einsum("npc,c->npc", x, m.vector), 0),
    "einsum with dots": (lambda m, x, k: torch.einsum("...c, oc -> ...o", x, m.square), P * C * C),
}


@pytest.mark.parametrize("case", CASES)
def test_two_counters_agree_with_the_number_by_hand(case):
    of, macs = CASES[case]
    model, image = Attention(of).eval(), torch.zeros(1, C, 6, 6)
    assert count(Attention(of).eval().to("meta"), image.to("meta")).macs == macs
    assert sum(count_with_fvcore(model, image).values()) == macs


@pytest.mark.parametrize(
    ("made", "operator"),
    [
        (
            "x * nn.functional.bilinear(p, p, torch.ones(1, p.shape[1], p.shape[1], device=x.device)).mean()",
            "_trilinear",
        ),
        ("torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:])", "_fft_r2c"),
        ("x * torch.cdist(p, p).mean()", "_cdist_forward"),
    ],
)
def test_an_operator_that_no_counter_counts_is_an_error(tmp_path, monkeypatch, made, operator):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"with{operator}.py").write_text(
        "import torch\nfrom torch import nn\nclass Mine(nn.Module):\n    def __init__(self, channels):\n"
        f"        super().__init__()\n    def forward(self, x):\n        p = x.mean((2, 3))\n        return {made}\n"
    )
    with registered([f"with{operator}:Mine"]):
        model = build_variant("mine_resnet20", ModelOptions()).eval()
        with pytest.raises(UserError, match=f"operator aten::{operator} has no formula"):
            count(model, torch.zeros(1, 3, 32, 32))
