"""Published complexity beside measured: under the published convention, to the last printed digit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

from awbench.records import Record
from awbench.reference.conventions import ComplexityConvention
from awbench.reference.load import ReferenceNumber
from awbench.system import said_here
from awbench.variants import list_variants, parse_variant
from awbench.verdicts.conventions import convention_differences, other_conventions
from awbench.verdicts.counts import ComplexityIndex, CountedNetwork, Setting, describe_modules
from awbench.verdicts.opcounter import opcounter_correction

EQUAL = "matches all published digits"
UNKNOWN = "unknown"
NOT_MEASURED = "not measured"
COMPARISON_ONLY = "not measured: for comparison only"


@dataclass(frozen=True)
class ComplexityComparison:
    """One published number and what was measured under its convention.

    Attributes:
        number: None for a network whose number nobody published, or nobody here could read.
        measured: in base units (parameters, MAC), or None.
        verdict: "matches all published digits", "differs by x %", "unknown", "not measured: needs ..." or, for a
            network that is not built here, "not measured: for comparison only: ...".
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


def compare_complexity(numbers: list[ReferenceNumber], records: Iterable[Record]) -> list[ComplexityComparison]:
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
                verdict = UNKNOWN if measured else _count_command(variant.name)
                record = measured.record if measured else ""
                comparisons.append(ComplexityComparison(variant.name, metric, None, value, verdict, record=record))
    order = {variant.name: position for position, variant in enumerate(list_variants())}
    return sorted(comparisons, key=lambda c: (order.get(c.variant, len(order)), c.metric != "params"))


def _compare(number: ReferenceNumber, numbers: list[ReferenceNumber], index: ComplexityIndex) -> ComplexityComparison:
    counts = _find(number, number.convention, index)
    measured = _cost(number, number.convention, counts)
    verdict = _requirement(number) if measured is None else _verdict(measured, number)
    notes = [number.note] if number.note else []
    if number.metric == "macs":
        unexplained = measured is not None or not number.convention.counting_is_known
        if verdict != EQUAL and unexplained and not number.network:
            notes.append(_met_by(number, index))
        if measured is not None:
            notes += _disagreements(number, numbers, index)
    record = counts.record if counts and measured is not None else ""
    note = "; ".join(filter(None, notes))
    return ComplexityComparison(number.variant, number.metric, number, measured, verdict, note, record)


def measure_under(number: ReferenceNumber, convention: ComplexityConvention, index: ComplexityIndex) -> int | None:
    """What the number's network costs under `convention`, in base units; None where it was not measured."""
    return _cost(number, convention, _find(number, convention, index))


def _cost(number: ReferenceNumber, convention: ComplexityConvention, counts: CountedNetwork | None) -> int | None:
    if counts is None:
        return None
    if number.metric != "macs":
        return counts.parameters(parse_variant(number.variant), number.metric, convention)
    if not convention.counting_is_known:
        return None
    assert convention.layers != "unknown", "counting is known"
    counted = counts.operations(convention.layers, convention.operation)
    if counted is not None and convention.counter == "pytorch-OpCounter":
        counted += opcounter_correction(parse_variant(number.variant), convention)
    return counted


def _find(number: ReferenceNumber, convention: ComplexityConvention, index: ComplexityIndex) -> CountedNetwork | None:
    """The counts of the number's network under a convention."""
    if number.network:
        return None
    if parse_variant(number.variant).task == "detection":
        return _find_detector(number, convention, index)
    # Parameters depend neither on where the stride is nor on the image.
    placement = "v1.5" if convention.stride_placement == "unknown" else convention.stride_placement
    size = parse_variant(number.variant).architecture.image_size
    size = convention.image_size if isinstance(convention.image_size, int) else size
    options = describe_modules(convention.attention_options, convention.convolution_options)
    return index.get(number.variant, placement, size, options)


def _find_detector(
    number: ReferenceNumber, convention: ComplexityConvention, index: ComplexityIndex
) -> CountedNetwork | None:
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


def _count_command(variant: str) -> str:
    return f"{NOT_MEASURED}: needs 'awbench complexity {variant}'"


def _requirement(number: ReferenceNumber) -> str:
    if number.network:
        return f"{COMPARISON_ONLY}: {number.network}"
    convention = number.convention
    if parse_variant(number.variant).task == "detection":
        command = f"awbench complexity {number.variant} --engine {convention.engine or 'detectron2'}"
        if number.metric == "macs" and not convention.counting_is_known:
            return _unknown_counting(convention)
        if number.metric == "macs":
            command += f" --image-size {convention.image_size} --proposals {convention.proposals}"
        engine = said_here(" and Detectron2 (make detectron2)") if convention.engine == "detectron2" else ""
        return f"{NOT_MEASURED}: needs '{command}'{engine}"
    if number.metric == "macs" and not convention.counting_is_known:
        return _unknown_counting(convention)
    variant = parse_variant(number.variant)
    command = f"awbench complexity {number.variant}"
    command += "".join(f" --attention-option {name}={value}" for name, value in convention.attention_options.items())
    for name, value in convention.convolution_options.items():
        command += f" --convolution-option {name}={value}"
    if convention.stride_placement == "v1":
        command += f" --stride-placement {convention.stride_placement}"
    if convention.image_size not in ("unknown", variant.architecture.image_size):
        command += f" --image-size {convention.image_size}"
    return f"{NOT_MEASURED}: needs '{command}'"


def _unknown_counting(convention: ComplexityConvention) -> str:
    """E.g. "not measured: for comparison only: the source does not state its stride placement"."""
    names = ("stride_placement", "image_size", "operation", "layers")
    missing = [name.replace("_", " ") for name in names if getattr(convention, name) == "unknown"]
    return f"{COMPARISON_ONLY}: the source does not state its {', '.join(missing)}"


def _met_by(number: ReferenceNumber, index: ComplexityIndex) -> str:
    """Under which other convention that the field uses the number would be met; "" where nothing was counted."""
    counted = False
    for words, convention in other_conventions(number.convention):
        measured = measure_under(number, convention, index)
        if measured is not None and equal_to_printed_digits(measured, number.value, number.base_units):
            return f"would be met by counting {words}"
        counted = counted or measured is not None
    return "not met under any convention known here" if counted else ""


def _disagreements(number: ReferenceNumber, numbers: list[ReferenceNumber], index: ComplexityIndex) -> list[str]:
    """Why other sources print another number for the same network: what differs in how they count."""
    notes = []
    for other in numbers:
        if other.source == number.source or (other.variant, other.metric) != (number.variant, number.metric):
            continue
        if other.network or not other.convention.counting_is_known:
            continue
        if _same_printed(number, other):
            continue
        measured = measure_under(other, other.convention, index)
        reproduced = measured is not None and equal_to_printed_digits(measured, other.value, other.base_units)
        why = " and ".join(convention_differences(number.convention, other.convention))
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
