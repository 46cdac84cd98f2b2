"""Published complexity beside measured: under the published convention, to the last printed digit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

from awbench.records import Record
from awbench.records.environment import complexity_source_digest
from awbench.reference.load import ReferenceNumber
from awbench.reference.source import ComplexityConvention, Layer
from awbench.variants import ModelOptions, describe_options, list_variants, parse_variant

EQUAL = "equal to all printed digits"
UNKNOWN = "unknown"
NOT_MEASURED = "not measured"

# Sets of counted layers that tools in the field use; tried when a number is not met under its stated convention.
# mmcv's counter: mmcv/cnn/utils/flops_counter.py of open-mmlab/mmcv.
KNOWN_LAYER_SETS: dict[str, dict[Layer, int]] = {
    "conv + linear": {"convolution": 1, "linear": 1},
    "conv + linear + pooling": {"convolution": 1, "linear": 1, "pooling": 1},
    "what mmcv counts": {
        "convolution": 1, "linear": 1, "convolution_bias": 1, "normalisation": 2, "activation": 1, "pooling": 1,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """The values of a complexity record by name, and the record's key."""

    values: Mapping[str, int]
    record: str = ""

    def operations(self, layers: Mapping[Layer, int], operation: str) -> int:
        """Operations of one forward pass under a convention; see `ComplexityConvention`."""
        total = layers["convolution"] * self.values["macs"] * (2 if operation == "flop" else 1)
        for layer, weight in layers.items():
            if layer not in ("convolution", "linear"):
                total += weight * self.values[f"elements.{layer}"]
        return total


@dataclass(frozen=True)
class Setting:
    """What a network is counted at: pixels a side, or (height, width) and more for a detector."""

    stride_placement: str
    image_size: int | tuple[int, int]
    engine: str = ""
    proposals: int = 0


class ComplexityIndex:
    """Complexity records of the grid with default options: those of the present source before others, the newest first.

    Records of networks that this version does not know (another branch's, say) stand for nothing here.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        present = complexity_source_digest()
        known = {variant.name for variant in list_variants()}
        self._by_setting: dict[tuple[str, Setting], Measured] = {}
        self._detectors: dict[tuple[str, str], Measured] = {}
        for record in sorted(records, key=lambda r: (r.inputs.get("source_sha256") == present, r.finished)):
            if record.variant not in known or record.options != _default_options(record):
                continue
            measured = Measured({name: int(quantity.value) for name, quantity in record.values.items()}, record.key)
            size, engine = record.settings["image_size"], record.settings.get("engine", "")
            setting = Setting(
                record.options["stride_placement"],
                (size[0], size[1]) if isinstance(size, list) else size,
                engine,
                record.settings.get("proposals", 0),
            )
            self._by_setting[record.variant, setting] = measured
            if engine:
                self._detectors[record.variant, engine] = measured

    def get(self, variant: str, stride_placement: str, image_size: int) -> Measured | None:
        """A classifier's counts."""
        return self._by_setting.get((variant, Setting(stride_placement, image_size)))

    def get_detector(self, variant: str, setting: Setting) -> Measured | None:
        return self._by_setting.get((variant, setting))

    def parameters_of(self, variant: str, engine: str) -> Measured | None:
        """A detector's counts at any image size: its parameters do not depend on it."""
        return self._detectors.get((variant, engine))


def _default_options(record: Record) -> dict[str, Any]:
    variant = parse_variant(record.variant)
    # Detectors are counted for COCO's categories.
    options = ModelOptions(
        stride_placement=record.options["stride_placement"], num_classes=80 if variant.task == "detection" else None
    )
    return describe_options(variant, options)


@dataclass(frozen=True)
class Comparison:
    """One published number and what was measured under its convention.

    Attributes:
        number: None for a network whose number nobody published, or nobody here could read.
        measured: in base units (parameters, MAC), or None.
        verdict: "equal to all printed digits", "differs by x %", "unknown" or "not measured: needs ...".
        note: why sources disagree, as far as it was reproduced.
        record: key of the record that holds the measurement, or "".
    """

    variant: str
    metric: str
    number: ReferenceNumber | None
    measured: int | None
    verdict: str
    note: str = ""
    record: str = ""

    @property
    def difference(self) -> Decimal | None:
        """measured - published, in the published unit."""
        if self.number is None or self.measured is None:
            return None
        return Decimal(self.measured) / self.number.base_units - self.number.value


