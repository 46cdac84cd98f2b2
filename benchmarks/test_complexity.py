"""How long counting takes: a network on `meta`, and the same with fvcore's cross-check on real tensors."""

from __future__ import annotations

import pytest

from awbench.measure.complexity import measure_complexity
from awbench.variants import ModelOptions


@pytest.mark.benchmark(group="count a network")
@pytest.mark.parametrize("cross_check", [False, True], ids=["meta", "cross-check"])
@pytest.mark.parametrize("name", ["resnet50", "aw_resnet50", "aw_cbam_resnet152"])
def test_count(benchmark, name, cross_check):
    counted = benchmark.pedantic(
        measure_complexity, args=(name, ModelOptions(), None, cross_check), rounds=3, warmup_rounds=1
    )
    assert counted.macs > 10**9
