"""From a measurement to its record: found if it was made before with the same inputs, else made now."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import torch

from awbench.errors import UserError
from awbench.kernels.geometry import tf32
from awbench.measure.complexity import Complexity, check_image_size, measure_complexity
from awbench.measure.intervals import Interval
from awbench.measure.latency import (
    NETWORK,
    Latency,
    LatencyRun,
    LatencySettings,
    TimedNetwork,
    measure_latency,
    with_plain,
)
from awbench.measure.timing import OnProgress, TimingGoal, ignore_progress
from awbench.records import Quantity, Record, RecordStore, measurement_key
from awbench.records.clock import now
from awbench.records.environment import (
    begin,
    complexity_source_digest,
    cpu_name,
    environment,
    latency_source_digest,
    package_version,
)
from awbench.variants import ModelOptions, Variant, describe_options, list_variants, parse_variant

if TYPE_CHECKING:
    from awbench.detection.complexity import DetectorInput


def record_complexity(
    store: RecordStore,
    variant: Variant,
    options: ModelOptions,
    image_size: int | None = None,
    cross_check: bool = False,
    force: bool = False,
    measure: Callable[[], Complexity] | None = None,
) -> tuple[Record, bool]:
    """Count a variant, or find its record.

    Args:
        store: where records are kept.
        variant, options, image_size, cross_check: as in `awbench.measure.complexity.measure_complexity`.
        force: measure even if a record with the same inputs exists.
        measure: gives the counts where there is no record, if they are not made here.

    Returns:
        (record, whether it was measured now).

    Raises:
        UserError, CounterDisagreement: as `measure_complexity`.
        BrokenRecordError: a record of the same inputs is broken.
    """
    size = check_image_size(variant, image_size)
    if not cross_check and not force:  # a cross-checked record of the same network says the same, and more
        found = _find(store, _complexity_identity(variant, options, size, cross_check=True))
        if found is not None:
            return found, False
    measure = measure or functools.partial(measure_complexity, variant.name, options, size, cross_check)
    identity = _complexity_identity(variant, options, size, cross_check)
    return _found_or_measured(store, identity, lambda: _complexity_values(measure()), force)


def has_complexity(store: RecordStore, variant: Variant, options: ModelOptions, cross_check: bool) -> bool:
    """Whether `record_complexity` would find a record, at the network's own image size.

    Raises:
        BrokenRecordError: as it.
    """
    size = check_image_size(variant, None)
    enough = {True, cross_check}
    return any(_find(store, _complexity_identity(variant, options, size, checked)) is not None for checked in enough)


def _complexity_identity(variant: Variant, options: ModelOptions, size: int, cross_check: bool) -> dict[str, Any]:
    return {
        "kind": "complexity",
        "variant": variant.name,
        "options": describe_options(variant, options),
        "settings": {"image_size": size, "cross_check": cross_check},
        "inputs": _counting_inputs(variant, cross_check),
    }


def record_detector_complexity(
    store: RecordStore,
    variant: Variant,
    options: ModelOptions,
    engine_name: str,
    at: DetectorInput,
    cross_check: bool = False,
    force: bool = False,
) -> tuple[Record, bool]:
    """Count a detector, or find its record.

    Args:
        engine_name: which library's Faster R-CNN.
        at: image size and number of proposals.
        other arguments: as `record_complexity`.

    Returns:
        (record, whether it was measured now).

    Raises:
        UserError: the engine is not installed, or as `record_complexity`.
    """
    from awbench.detection.complexity import COCO_IDS, measure_detector_complexity
    from awbench.detection.engine import find_engine

    engine = find_engine(engine_name)
    if options.num_classes is not None:
        raise UserError(f"num_classes is {options.num_classes}; a detector is counted for COCO's categories")
    identity = {
        "kind": "complexity",
        "variant": variant.name,
        "options": describe_options(variant, replace(options, num_classes=len(COCO_IDS))),
        "settings": {
            "engine": engine.name,
            "image_size": [at.height, at.width],
            "proposals": at.proposals,
            "cross_check": cross_check,
        },
        "inputs": _counting_inputs(variant, cross_check) | {"engine_version": engine.version()},
    }

    def measure() -> dict[str, Quantity]:
        measured = measure_detector_complexity(variant, options, engine, at, cross_check)
        trainable = Quantity(value=measured.trainable_params, unit="parameters")
        return {**_complexity_values(measured.complexity), "trainable_params": trainable}

    return _found_or_measured(store, identity, measure, force)


def _counting_inputs(variant: Variant, cross_check: bool) -> dict[str, str]:
    return {
        "source_sha256": complexity_source_digest(),
        "torch": package_version("torch"),
        "fvcore": package_version("fvcore") if cross_check else "not used",
        **variant.inputs,
    }


def record_latency(
    store: RecordStore,
    networks: Sequence[TimedNetwork],
    settings: LatencySettings,
    goal: TimingGoal,
    engine_name: str | None = None,
    force: bool = True,
    on_progress: OnProgress = ignore_progress,
) -> tuple[list[Record], bool]:
    """Time networks side by side, a record each; or find the records of one earlier run of all of them.

    Args:
        networks: all classifiers, or all detectors; plain ones are added.
        engine_name: of detectors.
        force: measure even if there is such a run.
        on_progress: see `awbench.measure.timing.interleave`.

    Returns:
        (the records, whether they were measured now). Records of one run have the same `environment["run"]`.

    Raises:
        UserError: as `awbench.measure.latency.measure_latency`.
    """
    together, engine = with_plain(networks), None
    inputs = {"source_sha256": latency_source_digest(), "torch": package_version("torch")}
    if together[0].variant.task == "detection":
        from awbench.detection.engine import find_engine

        engine = find_engine(engine_name)
        inputs["engine_version"] = engine.version()

    def identity(network: TimedNetwork, in_force: LatencySettings) -> dict[str, Any]:
        variant, options = network.variant, network.options
        return {
            "kind": "latency",
            "variant": variant.name,
            "options": describe_options(variant, replace(options, num_classes=80) if engine else options),  # COCO's
            "settings": _latency_settings(variant, in_force, engine.name if engine else None),
            "inputs": {**inputs, **variant.inputs},
        }

    if not force:
        found = _records_of_one_run(store, [identity(network, settings) for network in together])
        if found:
            return found, False
    started, where = begin(), {"run": secrets.token_hex(6)}
    if engine:
        from awbench.detection.latency import measure_detector_latency

        measured = measure_detector_latency(together, engine, settings, goal, on_progress)
    else:
        measured = measure_latency(together, settings, goal, on_progress)
    records = [
        new_record(
            identity(latency.network, measured.settings),
            started,
            _latency_values(latency, measured),
            measured.notes,
            {**where, "label": latency.network.name},
        )
        for latency in measured.latencies
    ]
    for record in records:
        store.add(record)
    return records, True


def _records_of_one_run(store: RecordStore, identities: list[dict[str, Any]]) -> list[Record]:
    """The newest record of each, if all are of one run; else none."""
    records = [record for identity in identities if (record := _find(store, identity))]
    runs = {record.environment["run"] for record in records}
    return records if len(records) == len(identities) and len(runs) == 1 else []


def _latency_settings(variant: Variant, settings: LatencySettings, engine: str | None) -> dict[str, Any]:
    cuda = settings.device == "cuda"
    described: dict[str, Any] = {
        **asdict(settings),
        "device_name": torch.cuda.get_device_name() if cuda else cpu_name(),
        "over": variant.plain,
    }
    if engine:
        described |= {"engine": engine, "image_size": "640x480"}
    else:
        described["image_size"] = settings.image_size or variant.architecture.image_size
    if cuda:
        described["tf32"] = tf32()[0]
    else:
        described["threads"] = torch.get_num_threads()
    return described


def _latency_values(latency: Latency, run: LatencyRun) -> dict[str, Quantity]:
    timing, batch = latency.timing, run.settings.batch_size
    values: dict[str, Quantity] = {}
    for stage, interval in timing.stages.items():
        values |= interval_values("latency_ms" if stage == NETWORK else f"{stage}_ms", interval, "ms", scale=1e3)
    values["images_per_s"] = Quantity(value=batch / timing.stages[NETWORK].value, unit="images/s")
    values["spread"] = Quantity(value=timing.spread, unit="interquartile range / median")
    values["rounds"] = Quantity(value=timing.rounds, unit="calls")
    values["harness_overhead_ms"] = Quantity(value=run.overhead * 1e3, unit="ms")
    if latency.peak_memory_bytes is not None:
        values["peak_memory_bytes"] = Quantity(value=latency.peak_memory_bytes, unit="bytes")
    ratio = timing.ratio or Interval(1.0, 1.0, 1.0)  # a plain network over itself
    return values | interval_values("ratio_to_plain", ratio, "of the plain network's latency")


def interval_values(name: str, interval: Interval, unit: str, scale: float = 1.0) -> dict[str, Quantity]:
    """An estimate and its interval as a record's values: `name`, `name`_low and `name`_high."""
    numbers = {"": interval.value, "_low": interval.low, "_high": interval.high}
    return {f"{name}{end}": Quantity(value=number * scale, unit=unit) for end, number in numbers.items()}


