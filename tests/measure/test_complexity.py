from __future__ import annotations

import re

import pytest
import torch
from own_modules import BAD, GOOD

import awbench
from awbench.errors import CounterDisagreement, UserError
from awbench.gate.locked import LOCKED_VALUES, load_locked
from awbench.kernels.strategies import strategies_for
from awbench.measure import complexity, fvcore_counter
from awbench.measure.complexity import measure_complexity, require_agreement
from awbench.modules import registered
from awbench.variants import STRIDE_PLACEMENTS, ModelOptions, list_variants, make_options

GRID = [variant.name for variant in list_variants("classification")]


# The project's METHOD: parameters by arithmetic, and multiply-accumulates in G to four decimals.
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("se_resnet50", 28_088_024),
        ("se_resnet101", 49_326_872),
        ("cbam_resnet50", 28_089_624),
        ("cbam_resnet101", 49_330_172),
        ("aw_resnet50", 25_722_240),
        ("resnext50_32x4d", 25_028_904),
        ("wide_resnet50_2", 68_883_240),
    ],
)
def test_published_parameter_counts(name, params):
    assert measure_complexity(name, ModelOptions()).params == params


@pytest.mark.parametrize(
    ("name", "v15", "v1"),
    [
        ("resnet50", "4.0892", "3.8580"),
        ("se_resnet50", "4.0917", "3.8605"),
        ("cbam_resnet50", "4.0956", "3.8644"),
        ("resnet101", "7.8014", "7.5702"),
        ("se_resnet101", "7.8061", "7.5749"),
        ("cbam_resnet101", "7.8126", "7.5814"),
    ],
)
def test_published_multiply_accumulates_under_both_conventions(name, v15, v1):
    counted = {p: measure_complexity(name, ModelOptions(stride_placement=p)).macs for p in STRIDE_PLACEMENTS}
    assert (f"{counted['v1.5'] / 1e9:.4f}", f"{counted['v1'] / 1e9:.4f}") == (v15, v1)


def test_what_aw_adds_to_resnet50():
    plain, aw = (measure_complexity(name, ModelOptions()) for name in ("resnet50", "aw_resnet50"))
    assert aw.macs - plain.macs == 1_414_656
    assert (aw.aw_kernel_forming, plain.aw_kernel_forming) == (11_317_248, 0)
    assert aw.params - plain.params == 165_208


@pytest.fixture(scope="module")
def locked():
    return {(row.variant, row.stride_placement): row for row in load_locked() if not row.engine}


def test_the_locked_file_covers_the_grid(locked):
    assert set(locked) == {(name, placement) for name in GRID for placement in STRIDE_PLACEMENTS}


@pytest.mark.parametrize("placement", STRIDE_PLACEMENTS)
@pytest.mark.parametrize("name", GRID)
def test_the_code_is_held_to_the_locked_counts(name, placement, locked):
    counted = measure_complexity(name, ModelOptions(stride_placement=placement))
    row = locked[name, placement]
    assert {value: getattr(counted, value) for value in LOCKED_VALUES} == {
        value: getattr(row, value) for value in LOCKED_VALUES
    }
    assert counted.attention_scaling == row.attention_scaling


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if re.search("101|152", name) else ()) for name in GRID]
)
def test_two_independent_counters_agree_to_the_unit(name):
    """The slow ones are more of the blocks of those with 50 layers."""
    counted = measure_complexity(name, ModelOptions(), cross_check=True)
    assert counted.macs_by_counter["torch"] == counted.macs_by_counter["fvcore"] == counted.macs
    assert sum(counted.macs_by_layer.values()) == counted.macs


@pytest.mark.parametrize(
    "aw_options",
    [
        {"expansion": 1},
        {"convolutions": "all"},
        {"reduction": 4, "stages": "4"},
        {"norm": False, "pool_size": "global"},
    ],
)
def test_the_counters_agree_under_other_choices_too(aw_options):
    options = make_options(aw_options=aw_options, num_classes=10)
    counted = measure_complexity("aw_se_resnet50", options, image_size=64, cross_check=True)
    assert counted.macs_by_counter["torch"] == counted.macs_by_counter["fvcore"]


def test_a_disagreement_names_the_layer(monkeypatch):
    def forgets_the_taps(inputs, outputs):
        return 1

    monkeypatch.setattr(fvcore_counter, "_aw_convolution_macs", forgets_the_taps)
    with pytest.raises(CounterDisagreement, match=r"aw_resnet20: layer layer1\.0\.conv1 has 2,359,296 .* and 1 by"):
        measure_complexity("aw_resnet20", ModelOptions(), cross_check=True)


def test_a_layer_only_one_counter_saw_is_a_disagreement():
    with pytest.raises(CounterDisagreement, match="layer fc has 5 .* and 0 by"):
        require_agreement("net", {"conv1": 3, "fc": 5}, {"conv1": 3})


