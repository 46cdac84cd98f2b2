"""From a measurement to its record: found if it was made before with the same inputs, else made now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from awbench.errors import UserError
from awbench.records import Quantity, Record, RecordStore, measurement_key
from awbench.records.environment import complexity_source_digest, environment, package_version
from awbench.variants import ModelOptions, Variant, describe_options

if TYPE_CHECKING:
    from awbench.detection.complexity import DetectorInput
    from awbench.measure.complexity import Complexity


def record_complexity(
    store: RecordStore,
    variant: Variant,
    options: ModelOptions,
    image_size: int | None = None,
    cross_check: bool = False,
    force: bool = False,
) -> tuple[Record, bool]:
    """Count a variant, or find its record.

    Args:
        store: where records are kept.
        variant, options, image_size, cross_check: as in `awbench.measure.complexity.measure_complexity`.
        force: measure even if a record with the same inputs exists.

    Returns:
        (record, whether it was measured now).

    Raises:
        UserError, CounterDisagreement: as `measure_complexity`.
        BrokenRecordError: a record of the same inputs is broken.
    """
    from awbench.measure.complexity import check_image_size, measure_complexity

    size = check_image_size(variant, image_size)

    def measure() -> dict[str, Quantity]:
        return _complexity_values(measure_complexity(variant.name, options, size, cross_check))

    return _record(
        store,
        kind="complexity",
        variant=variant,
        options=describe_options(variant, options),
        settings={"image_size": size, "cross_check": cross_check},
        inputs={
            "source_sha256": complexity_source_digest(),
            "torch": package_version("torch"),
            "fvcore": package_version("fvcore") if cross_check else "not used",
        },
        measure=measure,
        force=force,
    )


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

    def measure() -> dict[str, Quantity]:
        measured = measure_detector_complexity(variant, options, engine, at, cross_check)
        trainable = Quantity(value=measured.trainable_params, unit="parameters")
        return {**_complexity_values(measured.complexity), "trainable_params": trainable}

    return _record(
        store,
        kind="complexity",
        variant=variant,
        options=describe_options(variant, replace(options, num_classes=len(COCO_IDS))),
        settings={
            "engine": engine.name,
            "image_size": [at.height, at.width],
            "proposals": at.proposals,
            "cross_check": cross_check,
        },
        inputs={
            "source_sha256": complexity_source_digest(),
            "engine_version": engine.version(),
            "torch": package_version("torch"),
            "fvcore": package_version("fvcore") if cross_check else "not used",
        },
        measure=measure,
        force=force,
    )


def _complexity_values(complexity: Complexity) -> dict[str, Quantity]:
    values = {
        "params": Quantity(value=complexity.params, unit="parameters"),
        "macs": Quantity(value=complexity.macs, unit="MAC"),
        "aw_kernel_forming": Quantity(value=complexity.aw_kernel_forming, unit="multiplications"),
        "activations": Quantity(value=complexity.activations, unit="elements"),
    }
    for counter, macs in complexity.macs_by_counter.items():
        values[f"macs_by_counter.{counter}"] = Quantity(value=macs, unit="MAC")
    for kind, elements in complexity.elements.items():
        values[f"elements.{kind}"] = Quantity(value=elements, unit="elements")
    return values


def _record(
    store: RecordStore,
    *,
    kind: str,
    variant: Variant,
    options: dict[str, Any],
    settings: dict[str, Any],
    inputs: dict[str, str],
    measure: Callable[[], dict[str, Quantity]],
    force: bool,
) -> tuple[Record, bool]:
    if not force:
        key = measurement_key(kind, variant.name, options, settings, inputs)
        found = store.find(kind, variant.name, key)
        if found is not None:
            return found, False
    started = now()
    values = measure()
    record = Record(
        kind=kind,
        variant=variant.name,
        options=options,
        settings=settings,
        inputs=inputs,
        values=values,
        environment=environment(),
        started=started,
        finished=now(),
    )
    store.add(record)
    return record, True


def now() -> str:
    """UTC, ISO 8601 to the microsecond."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
