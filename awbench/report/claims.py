"""The table of claims and their verdicts, from records."""

from __future__ import annotations

import math
from typing import Any

from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.reference.source import CLAIM_DATASETS, METRICS, Claim
from awbench.report.formats import Table
from awbench.verdicts.claims import LEVEL, JudgedClaim, Pair, judge_claims, margin_of
from awbench.verdicts.gain import Verdict

NEEDS = {
    "accuracy": "not measured: needs ImageNet and a CUDA GPU (AWBENCH_IMAGENET=DIR awbench reproduce)",
    "detection": "not measured: needs COCO and a CUDA GPU (AWBENCH_COCO=DIR awbench reproduce)",
}
COLUMNS = (
    "claim", "source", "variant", "over", "metric", "claimed difference", "measured difference", "runs", "standing",
    "verdict",
)  # fmt: skip


def claims_table(records: Records, references: References) -> Table:
    """A row for each claim under test; where it speaks of several pairs, one for each that was measured."""
    judged = judge_claims(records, references)
    rows = [row for one in judged for row in _rows(one)]
    return Table(
        title="Claims and their verdicts",
        columns=COLUMNS,
        rows=[cells for cells, _ in rows],
        objects=[_object(one) for one in judged],
        notes=(
            "A gain counts as the claimed one within a margin: half of it, unless the claim's file gives another. "
            "Reproduced: the whole interval of the measured gain lies within. Contradicted: all of it lies beyond, on "
            "either side; too much is suspect too. Inconclusive: neither.",
            f"Intervals are Welch's t over runs with different seeds; those of all measured claims hold together at "
            f"{LEVEL:.0%} (Bonferroni). With a single run the spread is that of published reruns on the same "
            "data, or of the other network's runs where that is larger, and said so.",
            "Runs on digits and shapes are no evidence for any claim; they have their own tables (proxy, shapes).",
        ),
        right_aligned=frozenset({"claimed difference", "measured difference"}),
        origins=[tuple(run.key for run in runs) for _, runs in rows],
        sources=[cells[1] for cells, _ in rows],
    )


def _rows(judged: JudgedClaim) -> list[tuple[tuple[str, ...], tuple[Record, ...]]]:
    """(cells, the runs they are made from) of each row."""
    claim = judged.claim
    variant, over = (side if isinstance(side, str) else ", ".join(side) for side in (claim.variant, claim.over))
    head = (claim.id, judged.source.id, variant, over, claim.metric, claimed(claim))
    measured = [pair for pair in judged.pairs if pair.measured]
    if not measured:
        return [((*head, "", "", judged.standing, needs(judged)), ())]
    if len(judged.pairs) == 1:
        (pair,) = measured
        cells = (*head, *_pair_cells(pair), judged.standing, describe(pair.verdict, claim))
        return [(cells, (*pair.treated, *pair.baseline))]
    own = (claim.id, judged.source.id)
    return [((*head, "", "", judged.standing, judged.outcome), ())] + [
        (
            (*own, pair.variant, pair.over, claim.metric, "", *_pair_cells(pair), "", describe(pair.verdict, claim)),
            (*pair.treated, *pair.baseline),
        )
        for pair in measured
    ]


def claimed(claim: Claim) -> str:
    """E.g. "up to +0.57 percentage points"."""
    return f"{'' if claim.relation == 'equal' else 'up to '}{claim.delta:+} {claim.unit}"


def needs(judged: JudgedClaim) -> str:
    """What a claim that is not measured needs; where there are runs that cannot be compared, in what they differ."""
    unlike = next((pair for pair in judged.pairs if pair.unlike), None)
    if unlike:
        return (
            f"not measured: needs runs of {unlike.variant} and {unlike.over} that were trained and evaluated alike; "
            f"those there are differ in {unlike.unlike}"
        )
    dataset = CLAIM_DATASETS[judged.claim.dataset]
    if dataset in ("imagenet", "coco"):
        return NEEDS[METRICS[judged.claim.metric].kind]
    return f"not measured: needs {judged.claim.dataset} (awbench sweep --dataset {dataset} --data DIR --recipes cifar)"


def _pair_cells(pair: Pair) -> tuple[str, str]:
    difference = pair.verdict.difference
    assert difference is not None, "it was measured"
    interval = "unknown" if math.isnan(difference.low) else f"{difference.low:+.2f} to {difference.high:+.2f}"
    return f"{difference.value:+.2f} ({interval})", f"{pair.runs[0]} and {pair.runs[1]}"


def describe(verdict: Verdict, claim: Claim) -> str:
    """E.g. "inconclusive: about 3 more run(s) of each would settle it; spread of these runs"."""
    if verdict.outcome == "inconclusive" and verdict.spread.startswith("unknown"):
        return f"inconclusive: spread {verdict.spread}"
    details = ""
    if verdict.outcome == "inconclusive":
        more = verdict.more_runs
        settles = "no 1000 runs" if more is None else f"about {more} more run(s) of each"
        details = f": {settles} would settle it"
    elif verdict.outcome == "contradicted" and verdict.difference is not None:
        beyond = verdict.difference.value - float(claim.delta)
        too_good = beyond > 0 if claim.delta >= 0 else beyond < 0
        details = ": more than claimed, too good is suspect" if too_good else ": less than claimed"
    return f"{verdict.outcome}{details}; spread of {verdict.spread}"


def _object(judged: JudgedClaim) -> dict[str, Any]:
    claim = judged.claim
    return {
        "id": claim.id,
        "source": judged.source.id,
        "variant": claim.variant,
        "over": claim.over,
        "metric": claim.metric,
        "claimed_difference": float(claim.delta),
        "margin": margin_of(claim),
        "relation": claim.relation,
        "unit": claim.unit,
        "dataset": claim.dataset,
        "standing": judged.standing,
        "url": judged.url,
        "outcome": judged.outcome,
        "verdict": needs(judged) if judged.outcome == "not measured" else judged.outcome,
        "pairs": [_pair_object(pair, claim) for pair in judged.pairs if pair.measured],
    }


def _pair_object(pair: Pair, claim: Claim) -> dict[str, Any]:
    difference = pair.verdict.difference
    assert difference is not None, "it was measured"
    known = not math.isnan(difference.low)
    return {
        "variant": pair.variant,
        "over": pair.over,
        "runs": list(pair.runs),
        "difference": difference.value,
        "interval": [difference.low, difference.high] if known else None,
        "level": difference.level,
        "outcome": pair.verdict.outcome,
        "spread": pair.verdict.spread,
        "more_runs": pair.verdict.more_runs,
        "verdict": describe(pair.verdict, claim),
        "records": [run.key for run in (*pair.treated, *pair.baseline)],
    }
