"""What the file of a study says: networks, comparisons, looks. Checked, but for the other files that it names."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from awbench.errors import UserError, suggestion
from awbench.recipes.datasets import DATASET_FACTS, DatasetFacts, is_own, title_of
from awbench.recipes.defaults import ENGINES
from awbench.reference.metrics import measured_metrics
from awbench.studies.several import written_out
from awbench.validation import Strict
from awbench.variants import (
    AWOptions,
    ModelOptions,
    StridePlacement,
    Task,
    Variant,
    describe_options,
    list_variants,
    make_options,
    parse_variant,
)

GIVEN = "given"  # as the study of backbones: they are files that somebody has
Options = dict[str, int | float | str | bool | list[int]]
Looks = Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(min_length=1)]


class Network(Strict):
    """A network of a study that is not just a variant with default options, see also `awbench.studies.several`.

    Attributes:
        variant: its name.
        aw, attention, convolution: options that are not at their default, as `--aw-option`, `--attention-option` and
            `--convolution-option` take them.
        note: what the setting stands for.
    """

    variant: str
    aw: Options = {}
    attention: Options = {}
    convolution: Options = {}
    note: str = ""


class Imports(Strict):
    """Runs that were trained elsewhere. Attributes: source, recipe, as `awbench import` has them."""

    source: str
    recipe: str


class Images(Strict):
    """How many images both splits of a dataset of one's own have."""

    train: Annotated[int, Field(ge=1)]
    val: Annotated[int, Field(ge=1)]


class DecidedClaim(Strict):
    """What a claim says as the study was decided, so that no later change of its file changes an answer.

    Attributes: delta, margin, relation, see `awbench.reference.claim.Claim`; margin is written out.
    """

    delta: Annotated[float, Field(ge=-100, le=100)]
    margin: Annotated[float, Field(gt=0, le=100)]
    relation: Literal["equal", "up_to"]


class Comparison(Strict):
    """One network over another.

    Attributes:
        variant, over: labels of networks: a variant's name, or a key of the study's `networks`.
        claim: id of the claim that it answers; "" for a question of the study's own.
        role: "primary" decides when the study may end; of the others each is looked at on its own.
        looks: at so many runs of each network it is judged; none for the study's.
    """

    variant: str
    over: str
    claim: str = ""
    role: Literal["primary", "secondary"] = "primary"
    looks: Looks | None = None


