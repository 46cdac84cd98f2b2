"""Claims of gains held to the records of training runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from awbench.recipes.datasets import DATASET_FACTS
from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining
from awbench.reference.claim import Claim
from awbench.reference.load import References
from awbench.reference.source import Source
from awbench.verdicts.deviation import RunToRunDeviation, published_deviation
from awbench.verdicts.gain import NOT_MEASURED, Outcome, Verdict, bonferroni, judge_gain
from awbench.verdicts.given_runs import measure_gain as measure_gain
from awbench.verdicts.index import records_of
from awbench.verdicts.pairs import architecture_of, claimed_pairs
from awbench.verdicts.protocol import (
    differing,
    has_default_options,
    is_training,
    own_placement,
    training_protocol,
)
from awbench.verdicts.runs import by_seed, values_of
from awbench.verdicts.statistics import LEVEL

Runs = tuple[Record, ...]
# For report, until they are renamed there.
training_way = training_protocol


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
    treated: Runs = ()
    baseline: Runs = ()
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


def judge_claims(records: Records, references: References) -> list[JudgedClaim]:
    """All claims of the references. Those that were measured are corrected for being several (Bonferroni)."""
    found = [[_find_runs(claim, *names, records) for names in claimed_pairs(claim)] for _, claim in references.claims]
    level = bonferroni(LEVEL, sum(any(pair.measured for pair in pairs) for pairs in found))
    judged = []
    for (source, claim), unjudged in zip(references.claims, found, strict=True):
        known = published_deviation(claim.metric, claim.dataset, references.run_to_run)
        pairs = _judge_pairs(claim, unjudged, level, known)
        judged.append(JudgedClaim(source, claim, outcome_of(claim, pairs), pairs))
    return judged


def _find_runs(claim: Claim, variant: str, baseline: str, records: Records) -> Pair:
    """The runs of a pair that were trained and evaluated alike; of several protocols, the one with the most runs."""
    treated, untreated = (trained_runs(claim, name, records) for name in (variant, baseline))
    shared = treated.keys() & untreated.keys()
    if shared:
        chosen = max(shared, key=lambda protocol: (min(len(treated[protocol]), len(untreated[protocol])), protocol))
        return Pair(variant, baseline, treated=treated[chosen], baseline=untreated[chosen])
    return Pair(variant, baseline, unlike=_unlike(treated, untreated) if treated and untreated else "")


def trained_runs(claim: Claim, variant: str, records: Records) -> dict[str, Runs]:
    """protocol -> the runs of a network that count for a claim, one a seed."""
    protocols: dict[str, list[Record]] = {}
    for record in records_of(records, claim.kind, variant):
        if _counts(record, claim):
            protocols.setdefault(json.dumps(training_protocol(record), sort_keys=True), []).append(record)
    return {protocol: tuple(by_seed(runs).values()) for protocol, runs in protocols.items()}


def _counts(record: Record, claim: Claim) -> bool:
    """Whether a run is evidence: trained for the claim's data by the project's code, and evaluated on all of it."""
    settings = record.settings
    if isinstance(settings, DetectorTraining):
        whole = settings.complete
    else:
        whole = record.value("images") == DATASET_FACTS[claim.dataset_name].val_images
    return (
        is_training(record, claim.dataset_name)
        and whole
        and claim.metric in record.values
        and has_default_options(record, own_placement(record))
    )


def _unlike(treated: dict[str, Runs], untreated: dict[str, Runs]) -> str:
    """In what the runs of two networks differ, of the protocols that differ in the least: "recipe, evaluation"."""
    differences = [differing(map(json.loads, protocols)) for protocols in product(treated, untreated)]
    least: list[str] = min(differences, key=lambda names: (len(names), names))
    return ", ".join(least)


def _judge_pairs(claim: Claim, pairs: list[Pair], level: float, known: RunToRunDeviation | None) -> tuple[Pair, ...]:
    """The pairs with their verdicts, corrected for being several."""
    level = bonferroni(level, sum(pair.measured for pair in pairs))
    judged = []
    for pair in pairs:
        treated, baseline = (values_of(runs, claim.metric) for runs in (pair.treated, pair.baseline))
        verdict = judge_gain(treated, baseline, float(claim.delta), margin_of(claim), level, known)
        judged.append(replace(pair, verdict=verdict))
    return tuple(judged)


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
    incomplete = {architecture_of(pair.variant) for pair in pairs if not pair.measured}
    complete = {architecture_of(pair.variant) for pair in judged} - incomplete
    all_lower = all(pair.verdict.outcome == "contradicted" for pair in judged)
    return "contradicted" if complete and all_lower else "inconclusive"
