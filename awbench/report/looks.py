"""The looks of every study that were taken: what was known when, and when a question was answered."""

from __future__ import annotations

from dataclasses import replace

from awbench.records import Records
from awbench.reference.load import References
from awbench.report.answers import caveat_notes, shown_answer, shown_interval
from awbench.report.table import Column, Table, Unmeasured, estimate
from awbench.studies import load_studies
from awbench.verdicts.study import JudgedComparison, judge_study

_COLUMNS: tuple[Column[JudgedComparison], ...] = (
    Column("study", lambda pair: pair.study.name),
    Column("network", lambda pair: pair.comparison.variant),
    Column("over", lambda pair: pair.comparison.over),
    Column("claim", lambda pair: pair.comparison.claim or None, detail=True),
    Column("look", lambda pair: pair.look, "d"),
    Column("of", lambda pair: len(pair.looks), "d"),
    Column("runs", lambda pair: pair.latest.runs, "d"),
    Column(
        "gain (interval)", lambda pair: shown_interval(pair.interval), key="", right=True,
        parts=estimate("gain", lambda pair: pair.interval),
    ),
    Column("level", lambda pair: pair.interval.level if pair.interval else None, ".4f", detail=True),
    Column("verdict", shown_answer),
    Column.exact("difference", lambda pair: pair.interval and pair.interval.value),
    Column.exact("interval", lambda pair: pair.interval and [pair.interval.low, pair.interval.high]),
)  # fmt: skip


_NEEDS = "not measured: needs 'awbench study run NAME' up to its first look"


def looks_table(records: Records, references: References) -> Table:
    """A row for each look of each comparison, of all studies but smoke tests."""
    claims = [claim for _, claim in references.claims]
    studies = [study for study in load_studies() if study.purpose != "smoke test"]
    rows = [
        replace(pair, taken=pair.taken[:number])  # as it was judged at that look
        for study in studies
        for pair in judge_study(study, records, claims).comparisons
        for number in range(1, pair.look + 1)
    ]
    return Table(
        title="Looks that were taken",
        fields=_COLUMNS,
        values=rows or [Unmeasured({"study": _NEEDS}, {"needs": _NEEDS})],
        notes=(
            "A look is an interim analysis, at so many runs of each network as the study declared. Level: of this "
            "look's interval; those of all looks of a question hold together at the study's level.",
            "All are judged by today's rules, each by the pair's runs of that look. How far runs deviate is taken from "
            "other networks' runs of their first look too, which may have ended after a pair's.",
        ),
        notes_of=lambda pair: caveat_notes(other for other in rows if other.study is pair.study),
        records_of=lambda pair: [run.key for side in (pair.treated, pair.baseline) for run in side[: pair.latest.runs]],
    )