class Design(Strict):
    """What a study's file says, checked.

    Attributes:
        dataset: by its name, or of one's own: `folder:NAME` or `module:function`.
        images: of a dataset of one's own, which nothing else says how many are all.
        purpose: "confirmatory" answers its question, "exploratory" suggests some, "smoke test" tries the code.
        changes: of the recipe, as `--set` takes them.
        engine: of detectors; only a smoke test may leave it to the machine.
        backbones: study whose networks' weights, of the same seed, initialise the detectors' backbones, by its name or
            its file beside this one; "given" for files that somebody has, "" for random ones.
        init_weights: sha256 of the file that every classifier starts from (`study run --init-weights`); "" for random
            weights.
        imports: imported runs that count too, of networks with default options; only outside a confirmatory study, for
            nothing shows that they were made by its design.
        shares: study whose runs count here too, of networks that are the same, by its name or its file beside this
            one; of a seed the run that was finished first counts. In a confirmatory study only those of networks that
            others are compared with: what it asks about it runs itself, after it is decided.
        looks: at so many runs of each network results are judged, unless a comparison has its own.
        level: probability that all intervals of a question hold, over its looks and its pairs together.
        matters: the smallest difference that matters, in the metric's unit, where there is no claim to say it.
        claims: what the claims that its comparisons name say, as it is decided, by their ids.
    """

    schema_version: Literal[1]
    name: str
    title: str
    question: str
    purpose: Literal["confirmatory", "exploratory", "smoke test"]
    dataset: str
    images: Images | None = None
    metric: str
    recipe: str
    changes: tuple[str, ...] = ()
    engine: str = ""
    backbones: str = ""
    init_weights: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    shares: str = ""
    imports: tuple[Imports, ...] = ()
    stride_placement: StridePlacement = "v1.5"
    networks: dict[str, Network] = {}
    comparisons: Annotated[tuple[Comparison, ...], Field(min_length=1)]
    looks: Looks
    level: Annotated[float, Field(gt=0.5, le=0.9999)] = 0.95
    matters: Annotated[float, Field(gt=0, le=100)] | None = None
    claims: dict[str, DecidedClaim] = {}

    @model_validator(mode="before")
    @classmethod
    def _write_out(cls, data: Any) -> Any:
        return written_out(data) if isinstance(data, dict) and isinstance(data.get("networks"), dict) else data

    @model_validator(mode="after")
    def _check(self) -> Design:
        if not is_own(self.dataset) and self.dataset not in DATASET_FACTS:
            known = f"{suggestion(self.dataset, DATASET_FACTS)} Known: {', '.join(DATASET_FACTS)}"
            raise ValueError(f"dataset {self.dataset!r} is not known{known}; your own: folder:NAME, module:function")
        if is_own(self.dataset) != (self.images is not None):
            need = "needs" if is_own(self.dataset) else "is known, and has no"
            raise ValueError(f"dataset {self.dataset} {need} 'images: {{train: N, val: N}}', the number of its images")
        for looks in [self.looks, *(c.looks for c in self.comparisons if c.looks)]:
            if list(looks) != sorted(set(looks)):
                raise ValueError(f"looks {list(looks)} do not rise; give each number of runs once, in order")
            if looks[0] < 2 and self.purpose != "smoke test":
                raise ValueError(f"looks begin at {looks[0]}; below 2 nothing is known of the run-to-run deviation")
        labels = [label for comparison in self.comparisons for label in (comparison.variant, comparison.over)]
        unused = [label for label in self.networks if label not in labels]
        if unused:
            raise ValueError(f"networks.{unused[0]} is in no comparison; remove it, or compare it")
        claimed = next((c.claim for c in self.comparisons if c.claim), "")
        if claimed and self.purpose != "confirmatory":
            raise ValueError(
                f"claim {claimed} in a study whose purpose is {self.purpose}; only a confirmatory one answers claims: "
                "change 'purpose', or leave out 'claim'"
            )
        for id in self.claims.keys() - {comparison.claim for comparison in self.comparisons}:
            raise ValueError(f"claims.{id} is named by no comparison; add 'claim: {id}' to one, or remove it")
        if self.imports and self.purpose == "confirmatory":
            raise ValueError("imports in a confirmatory study: nothing shows that those runs follow its design")
        seen = set()
        for comparison in self.comparisons:
            pair = (comparison.variant, comparison.over)
            if pair in seen or comparison.variant == comparison.over:
                raise ValueError(f"{' over '.join(pair)} stands twice, or is a network over itself")
            seen.add(pair)
        for label in labels:
            try:
                self.options_of(label)
                variant = self.variant_of(label)
            except UserError as error:
                raise ValueError(str(error)) from None
            self._require_options(label, variant)
            if label != variant.name and label in {known.name for known in list_variants(self.task)}:
                raise ValueError(f"networks.{label} is {variant.name}, not {label}; give it a name that no variant has")
            if variant.task != self.task:
                raise ValueError(f"{label} is a {variant.task} variant; {self.dataset} is for {self.task}")
        self._require_different_networks()
        metrics = measured_metrics(self.kind)
        if self.metric not in metrics:
            raise ValueError(
                f"metric {self.metric!r} is not measured on {self.dataset}; use one of {', '.join(metrics)}"
            )
        if self.task == "classification" and (self.engine or self.backbones):
            raise ValueError("engine and backbones are for detectors")
        if self.task == "detection" and self.init_weights:
            raise ValueError("init_weights is for classifiers; a detector's backbone is initialised by 'backbones'")
        if self.engine not in ("", *ENGINES):
            raise ValueError(f"engine {self.engine!r} does not exist{suggestion(self.engine, ENGINES)}")
        if self.task == "detection" and not self.engine and self.purpose != "smoke test":
            raise ValueError(f"engine is missing; detectors differ between {' and '.join(ENGINES)}, so choose one")
        return self

    def _require_different_networks(self) -> None:
        """Raise a ValueError for two networks with the same options: a run would be of either."""
        found: dict[str, str] = {}
        for label in self.labels:
            variant = self.variant_of(label).name
            same = found.setdefault(json.dumps([variant, self.described_options[label]], sort_keys=True), label)
            if same != label:
                raise ValueError(f"{same} and {label} are the same network, {variant} with the same options; keep one")

    def _require_options(self, label: str, variant: Variant) -> None:
        """Raise a ValueError for options of a network that concern nothing of it, or are several values of one."""
        network = self.networks.get(label)
        own = {"aw": variant.aw, "attention": variant.attention, "convolution": variant.convolution and not variant.aw}
        for kind, concerns in own.items() if network else ():
            options = getattr(network, kind)
            if options and not concerns:
                raise ValueError(f"networks.{label}.{kind} is {options}, and {variant.name} has nothing that takes it")
            for name, value in options.items():
                if kind != "aw" and isinstance(value, (list, tuple)) and name != "stages":
                    raise ValueError(
                        f"networks.{label}.{kind}.{name} is {list(value)}; several values stand under several"
                    )

    @property
    def facts(self) -> DatasetFacts:
        """Of the dataset."""
        if self.images is None:
            return DATASET_FACTS[self.dataset]
        return DatasetFacts(title_of(self.dataset), "classification", self.images.train, self.images.val)

    @property
    def task(self) -> Task:
        return self.facts.task

    @property
    def kind(self) -> str:
        """Of the records that its runs make."""
        return "detection" if self.task == "detection" else "accuracy"

    @functools.cached_property
    def labels(self) -> tuple[str, ...]:
        """Its networks, in the order in which comparisons name them, each baseline before what is compared with it."""
        ordered = [label for comparison in self.comparisons for label in (comparison.over, comparison.variant)]
        return tuple(dict.fromkeys(ordered))

    @functools.cached_property
    def treated(self) -> frozenset[str]:
        """The networks that are compared with others."""
        return frozenset(comparison.variant for comparison in self.comparisons)

    def variant_of(self, label: str) -> Variant:
        """The variant of a network."""
        return parse_variant(self.networks[label].variant if label in self.networks else label)

    def options_of(self, label: str) -> ModelOptions:
        """The options of a network; its classes are the dataset's."""
        network = self.networks.get(label)
        return make_options(
            stride_placement=self.stride_placement,
            aw_options=dict(network.aw) if network else None,
            attention_options=dict(network.attention) if network else None,
            convolution_options=dict(network.convolution) if network else None,
        )

    def changed_options(self, label: str) -> str:
        """What a network's options are that are not at their default, e.g. "expansion=1"; "" where none is."""
        network = self.networks.get(label)
        slots = (
            {"": network.aw, "attention ": network.attention, "convolution ": network.convolution} if network else {}
        )
        of_aw = {field.name for field in dataclasses.fields(AWOptions)} if self.variant_of(label).aw else set[str]()
        given = Counter(name for options in slots.values() for name in options)
        return ", ".join(
            f"{slot if given[name] > 1 or name in of_aw else ''}{name}={value}"
            for slot, options in slots.items()
            for name, value in options.items()
        )

    def looks_of(self, comparison: Comparison) -> tuple[int, ...]:
        """Runs of each network at every look: the comparison's own, else those of the study."""
        return comparison.looks or self.looks

    def runs_of(self, label: str) -> int:
        """The most runs of a network: of the last look of any comparison that it is in."""
        return max(
            self.looks_of(comparison)[-1]
            for comparison in self.comparisons
            if label in (comparison.variant, comparison.over)
        )

    @functools.cached_property
    def labels_of(self) -> dict[str, tuple[str, ...]]:
        """Name of a variant -> its networks in the study."""
        names = [self.variant_of(label).name for label in self.labels]
        return {
            name: tuple(label for label, own in zip(self.labels, names, strict=True) if own == name) for name in names
        }

    @functools.cached_property
    def described_options(self) -> dict[str, dict[str, Any]]:
        """Label -> the options of a network as records hold them, but for the number of classes."""
        return {label: describe_options(self.variant_of(label), self.options_of(label)) for label in self.labels}
