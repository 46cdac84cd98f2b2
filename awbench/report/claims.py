"""The table of claims: what was claimed, what the study about it measured, and both answers."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from awbench.planning.outlook import outlook
from awbench.records import Record, Records
from awbench.reference.load import References
from awbench.reference.source import Claim
from awbench.report.answers import (
    caveat_notes,
    comparison_object,
    shown_answer,
    shown_compatible,
    shown_interval,
    shown_look,
    shown_training,
)
from awbench.report.table import Column, Table, estimate
from awbench.studies import Study
from awbench.text import plural
from awbench.variants import AWOptions
from awbench.verdicts.claims import JudgedClaim, judge_claims
from awbench.verdicts.interval import Interval
from awbench.verdicts.runs import values_of
from awbench.verdicts.study import JudgedComparison, claimed_gain

STATUSES = ("as claimed", "less than claimed", "more than claimed", "undecided", "too early", "not measured")


def claimed(claim: Claim) -> str:
    """E.g. "up to +0.57 percentage points"."""
    return f"{'' if claim.relation == 'equal' else 'up to '}{claim.delta:+} {claim.unit}"


def status_of(judged: JudgedClaim | JudgedComparison) -> str:
    """One of STATUSES: the answer to whether the gain is the claimed one, or how far it is from one."""
    if judged.size != "undecided":
        return judged.size if judged.size == "as claimed" else f"{judged.size} than claimed"
    comparisons = judged.comparisons if isinstance(judged, JudgedClaim) else (judged,)
    if any(pair.look for pair in comparisons):
        return "undecided"
    return "too early" if any(pair.treated or pair.baseline for pair in comparisons) else "not measured"


def requirement(judged: JudgedClaim) -> str:
    """What a claim that is not answered needs; "" where its study has no look left."""
    if judged.study is None:
        return "no study is about it: write one (docs/verdicts.md in the source)"
    if not any(pair.next_look for pair in judged.comparisons):
        return ""
    study = judged.study.study
    data = "" if study.facts.proxy else " --data DIR"
    left = sum(count for _, count in left_aside(judged))
    aside = f"; {plural(left, 'run')} left aside, see 'awbench study status {study.argument}'" if left else ""
    return f"needs 'awbench study run {study.argument}{data}'{aside}"


def left_aside(judged: JudgedClaim) -> list[tuple[str, int]]:
    """Why runs of the claim's networks do not count, with how many, most first."""
    if judged.study is None:
        return []
    study = judged.study.study
    pairs = (pair.comparison for pair in judged.comparisons)
    networks = {study.variant_of(label).name for pair in pairs for label in (pair.variant, pair.over)}
    left = judged.study.evidence.left_aside
    return Counter(left_run.reason for left_run in left if left_run.record.variant in networks).most_common()


def headline(judged: JudgedClaim) -> str:
    """Both answers, e.g. "loss; less than claimed"; before the first look "too early" or "not measured"."""
    status = status_of(judged)
    return status if status in ("too early", "not measured") else shown_answer(judged)


def verdict_text(judged: JudgedClaim) -> str:
    """The headline, and what a claim needs that has no look yet."""
    found = headline(judged)
    return f"{found}: {requirement(judged)}" if found in ("too early", "not measured") else found


@functools.cache
def aw_setting() -> str:
    """How well the choices of the AW-convolution that is built here are known, for beside every verdict."""
    return f"AW as built here: {_choices()} from memory (docs/method.md in the source)"


def _choices() -> str:
    counts = Counter(field.metadata["provenance"] for field in dataclasses.fields(AWOptions))
    return f"{counts['chosen']} choices ours, {counts['recalled']} recalled"


def shown_setting(judged: JudgedComparison) -> str:
    """The AW options that the study changes, or that it is the default; and how well its choices are known."""
    network = judged.study.networks.get(judged.comparison.variant)
    changed = ", ".join(f"{name}={value}" for name, value in network.aw.items()) if network else ""
    return f"{changed or 'default'} ({_choices()})"


def shown_side(runs: tuple[Record, ...], metric: str) -> str:
    """Mean and standard deviation, e.g. "78.40, sd 0.10"."""
    values = values_of(runs, metric)
    if not values:
        return ""
    deviation = f", sd {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


