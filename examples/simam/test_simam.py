"""SimAM held to its equation, one neuron at a time, and to its one claim that can be counted."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from simam import SimAM

from awbench.measure.complexity import measure_complexity
from awbench.modules import registered
from awbench.reference.load import load_references
from awbench.studies import load_study
from awbench.variants import ModelOptions

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def known():
    with registered(["simam:SimAM"]):
        yield


def test_each_neuron_is_scaled_by_its_own_energy():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = SimAM(3, e_lambda=0.01)(x)
    for n in range(2):
        for c in range(3):
            neurons = x[n, c].flatten().tolist()
            mean = sum(neurons) / 20
            variance = sum((t - mean) ** 2 for t in neurons) / 19
            for t, scaled in zip(neurons, out[n, c].flatten().tolist(), strict=True):
                energy = 4 * (variance + 0.01) / ((t - mean) ** 2 + 2 * variance + 2 * 0.01)
                assert scaled == pytest.approx(t / (1 + math.exp(-1 / energy)), rel=1e-12)


@pytest.mark.parametrize("network", ["resnet18", "resnet50", "resnet101"])
def test_it_is_free_of_parameters_and_of_multiply_accumulates(network):
    counted, plain = (measure_complexity(name, ModelOptions()) for name in (f"simam_{network}", network))
    assert (counted.params, counted.macs) == (plain.params, plain.macs)
    assert counted.attention_scaling > 0  # elementwise it is not free


def test_both_counters_agree():
    counted = measure_complexity("simam_resnet20", ModelOptions(), cross_check=True)
    assert set(counted.macs_by_counter) == {"torch", "fvcore"}


def test_its_published_numbers_stand_beside_the_projects():
    references = load_references(added=[HERE / "simam_paper.yaml"])
    found = {n.variant: n.value for n in references.numbers if n.source == "simam_example" and n.metric == "box_ap"}
    assert [float(value) for value in found.values()] == [39.2, 41.2]
    assert len(references.sources) == len(load_references().sources) + 1


@pytest.mark.parametrize("name", ["simam-digits", "simam-fashion-mnist"])
def test_its_studies_are_sound(name):
    study = load_study(str(HERE / "studies" / f"{name}.yaml"))
    assert {"simam_resnet20", "resnet20"} <= set(study.labels)
