"""Latency of detectors per image: data, network and post-processing apart."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from awbench.attention.aw_convolution import set_strategy
from awbench.data.coco import DetectionImage
from awbench.data.datasets import ArrayImages
from awbench.data.detection_views import DetectionSample, DetectionView
from awbench.data.digits_detection import draw
from awbench.data.opening import open_split
from awbench.data.pixels import IMAGENET_RGB
from awbench.detection.complexity import COCO_IDS
from awbench.detection.engine import Detector, Engine, fix_proposals
from awbench.errors import UserError
from awbench.measure.latency import (
    LAYOUTS,
    NETWORK,
    LatencyRun,
    LatencySettings,
    Prepared,
    TimedNetwork,
    check_settings,
    peak_memory,
    side_by_side,
)
from awbench.measure.timing import Case, OnProgress, TimingGoal, ignore_progress

DATA, POST_PROCESSING = "data", "post_processing"
SHORTER_SIDE, LONGEST_SIDE = 800, 1333  # Detectron2's and torchvision's, for evaluation
_IMAGES, _WIDTH, _HEIGHT = 8, 640, 480  # COCO's most frequent size


def measure_detector_latency(
    networks: Sequence[TimedNetwork],
    engine: Engine,
    settings: LatencySettings,
    goal: TimingGoal,
    on_progress: OnProgress = ignore_progress,
) -> LatencyRun:
    """Time detectors side by side on made JPEG images of 640x480, one image a call, with random weights.

    data: read, decoded and resized to a shorter side of 800 pixels. network: from the pixels to boxes, classes and
    scores on the device, non-maximum suppression included. post_processing: boxes to the file's size, and to the CPU.
    Detectron2's own evaluation loop times the same stages. The weights are random, so the proposals
    are fixed: each box head gets the same 1,000 regions, and no network is faster because its own are fewer or smaller.
    Hardly any box scores enough to be kept, so post-processing is at its least.

    Raises:
        UserError: as `awbench.measure.latency.check_settings`, or a setting that detectors do not have.
    """
    check_settings(settings)
    unsupported = {
        "batch size": (settings.batch_size, 1),
        "dtype": (settings.dtype, "float32"),
        "compile": (settings.compile, False),
        "CUDA graph": (settings.cuda_graph, False),
        "image size": (settings.image_size, None),
    }
    for name, (given, only) in unsupported.items():
        if given != only:
            raise UserError(f"{name} {given} is not possible for detectors, which are timed per image as they are")

    with _image_files() as images:
        view = DetectionView(images, (SHORTER_SIDE,), LONGEST_SIDE)

        def prepare(network: TimedNetwork, now: LatencySettings) -> Prepared:
            return _prepare(network, engine, now, view)

        return side_by_side(networks, settings, goal, prepare, on_progress)


def _prepare(network: TimedNetwork, engine: Engine, settings: LatencySettings, view: DetectionView) -> Prepared:
    detector = Detector(network.variant, network.options, COCO_IDS, IMAGENET_RGB)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, _ = engine.build(detector)
    fix_proposals(engine, model)
    set_strategy(model, settings.aw_strategy)
    model = model.eval().to(settings.device).to(memory_format=LAYOUTS[settings.layout])

    def read(index: int) -> DetectionSample:
        sample = view[0, index]
        assert isinstance(sample, DetectionSample), "bad images are not skipped"
        return sample

    def run(sample: DetectionSample) -> tuple[Any, DetectionSample]:
        return engine.infer(model, detector, [sample]), sample

    def finish(found: tuple[Any, DetectionSample]) -> object:
        return engine.post_process(found[0], detector, [found[1]])

    first = read(0)
    indices: Iterator[int] = itertools.cycle(range(len(view)))
    stages: dict[str, Callable[[Any], Any]] = {DATA: read, NETWORK: run, POST_PROCESSING: finish}
    case = Case(network.name, indices.__next__, stages, NETWORK, network.variant.plain)
    return Prepared(case, peak_memory(model, first.image.to(settings.device), lambda: run(first)))


@contextmanager
def _image_files() -> Iterator[list[DetectionImage]]:
    """Digits to detect as JPEG files, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="awbench-") as folder:
        digits, images = open_split("digits", None, "val").images, []
        assert isinstance(digits, ArrayImages)
        for index in range(_IMAGES):
            path = Path(folder, f"{index}.jpg")
            pixels, _ = draw(np.random.default_rng(index), digits, _WIDTH, _HEIGHT)
            Image.fromarray(pixels).save(path, quality=90)
            nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
            images.append(DetectionImage(index, path, _WIDTH, _HEIGHT, *nothing))
        yield images
