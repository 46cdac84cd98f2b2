"""A results folder, and its page, for every state of a claim; `check_page` looks at pages in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study_records import COCO, IMAGENET, imagenet_pair, runs_of

from awbench.records import Record, RecordStore
from awbench.reference.load import load_references
from awbench.report.figures import Figure
from awbench.report.page import render_page

_NOISE = (-0.02, 0.0, 0.02, 0.01, -0.01)


def _combined(se: float, cbam: float) -> list[Record]:
    """SE and CBAM on ResNet-101, each with AW, gaining so much."""
    runs = []
    for setting, gain in (("se", se), ("cbam", cbam)):
        runs += runs_of(IMAGENET, f"{setting}_resnet101", [78.0 + noise for noise in _NOISE])
        runs += runs_of(IMAGENET, f"aw_{setting}_resnet101", [78.0 + gain + noise for noise in _NOISE])
    return runs


def _detectors(gain: float) -> list[Record]:
    """Detectors, and in front of them the ImageNet runs of their backbones."""
    plain = [42.0, 42.05, 41.95, 42.0]
    treated = runs_of(COCO, "faster_rcnn_aw_resnet101_fpn", [ap + gain for ap in plain])
    return runs_of(COCO, "faster_rcnn_resnet101_fpn", plain) + treated


def _left_aside() -> list[Record]:
    """Runs that exist and do not count, for reasons of several kinds."""
    return [
        *runs_of(IMAGENET, "aw_resnet101", [79.9], protocol=0),
        *runs_of(IMAGENET, "aw_resnet101", [80.0] * 2, environment={"train_images": 1000}),
        *runs_of(IMAGENET, "resnet101", [70.0], inputs={"initial_weights_sha256": "1" * 64}),
        *runs_of(IMAGENET, "resnet101", [60.0], environment={"study": None}),
        *runs_of(IMAGENET, "resnet101", [77.0], options={"stride_placement": "v1"}),
    ]


STATES = {
    "as-claimed": [*imagenet_pair(1.0, 4), *_combined(0.57, 0.1), *_detectors(0.63)],
    "less": [*imagenet_pair(0.0, 4), *_combined(0.1, 0.0), *_detectors(0.0)],
    "more": [*imagenet_pair(2.0, 4), *_combined(0.57, 1.5), *_detectors(1.5)],
    "loss": [*imagenet_pair(-1.0, 4), *_combined(-0.5, -0.6), *_detectors(-0.5)],
    "undecided": [*imagenet_pair(0.5, 4), *_combined(0.28, 0.28), *_detectors(0.32)],
    "too-early": [*imagenet_pair(1.0, 2), *runs_of(IMAGENET, "se_resnet101", [78.0, 78.1])],
    "left-aside": _left_aside(),
    "left-aside-beside-evidence": [*imagenet_pair(0.8, 4), *_left_aside()],
    "nothing": [],
}


def write_page(folder: Path, state: str, figures: Sequence[Figure] | None = None) -> Path:
    """The page of a state, from records on disk; figures as `render_page` takes them."""
    store = RecordStore(folder / state)
    for record in STATES[state]:
        store.add(record)
    page = folder / f"{state}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_page(store.read(), load_references(), figures))
    return page
