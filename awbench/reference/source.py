"""The form of a file in `reference_results/`: published numbers, each with where and how it was read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import model_validator

from awbench.reference.checks import check_characters, check_dataset, check_metric, check_url, check_variant
from awbench.reference.claim import Claim, Standing
from awbench.reference.conventions import ComplexityConvention as ComplexityConvention  # for report, until it moved
from awbench.reference.conventions import Conventions
from awbench.reference.metrics import CLAIM_DATASETS as CLAIM_DATASETS  # for report, until it moved
from awbench.reference.metrics import METRICS
from awbench.validation import Strict


class Number(Strict):
    """One published number. Whatever is left out of the optional fields holds as the source states it.

    Attributes:
        variant: the network, by its name here; one the suite does not build says so in `network`.
        value: as printed: trailing zeros are kept and count as printed digits.
        weights, schedule: which of several published trainings.
        conventions: where this number's differ from the source's.
    """

    variant: str
    metric: str
    value: Decimal
    unit: str
    weights: str = ""
    schedule: str = ""
    standing: Standing | None = None
    url: str | None = None
    note: str = ""
    network: str = ""
    conventions: Conventions = Conventions()

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
        if self.url is not None:
            check_url(self.url)
        return self


class Statement(Strict):
    """A statement of a source that no number decides, kept beside the claims that numbers can."""

    id: str
    text: str


class RunToRun(Strict):
    """How far runs of one recipe lie apart, or what difference a source tolerates.

    Attributes:
        of: what is repeated: the evaluation of the same weights, or the training.
        dataset: a key of CLAIM_DATASETS; runs on another one differ otherwise.
    """

    what: str
    of: Literal["evaluation", "training"]
    dataset: str
    metric: str
    unit: str
    published: Decimal | None = None
    reruns: list[Decimal] = []
    tolerance: Decimal | None = None
    standing: Standing
    url: str

    @model_validator(mode="after")
    def _check(self) -> RunToRun:
        check_metric(self.metric, self.unit)
        check_dataset(self.dataset)
        if not self.reruns and self.tolerance is None:
            raise ValueError("give reruns or tolerance")
        return self


class Source(Strict):
    """One file: one publication or repository.

    Attributes:
        standing: holds for every number and claim that does not state its own.
        unknown: what of it nobody here could read; to be removed when its numbers are entered.
        recipe: the training recipe the source states, as it states it.
        recipes_here: its weights, or "" for all its numbers -> the recipe of ours that trains so.
    """

    schema_version: Literal[1]
    id: str
    title: str
    url: str
    read_from: str
    standing: Standing | None = None
    commit: str = ""
    note: str = ""
    conventions: Conventions = Conventions()
    unknown: str = ""
    numbers: list[Number] = []
    claims: list[Claim] = []
    statements: list[Statement] = []
    scatter: list[RunToRun] = []
    recipe: dict[str, Any] = {}
    recipes_here: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> Source:
        check_url(self.url)
        check_characters(self.model_dump(mode="python"))
        for index, number in enumerate(self.numbers):
            where = f"numbers[{index}] ({number.variant} {number.metric} {number.value})"
            if number.standing is None and self.standing is None:
                raise ValueError(f"{where} has no standing; add standing: primary, secondary or recalled")
            kind = METRICS[number.metric].kind
            if getattr(number.conventions, kind) is None and getattr(self.conventions, kind) is None:
                raise ValueError(f"{where} has no convention; add conventions: {kind}: to it or to the source")
        seen: set[tuple[str, ...]] = set()
        for number in self.numbers:
            identity = (number.variant, number.metric, number.weights, number.schedule)
            if identity in seen:
                raise ValueError(f"{number.variant} {number.metric} is given twice; keep one, or name its weights")
            seen.add(identity)
        for claim in self.claims:
            if claim.standing is None and self.standing is None:
                raise ValueError(f"claim {claim.id} has no standing; add standing: primary, secondary or recalled")
        return self