@dataclass(frozen=True)
class ClaimRow:
    """A claim as a whole, with its comparison where it has one alone; or one of several, below its claim's row.

    Attributes:
        judged: by the study that answers it, or by another one.
        would_decide: what would, and with which probability.
        other: whether the study is another one; its rows stand below too.
    """

    judged: JudgedClaim
    comparison: JudgedComparison | None = None
    would_decide: str = ""
    other: bool = False

    @property
    def claim(self) -> Claim:
        return self.judged.claim

    @property
    def below(self) -> bool:
        return self.other or self.pair

    @property
    def pair(self) -> bool:
        """Whether it is one of several pairs."""
        return self.comparison is not None and len(self.judged.comparisons) > 1

    @property
    def runs(self) -> tuple[Record, ...]:
        return self.comparison.treated + self.comparison.baseline if self.comparison else ()


def claim_rows(judged: JudgedClaim, would_decide: str = "", other: bool = False) -> list[ClaimRow]:
    """The claim's row, and where it speaks of several pairs one for each that has runs."""
    if len(judged.comparisons) == 1:
        return [ClaimRow(judged, judged.comparisons[0], would_decide, other)]
    pairs = [ClaimRow(judged, pair, "", other) for pair in judged.comparisons if pair.treated or pair.baseline]
    return [ClaimRow(judged, None, would_decide, other), *pairs]


def _names(side: str | list[str]) -> str:
    return side if isinstance(side, str) else ", ".join(side)


def _of_pair(text: Any) -> Any:
    """A cell that only rows of a comparison have."""
    return lambda row: text(row.comparison) if row.comparison else ""


def _side(name: str, runs: Callable[[JudgedComparison], tuple[Record, ...]]) -> Column[ClaimRow]:
    """The mean and the deviation of the runs with what is compared, or without it."""
    return Column.shown(
        name, _of_pair(lambda pair: shown_side(runs(pair), pair.study.metric)), right=True, detail=True,
        parts=mean_and_deviation(name, lambda row: _values(row.comparison, runs)),
    )  # fmt: skip


def _values(pair: JudgedComparison | None, runs: Callable[[JudgedComparison], tuple[Record, ...]]) -> Sequence[float]:
    return values_of(runs(pair), pair.study.metric) if pair else ()


def mean_and_deviation(name: str, values: Callable[[Any], Sequence[float]]) -> dict[str, Callable[[Any], float | None]]:
    """Parts of a column as `shown_side` shows it."""
    return {
        name: lambda row: statistics.fmean(found) if (found := values(row)) else None,
        f"{name} sd": lambda row: statistics.stdev(found) if len(found := values(row)) > 1 else None,
    }


def _estimate(row: ClaimRow) -> Interval | None:
    return row.comparison.interval if row.comparison else row.judged.interval


def _interval(row: ClaimRow) -> str:
    found = _estimate(row)
    return shown_interval(found) if found else ""


def _verdict(row: ClaimRow) -> str:
    if not row.pair:
        return f"{_in_study(row)}{verdict_text(row.judged)}"
    return f"{_in_study(row)}{shown_answer(row.comparison)}" if row.comparison and row.comparison.interval else ""


def _in_study(row: ClaimRow) -> str:
    return f"in study {row.judged.study.study.name}: " if row.other and row.judged.study else ""


def _left_aside(row: ClaimRow) -> str:
    return "" if row.pair else "; ".join(f"{count}: {reason}" for reason, count in left_aside(row.judged))


def _other_study(judged: JudgedClaim) -> dict[str, Any]:
    return {
        "study": judged.study.study.name if judged.study else None,
        "gain": judged.gain,
        "size": judged.size,
        "interval": [judged.interval.low, judged.interval.high] if judged.interval else None,
        "pairs": [comparison_object(pair) for pair in judged.comparisons],
    }


