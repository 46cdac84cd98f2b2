"""Claims of gains held to the records of training runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from awbench.detection.job import PROTOCOL as DETECTION_PROTOCOL
from awbench.errors import UserError
from awbench.records import Record, RecordStore
from awbench.reference.load import References
from awbench.reference.measured import IMAGENET_VAL_IMAGES, by_seed, has_default_options
from awbench.reference.source import CLAIM_DATASETS, METRICS, SETTINGS, Claim, Scatter, Source
from awbench.reference.statistics import Difference, welch_difference
from awbench.reference.verdicts import NOT_MEASURED, Outcome, Spread, Verdict, bonferroni, judge_gain
from awbench.training.job import PROTOCOL
from awbench.variants import ModelOptions, list_variants, parse_variant

LEVEL = 0.95
_PROTOCOLS = {"accuracy": PROTOCOL, "detection": DETECTION_PROTOCOL}
_VAL_IMAGES = {"imagenet": IMAGENET_VAL_IMAGES, "cifar10": 10_000, "cifar100": 10_000}


@dataclass(frozen=True)
class Pair:
    """One network over another, and what runs say of the gain.

    Attributes:
        treated, baseline: runs of each, trained alike, one a seed; empty where none can be compared.
        unlike: why runs of both cannot be compared, where there are some; else "".
    """

    variant: str
    over: str
    verdict: Verdict = NOT_MEASURED
    treated: tuple[Record, ...] = ()
    baseline: tuple[Record, ...] = ()
    unlike: str = ""

    @property
    def measured(self) -> bool:
        return bool(self.treated and self.baseline)

    @property
    def runs(self) -> tuple[int, int]:
        """How many of each."""
        return len(self.treated), len(self.baseline)


@dataclass(frozen=True)
class JudgedClaim:
    """Attributes: outcome, of the whole claim; pairs, each that it speaks of and records may decide."""

    source: Source
    claim: Claim
    outcome: Outcome
    pairs: tuple[Pair, ...]

    @property
    def standing(self) -> str:
        return self.claim.standing or self.source.standing or "unknown"

    @property
    def url(self) -> str:
        return self.claim.url or self.source.url


def judge_claims(store: RecordStore, references: References) -> list[JudgedClaim]:
    """All claims of the references. Those that were measured are corrected for being several (Bonferroni)."""
    found = [[_find_runs(claim, *names, store) for names in claimed_pairs(claim)] for _, claim in references.claims]
    level = bonferroni(LEVEL, sum(any(pair.measured for pair in pairs) for pairs in found))
    return [
        JudgedClaim(
            source, claim, *_judge(claim, pairs, level, known_spread(claim.metric, claim.dataset, references.scatter))
        )
        for (source, claim), pairs in zip(references.claims, found, strict=True)
    ]


def claimed_pairs(claim: Claim) -> list[tuple[str, str]]:
    """(network, baseline) of a claim; attention settings stand for networks of every depth that fits the dataset."""
    sides = [[side] if isinstance(side, str) else side for side in (claim.variant, claim.over)]
    task = "detection" if METRICS[claim.metric].kind == "detection" else "classification"
    family = "cifar" if claim.dataset.startswith("CIFAR") else "imagenet"
    fitting = [v for v in list_variants(task) if v.architecture.family == family and v.architecture.is_resnet]  # type: ignore[arg-type]
    names = {(variant.setting, variant.architecture_name): variant.name for variant in fitting}
    pairs = []
    for variant, over in zip(*sides, strict=True):
        if variant not in SETTINGS and over not in SETTINGS:
            pairs.append((variant, over))
            continue
        for network in dict.fromkeys(variant.architecture_name for variant in fitting):
            pair = (names.get((variant, network), variant), names.get((over, network), over))
            if all(side in names.values() and parse_variant(side).architecture_name == network for side in pair):
                pairs.append(pair)
    return pairs


def _find_runs(claim: Claim, variant: str, over: str, store: RecordStore) -> Pair:
    """The runs of a pair that were trained and evaluated alike; of several ways, the one with the most runs."""
    treated, baseline = (trained_runs(claim, name, store) for name in (variant, over))
    alike = sorted(set(treated) & set(baseline), key=lambda way: min(len(treated[way]), len(baseline[way])))
    if alike:
        return Pair(variant, over, treated=treated[alike[-1]], baseline=baseline[alike[-1]])
    return Pair(variant, over, unlike=_unlike(treated, baseline) if treated and baseline else "")


def trained_runs(claim: Claim, variant: str, store: RecordStore) -> dict[str, tuple[Record, ...]]:
    """way of training -> the runs of a network that count for a claim, one a seed."""
    kind, dataset = METRICS[claim.metric].kind, CLAIM_DATASETS[claim.dataset]
    ways: dict[str, list[Record]] = {}
    for record in store.load(kind):
        if record.variant == variant and _counts(record, kind, dataset, claim.metric):
            ways.setdefault(json.dumps(training_way(record), sort_keys=True), []).append(record)
    return {way: tuple(by_seed(runs).values()) for way, runs in ways.items()}


def _counts(record: Record, kind: str, dataset: str, metric: str) -> bool:
    settings = record.settings
    whole = record.value("images") == _VAL_IMAGES[dataset] if kind == "accuracy" else settings.get("complete")
    return bool(
        settings["origin"] == "trained"
        and settings["dataset"] == dataset
        and settings.get("protocol") == _PROTOCOLS[kind]
        and whole
        and metric in record.values
        and has_default_options(record, ModelOptions(stride_placement=record.options["stride_placement"]))
    )


def training_way(record: Record) -> dict[str, Any]:
    """Everything of a run that must be the same for two networks to be compared, but for the networks and the seed."""
    settings = {name: value for name, value in record.settings.items() if name != "seed"}
    own = ("backbone_weights_sha256", "initial_weights_sha256")  # of another network they are other weights
    inputs = {name: value == "random" if name in own else value for name, value in record.inputs.items()}
    images = record.values["images"].value if "images" in record.values else None
    return {**settings, **inputs, "images": images, "stride_placement": record.options["stride_placement"]}


def _unlike(treated: Collection[str], baseline: Collection[str]) -> str:
    """In what the runs of two networks differ, of the ways that differ in the least: "recipe, evaluation"."""
    differences = [_differing([json.loads(a), json.loads(b)]) for a in treated for b in baseline]
    least: list[str] = min(differences, key=lambda names: (len(names), names))
    return ", ".join(least)


def _differing(ways: list[dict[str, Any]]) -> list[str]:
    """Names of what is not the same in all."""
    names = sorted({name for way in ways for name in way})
    return [name for name in names if any(way.get(name) != ways[0].get(name) for way in ways)]


def measure_gain(
    treated: Iterable[Record], baseline: Iterable[Record], metric: str, level: float = LEVEL
) -> Difference:
    """Mean difference of a metric between runs of two networks, with Welch's interval.

    Args:
        treated, baseline: runs of one network each, trained and evaluated alike, with different seeds.
        level: of the interval, which is nan below two runs each.

    Raises:
        UserError: one side is empty, holds several networks or a seed twice, lacks the metric, or the sides were not
            trained and evaluated alike, e.g. on different datasets.
    """
    treated, baseline = list(treated), list(baseline)
    for side in (treated, baseline):
        names = sorted({record.variant for record in side})
        if len(names) != 1:
            raise UserError(
                f"runs of {', '.join(names) or 'nothing'} were given as one side; give those of one network"
            )
        if any("seed" not in record.settings for record in side):
            raise UserError(f"a record of {names[0]} has no seed; give records of trainings")
        if len(by_seed(side)) != len(side):
            raise UserError(f"a seed of {names[0]} stands twice; the runs of a side must be independent")
        if any(metric not in record.values for record in side):
            raise UserError(f"a record of {names[0]} has no {metric}")
        if len({json.dumps(record.options, sort_keys=True) for record in side}) > 1:
            raise UserError(f"runs of {names[0]} with different options were given as one side; give those of one")
    if not 0 < level < 1:
        raise UserError(f"level {level} is not a probability between 0 and 1, e.g. 0.95")
    aw = [side[0].options["aw"] for side in (treated, baseline) if "aw" in side[0].options]
    if len(aw) > 1 and aw[0] != aw[1]:
        raise UserError("these runs have AW-convolutions with different options")
    differing = _differing([training_way(record) for record in (*treated, *baseline)])
    if "dataset" in differing:
        datasets = sorted({str(record.settings["dataset"]) for record in (*treated, *baseline)})
        raise UserError(f"runs on {' and '.join(datasets)} cannot be compared; give runs on one dataset")
    if differing:
        raise UserError(f"these runs were not trained and evaluated alike: they differ in {', '.join(differing)}")
    return welch_difference(values_of(treated, metric), values_of(baseline, metric), level)


def values_of(runs: Iterable[Record], metric: str) -> list[float]:
    """One value a run."""
    return [float(record.value(metric)) for record in runs]


def known_spread(metric: str, dataset: str | None, scatter: Iterable[Scatter]) -> Spread | None:
    """How reruns of one recipe scatter in a metric on a dataset (None: on any), from the references."""
    for known in scatter:
        if (
            known.metric == metric
            and dataset in (None, known.dataset)
            and known.of == "training"
            and len(known.reruns) > 1
        ):
            reruns = [float(value) for value in known.reruns]
            return Spread(statistics.stdev(reruns), len(reruns) - 1, known.what)
    return None


def _judge(claim: Claim, found: list[Pair], level: float, known: Spread | None) -> tuple[Outcome, tuple[Pair, ...]]:
    each = bonferroni(level, sum(pair.measured for pair in found))
    pairs = tuple(replace(pair, verdict=_verdict(claim, pair, each, known)) for pair in found)
    return outcome_of(claim, pairs), pairs


def _verdict(claim: Claim, pair: Pair, level: float, known: Spread | None) -> Verdict:
    treated, baseline = (values_of(runs, claim.metric) for runs in (pair.treated, pair.baseline))
    return judge_gain(treated, baseline, float(claim.delta), margin_of(claim), level, known)


def margin_of(claim: Claim) -> float:
    """How far from the claimed gain still counts as it: as the claim's file says, else half the gain (chosen)."""
    return float(claim.margin if claim.margin is not None else abs(claim.delta) / 2)


