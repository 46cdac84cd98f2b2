"""The looks of every study that were taken: what was known when, and when a question was answered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from awbench.records import Records
from awbench.reference.load import References
from awbench.report.answers import shown_answer, shown_interval
from awbench.report.table import Column, Table, Unmeasured, estimate
from awbench.studies import load_studies
from awbench.verdicts.study import JudgedComparison, Look, judge_study


@dataclass(frozen=True)
class _Row:
    pair: JudgedComparison
    number: int

    @property
    def look(self) -> Look:
        return self.pair.taken[self.number - 1]

    @property
    def answer(self) -> str:
        return shown_answer(replace(self.pair, interval=self.look.interval, gain=self.look.gain, size=self.look.size))


_COLUMNS: tuple[Column[_Row], ...] = (
    Column("study", lambda row: row.pair.study.name),
    Column("network", lambda row: row.pair.comparison.variant),
    Column("over", lambda row: row.pair.comparison.over),
    Column("claim", lambda row: row.pair.comparison.claim or None, detail=True),
    Column("look", lambda row: row.number, "d"),
    Column("of", lambda row: len(row.pair.looks), "d"),
    Column("runs", lambda row: row.look.runs, "d"),
    Column(
        "gain (interval)", lambda row: shown_interval(row.look.interval), key="", right=True,
        parts=estimate("gain", lambda row: row.look.interval),
    ),
    Column("level", lambda row: row.look.interval.level if row.look.interval else None, ".4f", detail=True),
    Column("verdict", lambda row: row.answer),
    Column.exact("difference", lambda row: row.look.interval and row.look.interval.value),
    Column.exact("interval", lambda row: row.look.interval and [row.look.interval.low, row.look.interval.high]),
)  # fmt: skip


_NEEDS = "not measured: needs 'awbench study run NAME' up to its first look"


def looks_table(records: Records, references: References) -> Table:
    """A row for each look of each comparison, of all studies but smoke tests."""
    claims = [claim for _, claim in references.claims]
    studies = [study for study in load_studies() if study.purpose != "smoke test"]
    rows = [
        _Row(pair, number)
        for study in studies
        for pair in judge_study(study, records, claims).comparisons
        for number in range(1, len(pair.taken) + 1)
    ]
    return Table(
        title="Looks that were taken",
        fields=_COLUMNS,
        values=rows or [Unmeasured({"study": _NEEDS}, {"needs": _NEEDS})],
        notes=(
            "A look is an interim analysis, at so many runs of each network as the study declared. Level: of this "
            "look's interval; those of all looks of a question hold together at the study's level.",
            "All are judged as the last one is, each by the runs that it had.",
        ),
        records_of=lambda row: [
            run.key for side in (row.pair.treated, row.pair.baseline) for run in side[: row.look.runs]
        ],
    )