def equal_to_printed_digits(measured: int, published: Decimal, base_units: int) -> bool:
    """Whether `measured`, in `base_units`, rounds to exactly the digits printed (ties either way)."""
    digits = Decimal(1).scaleb(int(published.as_tuple().exponent))
    exact = Decimal(measured) / base_units
    return published in (exact.quantize(digits, rounding) for rounding in (ROUND_HALF_EVEN, ROUND_HALF_UP))


def compare_complexity(numbers: list[ReferenceNumber], records: Iterable[Record]) -> list[Comparison]:
    """Every published complexity number beside its measurement, then the variants nobody published.

    Args:
        numbers: of kind "complexity".
        records: of kind "complexity".
    """
    index = ComplexityIndex(records)
    comparisons = [_compare(number, numbers, index) for number in numbers]
    published = {(number.variant, number.metric) for number in numbers}
    for variant in list_variants("classification"):
        for metric in ("params", "macs"):
            if (variant.name, metric) not in published:
                measured = index.get(variant.name, "v1.5", variant.architecture.image_size)
                value = measured.values[metric] if measured else None
                verdict = UNKNOWN if measured else _needs_counting(variant.name)
                record = measured.record if measured else ""
                comparisons.append(Comparison(variant.name, metric, None, value, verdict, record=record))
    order = {variant.name: position for position, variant in enumerate(list_variants())}
    return sorted(comparisons, key=lambda c: (order.get(c.variant, len(order)), c.metric != "params"))


def _compare(number: ReferenceNumber, numbers: list[ReferenceNumber], index: ComplexityIndex) -> Comparison:
    measured = measure_under(number, number.convention, index)
    notes = [number.note] if number.note else []
    if measured is None:
        if number.metric == "macs" and number.convention.stride_placement == "unknown":
            notes.append(_other_conventions(number, index))
        return Comparison(number.variant, number.metric, number, None, _needs(number), "; ".join(notes))
    verdict = _verdict(measured, number)
    if number.metric == "macs":
        if verdict != EQUAL:
            notes.append(_other_conventions(number, index))
        notes += _disagreements(number, numbers, index)
    network = _find(number, number.convention, index)
    assert network is not None, "it was measured"
    return Comparison(number.variant, number.metric, number, measured, verdict, "; ".join(notes), network.record)


def measure_under(number: ReferenceNumber, convention: ComplexityConvention, index: ComplexityIndex) -> int | None:
    """What the number's network costs under `convention`, in base units; None where it was not measured."""
    measured = _find(number, convention, index)
    if measured is None:
        return None
    if number.metric == "macs":
        if convention.stride_placement == "unknown":
            return None
        return measured.operations(convention.layers, convention.operation)
    return measured.values.get(number.metric)


def _find(number: ReferenceNumber, convention: ComplexityConvention, index: ComplexityIndex) -> Measured | None:
    """The counts of the number's network under a convention."""
    if number.network:
        return None
    if parse_variant(number.variant).task == "detection":
        return _measured_detector(number, convention, index)
    if not isinstance(convention.image_size, int):
        return None
    # Parameters do not depend on where the stride is.
    placement = "v1.5" if convention.stride_placement == "unknown" else convention.stride_placement
    return index.get(number.variant, placement, convention.image_size)


def _measured_detector(
    number: ReferenceNumber, convention: ComplexityConvention, index: ComplexityIndex
) -> Measured | None:
    if number.metric != "macs":
        return index.parameters_of(number.variant, convention.engine)
    size = convention.image_size
    if not isinstance(size, int):
        return None
    setting = Setting(convention.stride_placement, (size, size), convention.engine, convention.proposals)
    return index.get_detector(number.variant, setting)


def _verdict(measured: int, number: ReferenceNumber) -> str:
    if equal_to_printed_digits(measured, number.value, number.base_units):
        return EQUAL
    relative = (Decimal(measured) / number.base_units - number.value) / number.value * 100
    return f"differs by {relative:{'+.2f' if abs(relative) >= Decimal('0.01') else '+.1e'}} %"


