"""Counting and timing the whole grid, with a bar: what `reproduce`, `check` and `lock` have in common."""

from __future__ import annotations

from awbench.cli.common import log, progress
from awbench.cli.latency import timing_progress
from awbench.recipes.defaults import ENGINES
from awbench.records import Record, RecordStore
from awbench.studies import Study
from awbench.variants import STRIDE_PLACEMENTS, ModelOptions, Task, Variant, list_variants

LATENCY_ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
COUNTING_MINUTES = 1  # of the grid and the detectors, on two cores that do nothing else
LATENCY_SECONDS = 10.0  # of timing for each depth; building and warming up add about 7 s each on two cores


def _own(task: Task) -> list[Variant]:
    """The project's own variants: of modules from outside there is nothing to be held to."""
    return [variant for variant in list_variants(task) if variant.is_own]


def count_grid(store: RecordStore, cross_check: bool = True) -> list[Record]:
    """Records of the whole classification grid under both stride placements."""
    from awbench.experiments.counting import record_complexities

    jobs = [
        (variant, ModelOptions(stride_placement=placement))
        for placement in STRIDE_PLACEMENTS
        for variant in _own("classification")
    ]
    counted = record_complexities(store, jobs, cross_check)
    records, measured = [], 0
    for _ in progress(jobs, "complexity", "network"):
        record, new = next(counted)
        records.append(record)
        measured += new
    log(f"complexity: {measured} counted, {len(records) - measured} found in {store.results}")
    return records


def count_study(store: RecordStore, study: Study) -> list[Record]:
    """Records of a study's classifiers, with their options, at the size at which it evaluates them."""
    from awbench.experiments.measurements import record_complexity

    return [
        record_complexity(store, study.variant_of(label), study.options_of(label), study.image_size)[0]
        for label in study.labels
    ]


def count_detectors(store: RecordStore) -> list[Record]:
    """Records of every detector with each engine that is installed, under both stride placements where they differ."""
    from awbench.detection.complexity import DetectorInput
    from awbench.detection.engine import has_detectron2
    from awbench.experiments.measurements import record_detector_complexity

    engines = [engine for engine in ENGINES if engine != "detectron2" or has_detectron2()]
    jobs = [
        (engine, variant, placement)
        for engine in engines
        for placement in STRIDE_PLACEMENTS
        for variant in _own("detection")
        if placement == "v1.5" or variant.architecture.block == "bottleneck"
    ]
    records, measured = [], 0
    for engine, variant, placement in progress(jobs, "complexity of detectors", "network"):
        options = ModelOptions(stride_placement=placement)
        record, new = record_detector_complexity(store, variant, options, engine, DetectorInput())
        records.append(record)
        measured += new
    log(f"detectors ({', '.join(engines)}): {measured} counted, {len(records) - measured} found in {store.results}")
    return records


def time_grid(store: RecordStore) -> list[Record]:
    """Latency of the ImageNet ResNets on the device at hand, a run each depth: as many networks as memory holds."""
    from awbench.experiments.measurements import record_latency
    from awbench.measure.latency import LatencySettings, TimedNetwork
    from awbench.measure.timing import TimingGoal
    from awbench.training.distributed import choose_device

    settings = LatencySettings()
    if choose_device("auto").type == "cuda":
        settings = LatencySettings("cuda", batch_size=64, dtype="bfloat16", layout="channels_last")
    goal, records, measured = TimingGoal(budget=LATENCY_SECONDS), [], 0
    for network in LATENCY_ARCHITECTURES:
        group = [TimedNetwork(each) for each in _own("classification") if each.architecture_name == network]
        with timing_progress(group, goal) as on_progress:
            found, new = record_latency(store, group, settings, goal, None, False, on_progress)
        records += found
        measured += len(found) if new else 0
    log(f"latency: {measured} timed, {len(records) - measured} found in {store.results}")
    return records