_COLUMNS: tuple[Column[ClaimRow], ...] = (
    Column("claim", lambda row: row.claim.id, key="id"),
    Column("verdict", lambda row: verdict_text(row.judged), show=_verdict),
    Column.shown("measured (interval)", _interval, right=True, parts=estimate("measured", _estimate)),
    Column(
        "claimed", lambda row: float(row.claim.delta), show=lambda row: "" if row.below else claimed(row.claim),
        key="claimed_difference", right=True,
        parts={"claimed": lambda row: float(row.claim.delta), "unit": lambda row: row.claim.unit},
    ),
    Column("variant", lambda row: row.claim.variant, show=lambda row: _names(_pair(row)[0])),
    Column("over", lambda row: row.claim.over, show=lambda row: _names(_pair(row)[1]), detail=True),
    Column.exact("margin", lambda row: claimed_gain(row.claim).margin),
    Column.exact("relation", lambda row: row.claim.relation),
    Column.exact("unit", lambda row: row.claim.unit),
    Column.exact("dataset", lambda row: row.claim.dataset),
    Column.exact("study", lambda row: row.judged.study.study.name if row.judged.study else None),
    Column.shown("publication", _of_pair(shown_compatible), detail=True),
    Column.shown("look", _of_pair(shown_look), detail=True),
    _side("with", lambda pair: pair.treated),
    _side("without", lambda pair: pair.baseline),
    Column.shown("AW setting", _of_pair(shown_setting), detail=True),
    Column.shown("trained", _of_pair(lambda pair: shown_training(pair.study)), detail=True),
    Column.shown("what would decide", lambda row: row.would_decide, detail=True),
    Column.shown("left aside", _left_aside, detail=True),
    Column.shown("beside it", _of_pair(lambda pair: " ".join(pair.caveats)), detail=True),
    Column("metric", lambda row: row.claim.metric, detail=True),
    Column("source", lambda row: row.judged.source.id, detail=True),
    Column(
        "provenance", lambda row: row.judged.provenance, show=lambda row: "" if row.below else row.judged.provenance,
        key="standing", detail=True,
    ),
    Column.exact("url", lambda row: row.judged.url),
    Column.exact("status", lambda row: status_of(row.judged)),
    Column.exact("gain", lambda row: row.judged.gain),
    Column.exact("size", lambda row: row.judged.size),
    Column.exact(
        "interval", lambda row: [row.judged.interval.low, row.judged.interval.high] if row.judged.interval else None
    ),
    Column.exact("pairs", lambda row: [comparison_object(pair) for pair in row.judged.comparisons]),
    Column.exact("left_aside", lambda row: dict(left_aside(row.judged))),
    Column.exact("would_decide", lambda row: row.would_decide),
    Column.exact("other_studies", lambda row: [_other_study(answer) for answer in row.judged.others]),
)  # fmt: skip


def _pair(row: ClaimRow) -> tuple[str | list[str], str | list[str]]:
    if row.pair and row.comparison:
        return row.comparison.comparison.variant, row.comparison.comparison.over
    return row.claim.variant, row.claim.over


def claims_table(records: Records, references: References, studies: Sequence[Study] | None = None) -> Table:
    """A row for each claim; where it speaks of several pairs, one for each below it, then those of further studies.

    Args:
        studies: None for the project's own.
    """
    rows = []
    for judged in judge_claims(records, references, studies):
        rows += claim_rows(judged, outlook(judged, references))
        rows += [row for answer in judged.others for row in claim_rows(answer, outlook(answer, references), other=True)]
    return Table(
        title="Claims and their verdicts",
        fields=_COLUMNS,
        values=rows,
        notes=(
            "Two answers. Is there a gain: the whole interval is above 0. Is it the claimed one: the interval lies "
            "within the claimed gain and its margin (half of it, unless the claim's file gives another), or beyond.",
            "Only runs of the claim's study count (awbench study show NAME): its networks, recipe, data, seeds and "
            "looks were decided before. What exists and does not count is left aside, with the reason.",
            "Intervals pool the run-to-run deviation of the study's networks where the pair's is less; all "
            "looks and pairs of a claim hold together at the study's level (docs/verdicts.md in the source). Up to: an "
            "interval of the largest gain over the pairs that the publication names.",
            "What would decide: the runs of the first look by which a true claim is answered with 80% probability, "
            "else of the last look; with the run-to-run deviation of the study's own runs, else the median of "
            "published ones.",
            "Publication: whether one more pair of single runs may well show what it says.",
            f"{aw_setting()}; a verdict is about that setting.",
        ),
        records_of=lambda row: [run.key for run in row.runs],
        notes_of=lambda row: caveat_notes(row.judged.comparisons),
        source_of=lambda row: row.judged.source.id,
        has_object=lambda row: not row.below,
    )
