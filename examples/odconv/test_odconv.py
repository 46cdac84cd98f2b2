"""ODConv held to its equation, one sample and one kernel at a time, and to the counts that its authors print."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from odconv import ODConv2d
from torch import nn

from awbench.experiments.measurements import record_complexity
from awbench.measure.complexity import measure_complexity
from awbench.models import build_variant
from awbench.modules import registered
from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.studies import load_study
from awbench.variants import make_options, parse_variant
from awbench.verdicts.complexity import EQUAL, compare_complexity, equal_to_printed_digits

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def known():
    with registered(["odconv:ODConv2d"]):
        yield


@pytest.mark.parametrize("kernels", [1, 3])
@pytest.mark.parametrize(("kernel_size", "groups"), [(3, 1), (1, 1), (3, 2), (3, 4)])
def test_it_is_its_equation(kernels, kernel_size, groups):
    torch.manual_seed(0)
    out_channels = 4 if groups == 4 else 6
    layer = ODConv2d(4, out_channels, kernel_size, 2, kernel_size // 2, groups=groups, kernels=kernels).double().eval()
    x = torch.randn(3, 4, 7, 7, dtype=torch.float64)
    output = layer(x)
    bank = [layer.weight, *(layer.further if kernels > 1 else ())]
    for n in range(3):
        mean = x[n].mean((1, 2))
        z = torch.relu(layer.bn((layer.fc.weight[:, :, 0, 0] @ mean)[None, :, None, None]))[0, :, 0, 0]
        a_c, a_f, a_s, a_w = (
            None if fc is None else fc.weight[:, :, 0, 0] @ z + fc.bias
            for fc in (layer.channel_fc, layer.filter_fc, layer.spatial_fc, layer.kernel_fc)
        )
        shares = [1.0] if a_w is None else torch.softmax(a_w, 0)
        kernel = sum(share * one for share, one in zip(shares, bank, strict=True))
        if a_s is not None:
            kernel = kernel * torch.sigmoid(a_s).view(kernel_size, kernel_size)
        if a_f is not None:
            kernel = kernel * torch.sigmoid(a_f)[:, None, None, None]
        scaled = x[n : n + 1] * torch.sigmoid(a_c)[:, None, None]
        expected = F.conv2d(scaled, kernel, layer.bias, 2, kernel_size // 2, groups=groups)
        torch.testing.assert_close(output[n : n + 1], expected)


# As the official README prints them, in 10^6.
PUBLISHED = {
    ("resnet18", 1): "11.94", ("resnet18", 4): "44.90", ("resnet50", 1): "28.64", ("resnet50", 4): "90.67",
    ("resnet101", 1): "50.82", ("resnet101", 2): "90.44",
}  # fmt: skip


@pytest.mark.parametrize(("network", "kernels"), PUBLISHED)
def test_its_parameters_are_the_published_ones_to_all_printed_digits(network, kernels):
    counted = measure_complexity(f"odconv_{network}", make_options(convolution_options={"kernels": kernels}))
    rows = load_references(HERE / "odconv_paper.yaml").numbers
    (published,) = (
        n.value for n in rows if (n.variant, n.weights, n.metric) == (f"odconv_{network}", f"{kernels}x", "params")
    )
    assert str(published) == PUBLISHED[network, kernels]
    assert equal_to_printed_digits(counted.params, published, 10**6)


@pytest.mark.parametrize(("network", "kernels"), PUBLISHED)
def test_its_operations_are_the_published_ones_once_the_attended_kernels_are_counted(network, kernels):
    """What the authors counted is derived from their six numbers, see the note in odconv_paper.yaml."""
    options = make_options(stride_placement="v1", convolution_options={"kernels": kernels})
    inputs: list[int] = []
    with torch.device("meta"):
        plain, model = (build_variant(name, options) for name in (network, f"odconv_{network}"))
        for layer in model.modules():
            if isinstance(layer, ODConv2d):
                layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].numel()))
        model.eval()(torch.empty(1, 3, 224, 224))
    stages = [module for name, module in plain.named_modules() if name.startswith("layer")]
    weights = sum(module.weight.numel() for module in stages if isinstance(module, nn.Conv2d))
    times = kernels + (kernels if kernels > 1 else 0) + 1
    rows = load_references(HERE / "odconv_paper.yaml").numbers
    (published,) = (
        n.value for n in rows if (n.variant, n.weights, n.metric) == (f"odconv_{network}", f"{kernels}x", "macs")
    )
    counted = measure_complexity(f"odconv_{network}", options).macs
    assert equal_to_printed_digits(counted + times * weights + sum(inputs), published, 10**9)


@pytest.mark.parametrize("kernels", [1, 4])
@pytest.mark.parametrize("network", ["resnet18", "resnet50", "resnet101"])
def test_its_attention_is_the_only_further_multiply_accumulates(network, kernels):
    options = make_options(stride_placement="v1", convolution_options={"kernels": kernels})
    with torch.device("meta"):
        layers = [m for m in build_variant(f"odconv_{network}", options).modules() if isinstance(m, ODConv2d)]
    added = 0
    for layer in layers:
        hidden, (k, _) = max(layer.in_channels // 16, 16), layer.kernel_size
        outputs = layer.in_channels + layer.out_channels + (k * k if k > 1 else 0) + (kernels if kernels > 1 else 0)
        added += hidden * (layer.in_channels + outputs)
    counted, plain = (
        measure_complexity(name, options if "od" in name else make_options(stride_placement="v1"))
        for name in (f"odconv_{network}", network)
    )
    assert counted.macs - plain.macs == added


def test_both_counters_agree_and_a_plain_checkpoint_has_its_weight():
    counted = measure_complexity("odconv_resnet20", make_options(convolution_options={"kernels": 2}), cross_check=True)
    assert set(counted.macs_by_counter) == {"torch", "fvcore"}
    assert counted.attention_scaling > 0


def test_each_published_setting_stands_beside_its_own_counts(tmp_path):
    store = RecordStore(tmp_path)
    for kernels in (None, 4):
        chosen = {} if kernels is None else {"kernels": kernels}
        options = make_options(stride_placement="v1", convolution_options=chosen)
        record_complexity(store, parse_variant("odconv_resnet18"), options)
    numbers = [
        n
        for n in load_references(HERE / "odconv_paper.yaml").numbers
        if (n.variant, n.kind) == ("odconv_resnet18", "complexity")
    ]
    compared = compare_complexity(numbers, store.read().of_kind("complexity"))
    found = {c.number.weights: c.verdict for c in compared if c.number and c.metric == "params"}
    assert found == {"1x": EQUAL, "4x": EQUAL}


def test_its_claims_are_the_differences_of_the_printed_numbers():
    references = load_references(HERE / "odconv_paper.yaml")
    top1 = {(n.variant, n.weights): n.value for n in references.numbers if n.metric == "top1"}
    claims = [claim for _, claim in references.claims]
    assert len(claims) == 3
    for claim in claims:
        assert claim.delta == top1[claim.variant, "1x"] - top1[claim.over, ""]


@pytest.mark.parametrize("name", ["odconv-digits", "odconv-fashion-mnist"])
def test_its_studies_are_sound(name):
    study = load_study(str(HERE / "studies" / f"{name}.yaml"))
    assert {"odconv_resnet20", "resnet20"} <= set(study.labels)