def test_counting_draws_no_random_numbers(monkeypatch):
    """Weights are not counted; drawn, they would take as long as to count them does."""
    seen = []
    monkeypatch.setattr(complexity, "cross_checked", lambda name, counted, model, image: seen.append(model))
    before = torch.get_rng_state()
    measure_complexity("aw_se_resnet20", ModelOptions(), cross_check=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(not parameter.any() or parameter.unique().tolist() == [1] for parameter in seen[0].parameters())


@pytest.mark.parametrize("strategy", strategies_for(torch.device("cpu"), torch.float32))
def test_counts_do_not_depend_on_the_execution_nor_on_the_device(strategy, monkeypatch):
    from awbench.attention import AWConv2d
    from awbench.models import build

    on_meta = measure_complexity("aw_cbam_resnet20", ModelOptions())
    model = build("aw_cbam_resnet20").eval()
    for module in model.modules():
        if isinstance(module, AWConv2d):
            module.strategy = strategy
    on_cpu = complexity.count(model, torch.zeros(1, 3, 32, 32))
    assert vars(on_cpu) == vars(on_meta)


def test_counts_are_per_image_and_scale_with_its_area():
    small, large = (measure_complexity("resnet20", ModelOptions(), size) for size in (32, 64))
    assert large.macs - 640 == 4 * (small.macs - 640)  # all but the classifier's 64 x 10


@pytest.mark.parametrize(("name", "size"), [("resnet50", 0), ("resnet50", -3), ("resnet50", 31), ("aw_resnet20", 3)])
def test_too_small_an_image_says_what_would_do(name, size):
    with pytest.raises(UserError, match=rf"image size {size} is too small for {name}, whose total stride is \d+; use"):
        measure_complexity(name, ModelOptions(), size)


def test_the_smallest_image_is_counted():
    assert measure_complexity("aw_resnet50", ModelOptions(), 32, cross_check=True).macs > 0


def test_what_cannot_be_traced_is_not_silently_left_out():
    """An AW-convolution counts the same whether its module is a leaf or inside a container."""
    from awbench.attention import AWConv2d

    layer = AWConv2d(8, 8, 3, padding=1).eval()
    counted = complexity.count(torch.nn.Sequential(layer), torch.zeros(1, 8, 6, 6))
    assert counted.macs_by_layer["0"] == 8 * 8 * 9 * 36
    assert counted.macs == 8 * 8 * 9 * 36 + 2 * 8 * 9


def test_scaling_is_what_attention_modules_multiply_and_nothing_that_others_do():
    from torchvision.ops import FrozenBatchNorm2d

    from awbench.attention import CBAM, SqueezeExcitation

    elements = 8 * 6 * 6
    for module, products in ((SqueezeExcitation(8), 1), (CBAM(8), 2), (FrozenBatchNorm2d(8), 0)):
        model = torch.nn.Sequential(FrozenBatchNorm2d(8), module).eval()
        assert complexity.count(model, torch.zeros(1, 8, 6, 6)).attention_scaling == products * elements
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Modules of others, in `outside_counted`: one whose operator has no formula, and one whose operator has one."""
    (tmp_path / "outside_counted.py").write_text(
        BAD.split("class Misplaced")[0].replace("awbench_test::double", "awbench_test::uncounted")
        + "\n\n@torch.library.custom_op('awbench_test::mix', mutates_args=())\n"
        "def mix(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:\n"
        "    return torch.nn.functional.conv2d(x, weight)\n\n\n"
        "@mix.register_fake\ndef _(x, weight):\n    return x.new_empty(x.shape[0], weight.shape[0], *x.shape[2:])\n\n\n"
        "@torch.utils.flop_counter.register_flop_formula(torch.ops.awbench_test.mix)\n"
        "def _(x_shape, weight_shape, *args, out_shape=None, **kwargs):\n"
        "    return 2 * x_shape[0] * weight_shape[0] * weight_shape[1] * x_shape[2] * x_shape[3]\n\n\n"
        "class Mixes(nn.Module):\n    def __init__(self, channels):\n        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.zeros(channels, channels, 1, 1))\n\n"
        "    def forward(self, x):\n        return mix(x, self.weight)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with registered(["outside_counted:Uncounted", "outside_counted:Mixes"]):
        yield


def test_an_operator_that_nobody_counts_is_named(outside):
    with pytest.raises(UserError, match="operator awbench_test::uncounted has no formula"):
        measure_complexity("uncounted_resnet20", ModelOptions())


def test_both_counters_count_an_operator_with_a_formula(outside):
    counted = measure_complexity("mixes_resnet20", ModelOptions(), cross_check=True)
    plain = measure_complexity("resnet20", ModelOptions())
    added = 3 * (16 * 16 * 32**2 + 32 * 32 * 16**2 + 64 * 64 * 8**2)
    assert counted.macs - plain.macs == added
    assert counted.macs_by_counter == {"torch": counted.macs, "fvcore": counted.macs}


def test_products_in_place_of_a_convolution_are_elementwise_work(tmp_path, monkeypatch):
    (tmp_path / "outside_scaled.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    with registered(["outside_scaled:Dynamic"]):
        counted = measure_complexity("dyn_resnet20", ModelOptions())
    outputs = 6 * 16 * 32**2 + 6 * 32 * 16**2 + 6 * 64 * 8**2  # of the convolutions of the blocks
    assert (counted.attention_scaling, counted.aw_kernel_forming) == (outputs, 0)


def test_fvcore_counts_aw_convolutions_in_a_script_of_ones_own():
    from fvcore.nn import FlopCountAnalysis

    network = awbench.build("aw_resnet20").eval()
    analysis = FlopCountAnalysis(network, torch.zeros(1, 3, 32, 32)).set_op_handle(**awbench.fvcore_handles())
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    found = analysis.by_operator()
    counted = measure_complexity("aw_resnet20", ModelOptions())
    assert found["conv"] + found["linear"] + found["aw_convolution"] == counted.macs == 40_583_728