def outcome_of(claim: Claim, pairs: Iterable[Pair]) -> Outcome:
    """Of a claim from its pairs.

    "equal to d" holds of every pair: one that contradicts it decides, and it is reproduced when all pairs show it.
    "up to d" is a claim about the best of several. It is reproduced when one of them shows d and none shows more, and
    contradicted when one shows more than d, or when all pairs of a depth were measured and every one shows less.
    """
    pairs = list(pairs)
    judged = [pair for pair in pairs if pair.measured]
    if not judged:
        return "not measured"
    outcomes = {pair.verdict.outcome for pair in pairs}
    if claim.relation == "equal":
        if "contradicted" in outcomes:
            return "contradicted"
        return "reproduced" if outcomes == {"reproduced"} else "inconclusive"
    above = float(claim.delta) + margin_of(claim)
    if any(pair.verdict.difference and pair.verdict.difference.low > above for pair in judged):
        return "contradicted"
    if "reproduced" in outcomes:
        return "reproduced"
    unmeasured_networks = {parse_variant(pair.variant).architecture_name for pair in pairs if not pair.measured}
    a_whole_network = {parse_variant(pair.variant).architecture_name for pair in judged} - unmeasured_networks
    all_lower = all(pair.verdict.outcome == "contradicted" for pair in judged)
    return "contradicted" if a_whole_network and all_lower else "inconclusive"