def _needs_counting(variant: str) -> str:
    return f"{NOT_MEASURED}: needs 'awbench complexity {variant}'"


def _needs(number: ReferenceNumber) -> str:
    if number.network:
        return f"{NOT_MEASURED}: needs {number.network}"
    convention = number.convention
    if parse_variant(number.variant).task == "detection":
        command = f"awbench complexity {number.variant} --engine {convention.engine}"
        if number.metric == "macs":
            command += f" --image-size {convention.image_size} --proposals {convention.proposals}"
        engine = " and Detectron2 (make detectron2)" if convention.engine == "detectron2" else ""
        return f"{NOT_MEASURED}: needs '{command}'{engine}"
    if convention.stride_placement == "unknown" or convention.image_size == "unknown":
        return f"{NOT_MEASURED}: needs the source's stride placement and image size, which are unknown"
    variant = parse_variant(number.variant)
    command = f"awbench complexity {number.variant}"
    if convention.stride_placement != "v1.5":
        command += f" --stride-placement {convention.stride_placement}"
    if convention.image_size != variant.architecture.image_size:
        command += f" --image-size {convention.image_size}"
    return f"{NOT_MEASURED}: needs '{command}'"


def _other_conventions(number: ReferenceNumber, index: ComplexityIndex) -> str:
    """Under which other convention that the field uses the number would be met."""
    stated = number.convention
    for placement in (stated.stride_placement, *({"v1", "v1.5"} - {stated.stride_placement})):
        for name, layers in KNOWN_LAYER_SETS.items():
            for operation in ("mac", "flop"):
                convention = ComplexityConvention(
                    **{
                        **stated.model_dump(),
                        "stride_placement": placement,
                        "operation": operation,
                        "layers": layers,
                    }
                )
                measured = measure_under(number, convention, index)
                if measured is not None and equal_to_printed_digits(measured, number.value, number.base_units):
                    return f"would be met by counting {placement}, {operation.upper()}, {name}"
    return "not met under any convention known here"


def _disagreements(number: ReferenceNumber, numbers: list[ReferenceNumber], index: ComplexityIndex) -> list[str]:
    """Why other sources print another number for the same network: what differs in how they count."""
    notes = []
    for other in numbers:
        if other.source == number.source or (other.variant, other.metric) != (number.variant, number.metric):
            continue
        if _same_printed(number, other):
            continue
        measured = measure_under(other, other.convention, index)
        reproduced = measured is not None and equal_to_printed_digits(measured, other.value, other.base_units)
        why = " and ".join(_convention_differences(number.convention, other.convention))
        status = "reproduced" if reproduced else "not reproduced"
        notes.append(f"{other.source} prints {other.value} {other.unit}: {why or 'same stated convention'}, {status}")
    return notes


def _same_printed(number: ReferenceNumber, other: ReferenceNumber) -> bool:
    """Whether two printed numbers agree as far as the shorter one goes."""
    longer, shorter = sorted((number, other), key=lambda n: Decimal(n.base_units).scaleb(_exponent(n)))
    exact = int(longer.value * longer.base_units)
    return equal_to_printed_digits(exact, shorter.value, shorter.base_units)


def _exponent(number: ReferenceNumber) -> int:
    """Of the last printed digit: -3 for 7.570."""
    return int(number.value.as_tuple().exponent)


def _convention_differences(own: ComplexityConvention, other: ComplexityConvention) -> list[str]:
    differences = []
    if own.stride_placement != other.stride_placement:
        differences.append(f"stride placement {other.stride_placement}, here {own.stride_placement}")
    if own.layers != other.layers:
        differences.append(f"layers counted {describe_layers(other.layers)}, here {describe_layers(own.layers)}")
    if own.operation != other.operation:
        differences.append(f"counted as {other.operation.upper()}, here {own.operation.upper()}")
    if own.image_size != other.image_size:
        differences.append(f"image size {other.image_size}, here {own.image_size}")
    return differences


def describe_layers(layers: Mapping[Layer, int]) -> str:
    """The name of a well-known set of counted layers, or e.g. "convolution + linear + 2 x normalisation"."""
    for name, known in KNOWN_LAYER_SETS.items():
        if layers == known:
            return name
    return " + ".join(layer if weight == 1 else f"{weight} x {layer}" for layer, weight in layers.items())
