"""Claims of gains held to the records of training runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from awbench.detection.job import PROTOCOL as DETECTION_PROTOCOL
from awbench.records import Record, RecordStore
from awbench.reference.load import References
from awbench.reference.measured import IMAGENET_VAL_IMAGES, by_seed, has_default_options
from awbench.reference.source import METRICS, Claim, Scatter
from awbench.reference.verdicts import NOT_MEASURED, Outcome, Spread, Verdict, bonferroni, judge_gain
from awbench.training.job import PROTOCOL
from awbench.variants import ARCHITECTURES, DETECTION_DEPTHS, ModelOptions, list_variants

LEVEL = 0.95
# What a claim's words for its data are called here; runs on anything else are no evidence for it.
DATASETS = {"ImageNet-1k val": "imagenet", "COCO val2017": "coco"}
_PROTOCOLS = {"accuracy": PROTOCOL, "detection": DETECTION_PROTOCOL}


@dataclass(frozen=True)
class Pair:
    """One network over another, and what runs say of the gain.

    Attributes:
        runs: of each, trained alike.
    """

    variant: str
    over: str
    verdict: Verdict
    runs: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class JudgedClaim:
    """Attributes: outcome, of the whole claim; pairs, each that it speaks of and records may decide."""

    claim: Claim
    standing: str
    url: str
    outcome: Outcome
    pairs: tuple[Pair, ...]


def judge_claims(store: RecordStore, references: References) -> list[JudgedClaim]:
    """All claims of the references. Those that were measured are corrected for being several (Bonferroni)."""
    pairs = {
        claim.id: [_Runs(claim, *names, store) for names in claimed_pairs(claim)] for _, claim in references.claims
    }
    measured = sum(any(pair.measured for pair in of_claim) for of_claim in pairs.values())
    level = bonferroni(LEVEL, measured)
    return [
        JudgedClaim(
            claim,
            claim.standing or source.standing or "unknown",
            claim.url or source.url,
            *_judge(claim, pairs[claim.id], level, _known(claim, references.scatter)),
        )
        for source, claim in references.claims
    ]


def claimed_pairs(claim: Claim) -> list[tuple[str, str]]:
    """(network, baseline) of a claim; attention settings stand for networks of every ImageNet depth."""
    sides = [[side] if isinstance(side, str) else side for side in (claim.variant, claim.over)]
    known = {variant.name for variant in list_variants()}
    pairs = []
    for variant, over in zip(*sides, strict=True):
        if variant in known:
            pairs.append((variant, over))
            continue
        detection = METRICS[claim.metric].kind == "detection"
        depths = DETECTION_DEPTHS if detection else [d for d, a in ARCHITECTURES.items() if a.num_classes == 1000]
        form = "faster_rcnn_{}_resnet{}_fpn" if detection else "{}_resnet{}"
        pairs += [(form.format(variant, depth), form.format(over, depth)) for depth in depths]
    return pairs


class _Runs:
    """The runs of a pair that were trained and evaluated alike; of several ways, the one with the most runs."""

    def __init__(self, claim: Claim, variant: str, over: str, store: RecordStore) -> None:
        self.variant, self.over = variant, over
        sides = [_trained(claim, name, store) for name in (variant, over)]
        alike = sorted(set(sides[0]) & set(sides[1]), key=lambda way: min(len(side[way]) for side in sides))
        self.treated, self.baseline = ([] if not alike else side[alike[-1]] for side in sides)

    @property
    def measured(self) -> bool:
        return bool(self.treated and self.baseline)


def _trained(claim: Claim, variant: str, store: RecordStore) -> dict[str, list[float]]:
    """way of training -> the metric, one value a seed."""
    kind, dataset = METRICS[claim.metric].kind, DATASETS.get(claim.dataset)
    ways: dict[str, list[Record]] = {}
    for record in store.load(kind):
        if record.variant == variant and _counts(record, kind, dataset, claim.metric):
            ways.setdefault(_way(record), []).append(record)
    return {way: [float(r.value(claim.metric)) for r in by_seed(runs).values()] for way, runs in ways.items()}


def _counts(record: Record, kind: str, dataset: str | None, metric: str) -> bool:
    settings = record.settings
    whole = record.value("images") == IMAGENET_VAL_IMAGES if kind == "accuracy" else settings.get("complete")
    return bool(
        dataset is not None
        and settings["origin"] == "trained"
        and settings["dataset"] == dataset
        and settings.get("protocol") == _PROTOCOLS[kind]
        and whole
        and metric in record.values
        and has_default_options(record, ModelOptions(stride_placement=record.options["stride_placement"]))
    )


def _way(record: Record) -> str:
    """Everything of a run that must be the same for two networks to be compared, but for the networks and the seed."""
    settings = {name: value for name, value in record.settings.items() if name != "seed"}
    own = ("backbone_weights_sha256", "initial_weights_sha256")  # of another network they are other weights
    inputs = {name: value == "random" if name in own else value for name, value in record.inputs.items()}
    return json.dumps([settings, inputs, record.options["stride_placement"]], sort_keys=True)


def _known(claim: Claim, scatter: Iterable[Scatter]) -> Spread | None:
    """How reruns of one recipe scatter in the claim's metric, from the references."""
    for known in scatter:
        if known.metric == claim.metric and known.of == "training" and len(known.reruns) > 1:
            reruns = [float(value) for value in known.reruns]
            return Spread(statistics.stdev(reruns), len(reruns) - 1, known.what)
    return None


def _judge(claim: Claim, runs: list[_Runs], level: float, known: Spread | None) -> tuple[Outcome, tuple[Pair, ...]]:
    judged = [pair for pair in runs if pair.measured]
    each = bonferroni(level, len(judged))
    pairs = tuple(
        Pair(
            pair.variant,
            pair.over,
            judge_gain(pair.treated, pair.baseline, float(claim.delta), margin_of(claim), each, known),
            (len(pair.treated), len(pair.baseline)),
        )
        if pair.measured
        else Pair(pair.variant, pair.over, NOT_MEASURED)
        for pair in runs
    )
    return outcome_of(claim, pairs), pairs


def margin_of(claim: Claim) -> float:
    """How far from the claimed gain still counts as it: as the claim's file says, else half the gain (chosen)."""
    return float(claim.margin if claim.margin is not None else abs(claim.delta) / 2)


def outcome_of(claim: Claim, pairs: Iterable[Pair]) -> Outcome:
    """Of a claim from its pairs.

    "up to d" is a claim about the best of several. It is reproduced when one of them shows d and none shows more, and
    contradicted when one shows more than d, or when all pairs of a depth were measured and every one shows less.
    """
    pairs = list(pairs)
    judged = [pair for pair in pairs if pair.verdict.outcome != "not measured"]
    if not judged:
        return "not measured"
    if claim.relation == "equal":
        return judged[0].verdict.outcome
    above = float(claim.delta) + margin_of(claim)
    if any(pair.verdict.difference and pair.verdict.difference.low > above for pair in judged):
        return "contradicted"
    if any(pair.verdict.outcome == "reproduced" for pair in judged):
        return "reproduced"
    unmeasured_depths = {_depth(pair) for pair in pairs if pair.verdict.outcome == "not measured"}
    a_whole_depth = {_depth(pair) for pair in judged} - unmeasured_depths
    all_lower = all(pair.verdict.outcome == "contradicted" for pair in judged)
    return "contradicted" if a_whole_depth and all_lower else "inconclusive"


def _depth(pair: Pair) -> str:
    return pair.variant.rpartition("resnet")[2]
