"""The form of a file in `reference_results/`: published numbers, each with where and how it was read."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from awbench.reference.checks import check_characters, check_dataset, check_metric, check_url, check_variant
from awbench.reference.claim import Claim, Provenance
from awbench.reference.conventions import Conventions
from awbench.reference.metrics import METRICS
from awbench.reference.run_to_run import RunToRun
from awbench.validation import Strict, first_error


class Entry(Strict):
    """What belongs to numbers. Whatever is left out of the optional fields holds as the source states it.

    Attributes:
        variant: the network, by its name here; one the suite does not build says so in `network`.
        weights, schedule: which of several published trainings.
        weights_sha256: of the file of the published weights, or its first digits; "" where the source does not say.
        dataset: a key of CLAIM_DATASETS; "" for the accuracy convention's.
        conventions: in what this number's differ from the source's.
    """

    variant: str
    weights: str = ""
    schedule: str = ""
    weights_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{8,64})?$")] = ""
    dataset: str = ""
    provenance: Provenance | None = None
    url: str | None = None
    note: str = ""
    network: str = ""
    conventions: Conventions = Conventions()


class Number(Entry):
    """One published number. Attributes: value, as printed: trailing zeros are kept and count as printed digits."""

    metric: str
    value: Decimal
    unit: str

    @property
    def kind(self) -> str:
        return METRICS[self.metric].kind

    @model_validator(mode="after")
    def _check(self) -> Number:
        check_metric(self.metric, self.unit)
        if not self.network:
            check_variant(self.variant)
        if not self.value.is_finite() or not Decimal("1e-9") <= self.value <= Decimal("1e15"):
            raise ValueError(f"value {self.value} of {self.metric} must be a positive number between 1e-9 and 1e15")
        if int(self.value.as_tuple().exponent) < -12:
            raise ValueError(f"value {self.value} of {self.metric} has more than 12 decimals")
        if self.unit in ("percent", "AP points") and self.value > 100:
            raise ValueError(f"value {self.value} of {self.metric} is above 100 {self.unit}")
        if self.unit in ("percent", "AP points") and self.value <= 1 and not self.metric.endswith("_error"):
            raise ValueError(f"value {self.value} of {self.metric} looks like a fraction; give it in {self.unit}")
        if self.dataset:
            check_dataset(self.dataset)
        if self.url is not None:
            check_url(self.url)
        return self


class Row(Entry):
    """A network's row of a table.

    Attributes:
        values: metric -> value.
        units: of metrics that have several, where they are not those of `Source.units`.
    """

    values: dict[str, Decimal] = Field(min_length=1)
    units: dict[str, str] = {}

    def numbers(self, units: dict[str, str]) -> list[Number]:
        """The row's numbers, each on its own.

        Raises:
            ValueError: a metric is unknown or has several units, or a value does not fit.
        """
        numbers, units = [], units | self.units
        for metric, value in self.values.items():
            known = list(METRICS[metric].units) if metric in METRICS else []
            if metric not in units and len(known) > 1:
                raise ValueError(f"{metric} may be in {' or '.join(known)}; add it to the source's units")
            unit = units.get(metric) or next(iter(known), "")
            shared = {name: getattr(self, name) for name in Entry.model_fields}
            try:
                numbers.append(Number(**shared, metric=metric, value=value, unit=unit))
            except ValidationError as error:
                raise ValueError(first_error(error)) from None
        return numbers


class Statement(Strict):
    """A statement of a source that no number decides, kept beside the claims that numbers can."""

    id: str
    text: str


class Source(Strict):
    """One file: one publication or repository.

    Attributes:
        provenance: holds for every number and claim that does not state its own.
        unknown: what of it nobody here could read; to be removed when its numbers are entered.
        units: of the metrics in `rows` that have several.
        numbers: those of `rows` too, once the file is read.
        recipe: the training recipe the source states, as it states it.
        recipes_here: its weights, or "" for all its numbers -> the recipe of ours that trains so.
    """

    schema_version: Literal[1]
    id: str
    title: str
    url: str
    read_from: str
    provenance: Provenance | None = None
    commit: str = ""
    note: str = ""
    conventions: Conventions = Conventions()
    unknown: str = ""
    units: dict[str, str] = {}
    numbers: list[Number] = []
    rows: list[Row] = []
    claims: list[Claim] = []
    statements: list[Statement] = []
    run_to_run: list[RunToRun] = []
    recipe: dict[str, Any] = {}
    recipes_here: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> Source:
        check_url(self.url)
        check_characters(self.model_dump(mode="python"))
        for metric, unit in self.units.items():
            check_metric(metric, unit)
        problems = []
        for index, row in enumerate(self.rows):
            try:
                self.numbers.extend(row.numbers(self.units))
            except ValueError as error:
                problems.append(f"rows[{index}] ({row.variant}): {error}")
        problems += self._problems()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        """What is wrong with numbers and claims beside each other."""
        seen: set[tuple[str, ...]] = set()
        for index, number in enumerate(self.numbers):
            where = f"numbers[{index}] ({number.variant} {number.metric} {number.value})"
            if number.provenance is None and self.provenance is None:
                yield f"{where} has no provenance; add provenance: primary, secondary or recalled"
            own = getattr(number.conventions, number.kind)
            if own is None and getattr(self.conventions, number.kind) is None:
                yield f"{where} has no convention; add conventions: {number.kind}: to it or to the source"
            which = (number.weights, number.schedule, number.dataset, number.network, repr(own))
            identity = (number.variant, number.metric, *which)
            if identity in seen:
                yield f"{number.variant} {number.metric} is given twice; keep one, or name its weights"
            seen.add(identity)
        for claim in self.claims:
            if claim.provenance is None and self.provenance is None:
                yield f"claim {claim.id} has no provenance; add provenance: primary, secondary or recalled"