def _complexity_values(complexity: Complexity) -> dict[str, Quantity]:
    values = {
        "params": Quantity(value=complexity.params, unit="parameters"),
        "macs": Quantity(value=complexity.macs, unit="MAC"),
        "aw_kernel_forming": Quantity(value=complexity.aw_kernel_forming, unit="multiplications"),
        "attention_scaling": Quantity(value=complexity.attention_scaling, unit="multiplications"),
        "activations": Quantity(value=complexity.activations, unit="elements"),
    }
    for counter, macs in complexity.macs_by_counter.items():
        values[f"macs_by_counter.{counter}"] = Quantity(value=macs, unit="MAC")
    for kind, elements in complexity.elements.items():
        values[f"elements.{kind}"] = Quantity(value=elements, unit="elements")
    return values


def _find(store: RecordStore, identity: dict[str, Any]) -> Record | None:
    return store.find(identity["kind"], identity["variant"], measurement_key(**identity))


def _found_or_measured(
    store: RecordStore, identity: dict[str, Any], measure: Callable[[], dict[str, Quantity]], force: bool
) -> tuple[Record, bool]:
    found = None if force else _find(store, identity)
    if found is not None:
        return found, False
    started = begin()
    record = new_record(identity, started, measure())
    store.add(record)
    return record, True


def module_descriptions(variant: str) -> dict[str, Any]:
    """What the environment of a record says of the modules from outside that its variant has; nothing without any."""
    known = parse_variant(variant).modules if variant in {one.name for one in list_variants()} else ()
    found = {module.name: module.description for module in known if module.is_external}
    return {"modules": found} if found else {}


def new_record(
    identity: dict[str, Any],
    started: str,
    values: dict[str, Quantity],
    notes: Sequence[str] = (),
    where: dict[str, Any] | None = None,
) -> Record:
    """A record of a measurement that ends now.

    Args:
        identity: kind, variant, options, settings and inputs.
        where: more of the environment than every record has.
    """
    return Record(
        **identity,
        values=values,
        notes=list(notes),
        environment={**environment(), **module_descriptions(identity["variant"]), **(where or {})},
        started=started,
        finished=now(),
    )
