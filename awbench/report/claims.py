"""The table of claims and their verdicts, from records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from awbench.records import Records
from awbench.reference.load import References
from awbench.reference.source import CLAIM_DATASETS, METRICS, Claim
from awbench.report.table import Column, Table
from awbench.verdicts.claims import LEVEL, JudgedClaim, Pair, judge_claims, margin_of
from awbench.verdicts.gain import Verdict

REQUIREMENTS = {
    "accuracy": "not measured: needs ImageNet and a CUDA GPU (AWBENCH_IMAGENET=DIR awbench reproduce)",
    "detection": "not measured: needs COCO and a CUDA GPU (AWBENCH_COCO=DIR awbench reproduce)",
}


def claimed(claim: Claim) -> str:
    """E.g. "up to +0.57 percentage points"."""
    return f"{'' if claim.relation == 'equal' else 'up to '}{claim.delta:+} {claim.unit}"


def requirement(judged: JudgedClaim) -> str:
    """What an unmeasured claim needs; where there are runs that cannot be compared, in what they differ."""
    unlike = next((pair for pair in judged.pairs if pair.unlike), None)
    if unlike:
        return (
            f"not measured: needs runs of {unlike.variant} and {unlike.over} that were trained and evaluated alike; "
            f"those there are differ in {unlike.unlike}"
        )
    dataset = CLAIM_DATASETS[judged.claim.dataset]
    if dataset in ("imagenet", "coco"):
        return REQUIREMENTS[METRICS[judged.claim.metric].kind]
    return f"not measured: needs {judged.claim.dataset} (awbench sweep --dataset {dataset} --data DIR --recipes cifar)"


def shown_gain(pair: Pair) -> str:
    """E.g. "+1.00 (+0.77 to +1.23)"."""
    difference = pair.verdict.difference
    assert difference is not None, "it was measured"
    interval = "unknown" if math.isnan(difference.low) else f"{difference.low:+.2f} to {difference.high:+.2f}"
    return f"{difference.value:+.2f} ({interval})"


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


def verdict_of(judged: JudgedClaim) -> str:
    """Of the claim as a whole: its outcome, or what it needs."""
    return requirement(judged) if judged.outcome == "not measured" else judged.outcome


@dataclass(frozen=True)
class ClaimRow:
    """A claim as a whole, with its pair where it has one alone; or one pair of several, below its claim's row."""

    judged: JudgedClaim
    pair: Pair | None = None

    @property
    def claim(self) -> Claim:
        return self.judged.claim

    @property
    def below(self) -> bool:
        return self.pair is not None and len(self.judged.pairs) > 1


def claim_rows(judged: JudgedClaim) -> list[ClaimRow]:
    """The claim's row, and where it speaks of several pairs one for each that was measured."""
    measured = [ClaimRow(judged, pair) for pair in judged.pairs if pair.measured]
    return measured if len(judged.pairs) == 1 and measured else [ClaimRow(judged), *measured]


def _claimed(row: ClaimRow) -> str:
    return "" if row.below else claimed(row.claim)


def _verdict(row: ClaimRow) -> str:
    return describe(row.pair.verdict, row.claim) if row.pair else verdict_of(row.judged)


def _names(side: str | list[str]) -> str:
    return side if isinstance(side, str) else ", ".join(side)


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


_COLUMNS: tuple[Column[ClaimRow], ...] = (
    Column("claim", lambda row: row.claim.id, key="id"),
    Column("source", lambda row: row.judged.source.id),
    Column("variant", lambda row: row.claim.variant, show=lambda row: _names((row.pair or row.claim).variant)),
    Column("over", lambda row: row.claim.over, show=lambda row: _names((row.pair or row.claim).over)),
    Column("metric", lambda row: row.claim.metric),
    Column(
        "claimed difference", lambda row: float(row.claim.delta), show=_claimed, key="claimed_difference", right=True
    ),
    Column.exact("margin", lambda row: margin_of(row.claim)),
    Column.exact("relation", lambda row: row.claim.relation),
    Column.exact("unit", lambda row: row.claim.unit),
    Column.exact("dataset", lambda row: row.claim.dataset),
    Column("measured difference", lambda row: row.pair, shown_gain, key="", right=True),
    Column("runs", lambda row: row.pair, lambda pair: f"{pair.runs[0]} and {pair.runs[1]}", key=""),
    Column("standing", lambda row: row.judged.standing, show=lambda row: "" if row.below else row.judged.standing),
    Column.exact("url", lambda row: row.judged.url),
    Column.exact("outcome", lambda row: row.judged.outcome),
    Column("verdict", lambda row: verdict_of(row.judged), show=_verdict),
    Column.exact("pairs", lambda row: [_pair_object(p, row.claim) for p in row.judged.pairs if p.measured]),
)


def claims_table(records: Records, references: References) -> Table:
    """A row for each claim under test; where it speaks of several pairs, one for each that was measured."""
    return Table(
        title="Claims and their verdicts",
        fields=_COLUMNS,
        values=[row for judged in judge_claims(records, references) for row in claim_rows(judged)],
        notes=(
            "A gain counts as the claimed one within a margin: half of it, unless the claim's file gives another. "
            "Reproduced: the whole interval of the measured gain lies within. Contradicted: all of it lies beyond, on "
            "either side; too much is suspect too. Inconclusive: neither.",
            f"Intervals are Welch's t over runs with different seeds; those of all measured claims hold together at "
            f"{LEVEL:.0%} (Bonferroni). With a single run the spread is that of published reruns on the same "
            "data, or of the other network's runs where that is larger, and said so.",
            "Runs on digits and shapes are no evidence for any claim; they have their own tables (proxy, shapes).",
        ),
        records_of=lambda row: [run.key for run in row.pair.treated + row.pair.baseline] if row.pair else [],
        source_of=lambda row: row.judged.source.id,
        has_object=lambda row: not row.below,
    )
