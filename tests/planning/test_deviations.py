"""How far runs lie apart: given, own, published, in this order."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from scipy.stats import chi2
from study_records import COCO, IMAGENET, as_records, runs_of

from awbench.planning.deviations import deviations_of
from awbench.records import Records
from awbench.reference.load import load_references
from awbench.reference.run_to_run import RunToRun
from awbench.verdicts.evidence import gather_evidence

OURS = load_references()


def found(records=None, study=IMAGENET, references=OURS, **given):
    return deviations_of(gather_evidence(study, records or Records()), references, given)


def row(**changes):
    stated = {"what": "runs", "unit": "percent", "provenance": "primary", "url": "https://example.org"}
    return RunToRun(**{"of": "training", "metric": "top1", "dataset": "ImageNet-1k val", **stated, **changes})


def rows(*entries):
    return SimpleNamespace(run_to_run=list(entries))


def test_published_ones_have_their_uncertainty():
    top1, ap = found(), found(study=COCO)
    assert 0.05 < top1.low < top1.middle < top1.high <= 0.2 and 0.08 <= top1.middle <= 0.12
    assert 0.05 < ap.low < ap.middle < ap.high <= 0.3
    assert list(top1.values) == ["low", "middle", "high"]


def test_three_reruns_do_not_count_but_many_published_rows_do():
    """torchvision's three reruns deviate by 0.26, all below the published value."""
    triple = row(reruns=[75.878, 75.382, 75.490], published=76.13)
    assert found(references=rows(triple)) is None
    many = [row(deviation=value, runs=5) for value in (0.05, 0.07, 0.3)]
    other = [row(deviation=9.0, runs=50, metric="top5"), row(deviation=9.0, runs=50, of="evaluation")]
    other.append(row(deviation=8.0, runs=50, no_estimate="of several recipes"))
    counted = found(references=rows(triple, *many, *other))
    assert (counted.low, counted.middle, counted.high) == (0.05, 0.07, 0.3)


def test_of_what_nobody_published_nothing_is_known():
    top5 = IMAGENET.model_copy(update={"metric": "top5"})
    assert found(study=top5) is None
    assert found(study=top5, top5=0.2).values == {"middle": 0.2}


def test_own_runs_are_pooled_within_networks():
    records = as_records(
        runs_of(IMAGENET, "resnet101", [77.0, 77.2]), runs_of(IMAGENET, "aw_resnet101", [78.0, 78.1, 78.5])
    )
    squares = 2 * 0.1**2 + (0.2**2 + 0.1**2 + 0.3**2)
    own = found(records)
    assert own.middle == pytest.approx(math.sqrt(squares / 3))
    assert own.low == pytest.approx(math.sqrt(squares / chi2.ppf(0.9, 3)))
    assert own.high == pytest.approx(math.sqrt(squares / chi2.ppf(0.1, 3)))
    assert "5 runs of this study, 3 degrees of freedom" in own.origin
    assert found(records, top1=0.3).middle == 0.3  # what is given comes first


def test_equal_runs_deviate_by_the_resolution():
    assert found(as_records(runs_of(IMAGENET, "resnet101", [77.0, 77.0]))).middle == 100 / 50_000
