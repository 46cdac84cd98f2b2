"""A published gain of one network over another, as it stands in a file of `reference_results/`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from awbench.recipes.datasets import is_own
from awbench.reference.checks import check_dataset, check_metric, check_url, check_variant
from awbench.reference.metrics import CLAIM_DATASETS, METRICS
from awbench.validation import Strict
from awbench.variants import Task, Variant, list_settings, parse_variant

Provenance = Literal["primary", "secondary", "recalled"]


class Claim(Strict):
    """A published gain of a variant over its baseline.

    Attributes:
        variant, over: a variant's name, or an attention setting ("aw_se" over "se") of any depth; pairwise.
        dataset: a key of CLAIM_DATASETS, or `folder:NAME` or `module:function`, as a study has it.
        delta: the stated gain, in `unit`.
        margin: how far from it a gain still counts as it, in `unit`; half of it where none is given (chosen).
        relation: "equal", or "up_to" for the largest gain of several, of a claimed loss the largest loss.
    """

    id: str
    metric: str
    unit: str
    variant: str | list[str]
    over: str | list[str]
    delta: Decimal
    margin: Annotated[Decimal, Field(gt=0)] | None = None
    relation: Literal["equal", "up_to"]
    dataset: str
    text: str
    provenance: Provenance | None = None
    url: str | None = None

    @property
    def sides(self) -> tuple[list[str], list[str]]:
        """(variants, baselines), pairwise."""
        variants, baselines = ([side] if isinstance(side, str) else side for side in (self.variant, self.over))
        return variants, baselines

    @property
    def kind(self) -> str:
        """Of the records that are evidence for it: "accuracy" or "detection"."""
        return METRICS[self.metric].kind

    @property
    def dataset_name(self) -> str:
        """The dataset's name in records."""
        return CLAIM_DATASETS.get(self.dataset, self.dataset)

    @property
    def task(self) -> Task:
        return "detection" if self.kind == "detection" else "classification"

    @property
    def family(self) -> str:
        """Of the networks that fit its dataset."""
        return "cifar" if self.dataset_name in ("cifar10", "cifar100", "fashion-mnist") else "imagenet"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(variant, baseline) as it names them."""
        return list(zip(*self.sides, strict=True))

    def pair_of(self, variant: Variant, over: Variant) -> tuple[str, str] | None:
        """The pair as it names it: by the networks' names, or of any depth by their attention; None for another."""
        names = variant.name, over.name
        settings = (variant.setting, over.setting) if variant.architecture == over.architecture else None
        return next((pair for pair in self.pairs if pair in (names, settings)), None)

    @model_validator(mode="after")
    def _check(self) -> Claim:
        check_metric(self.metric, self.unit.replace("percentage points", "percent"))
        variants, baselines = self.sides
        if len(variants) != len(baselines) or not variants:
            raise ValueError(f"variant names {len(variants)} and over {len(baselines)}; a claim is about pairs")
        if self.kind not in ("accuracy", "detection") or self.metric.endswith("_error"):
            raise ValueError(f"metric {self.metric!r} does not fit a claim; use top1, top5, box_ap or another AP")
        settings = list_settings()
        networks = [name for name in (*variants, *baselines) if name not in settings]
        for name in networks:
            check_variant(name)
            if parse_variant(name).task != self.task:
                raise ValueError(f"{name} is not a {self.task} variant; {self.metric} is measured of those")
        if not is_own(self.dataset):
            check_dataset(self.dataset)
        if (self.kind == "detection") != (self.dataset_name == "coco"):
            raise ValueError(f"{self.metric} is not measured on {self.dataset}")
        for name in networks:
            if not is_own(self.dataset) and parse_variant(name).architecture.family != self.family:
                raise ValueError(f"{name} is not a network for {self.dataset}")
        pairs = list(zip(variants, baselines, strict=True))
        if len(set(pairs)) < len(pairs) or any(variant == baseline for variant, baseline in pairs):
            raise ValueError("a pair stands twice, or is a network over itself; a claim is about different networks")
        if abs(self.delta) > 100 or (self.margin or 0) > 100:
            raise ValueError(f"delta {self.delta} and margin {self.margin or 'none'} must be at most 100 {self.unit}")
        if self.delta == 0 and self.margin is None:
            raise ValueError("delta 0 has no half to take for a margin; add margin: how far from 0 still counts as 0")
        if self.url is not None:
            check_url(self.url)
        return self
