"""The project's studies of questions of its own: a sentence that answers each, and a table of its networks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from awbench.records import Record, Records
from awbench.records.settings import NetworkTiming
from awbench.reference.load import References
from awbench.report.answers import (
    caveat_notes,
    comparison_object,
    gains_over_other_runs,
    reasons,
    shown_answer,
    shown_cost,
    shown_interval,
    shown_look,
    shown_training,
)
from awbench.report.claims import aw_setting, mean_and_deviation, shown_side
from awbench.report.complexity import ELEMENTWISE_NOTE, shown_millions
from awbench.report.latency import TOO_NOISY, describe_setting, timing
from awbench.report.names import network_title
from awbench.report.table import ABSENT, Column, Table, estimate, in_units
from awbench.studies import load_studies
from awbench.text import plural
from awbench.variants import ModelOptions
from awbench.verdicts.counts import ComplexityIndex, CountedNetwork, counts_with_options
from awbench.verdicts.latency import is_too_noisy
from awbench.verdicts.protocol import default_options
from awbench.verdicts.runs import values_of
from awbench.verdicts.study import JudgedComparison, JudgedStudy, judge_study


def own_questions(records: Records) -> list[JudgedStudy]:
    """The project's studies of questions of its own, judged, then those beside them; smoke tests answer nothing."""
    return [
        judge_study(study, records)
        for study in load_studies()
        if not study.is_of_the_project
        or (study.purpose != "smoke test" and not any(comparison.claim for comparison in study.comparisons))
    ]


def answer_sentence(judged: JudgedComparison) -> str:
    """The answer with its interval, in one sentence for people who know nothing else of the study."""
    study, interval = judged.study, judged.interval
    variant, over = (network_title(study, label) for label in (judged.comparison.variant, judged.comparison.over))
    on, unit = study.facts.title, "percentage points" if study.task == "classification" else "AP points"
    if interval is None and judged.look:
        return (
            f"Whether {variant} is better than {over} on {on} is not known: "
            f"{plural(len(judged.treated), 'run')} of each does not tell how far runs lie apart."
        )
    if interval is None:
        have = f"{len(judged.treated)} of {variant} and {len(judged.baseline)} of {over} are"
        return (
            f"Whether {variant} is better than {over} on {on} is not known yet: the first look is at "
            f"{plural(judged.looks[0], 'run')} of each, and "
            f"{have if judged.treated or judged.baseline else 'none is'} there."
        )
    found = f"{shown_interval(interval)} {unit}, {shown_look(judged)}"
    if judged.gain == "gain":
        return f"On {on}, {variant} is better than {over}: {found}."
    if judged.gain == "loss":
        return f"On {on}, {variant} is worse than {over}: {found}."
    if judged.gain != "undecided":
        return (
            f"On {on}, {variant} is equivalent to {over} within {study.matters:g} points, the margin that was set "
            f"before the first run: {found}."
        )
    ahead = f"the next look is at {plural(judged.next_look, 'run')} of each" if judged.next_look else "no look is left"
    return f"On {on}, it is undecided whether {variant} is better than {over}: {found}; {ahead}."


def study_sentence(judged: JudgedStudy) -> str:
    """What a study shows: the answer of its first comparison; of an exploratory one with several a summary."""
    several = judged.study.purpose == "exploratory" and len(judged.comparisons) > 1
    return (exploratory_summary(judged) if several else "") or answer_sentence(judged.comparisons[0])


def exploratory_summary(judged: JudgedStudy) -> str:
    """What an exploratory study's comparisons show together, in a few words; "" before any was looked at."""
    looked = [pair for pair in judged.comparisons if pair.interval]
    if not looked:
        return ""
    study = judged.study
    decided = sum(pair.gain != "undecided" for pair in looked)
    narrowest = min((pair.interval.high - pair.interval.low) / 2 for pair in looked if pair.interval)
    found = (
        f"On {study.facts.title}, {decided or 'none'} of {plural(len(looked), 'comparison')} is decided: the narrowest "
        f"interval is +-{narrowest:.2f}, and {study.matters:g} points were decided to matter."
    )
    for side in ("below", "above"):
        for over in dict.fromkeys(pair.comparison.over for pair in looked):
            named = [
                network_title(study, pair.comparison.variant)
                for pair in looked
                if pair.comparison.over == over and _all_runs_are(side, pair)
            ]
            if named:
                found += f" All runs of {' and of '.join(named)} are {side} all of {network_title(study, over)}."
    return found


def _all_runs_are(side: str, pair: JudgedComparison) -> bool:
    lower, higher = (pair.treated, pair.baseline) if side == "below" else (pair.baseline, pair.treated)
    return max(values_of(lower, pair.study.metric)) < min(values_of(higher, pair.study.metric))


@dataclass(frozen=True)
class NetworkRow:
    """A network of a study.

    Attributes:
        comparison: in which it is the one compared.
        counts, timing: at its input; timing_of_one, of one image a call.
    """

    judged: JudgedStudy
    label: str
    comparison: JudgedComparison | None
    counts: CountedNetwork | None
    timing: Record | None
    timing_of_one: Record | None = None

    @property
    def runs(self) -> tuple[Record, ...]:
        """Those that were judged."""
        return self.comparison.treated if self.comparison else self.judged.runs_of(self.label)


def network_rows(judged: JudgedStudy, records: Records, labels: Sequence[str] = ()) -> list[NetworkRow]:
    """Every network of a study, in its order, one that is compared with several once for each.

    Args:
        labels: those of these alone, which may be others of its kind, each once.
    """
    study, counted = judged.study, records.of_kind("complexity")
    index, size = ComplexityIndex(counted), study.image_size or 0  # detectors, whose sizes vary, are in no row

    def counts(label: str) -> CountedNetwork | None:
        if label not in study.networks:
            return index.get(label, study.stride_placement, size)
        return counts_with_options(counted, study.variant_of(label).name, study.described_options[label], size)

    compared: dict[str, list[JudgedComparison | None]] = {}
    for pair in judged.comparisons:
        compared.setdefault(pair.comparison.variant, []).append(pair)
    shown, labels = 1 if labels else None, labels or study.labels
    timed, of_one = (_timed(judged, labels, records.of_kind("latency"), size, count) for count in (None, 1))
    return [
        NetworkRow(judged, label, pair, counts(label), timed.get(label), of_one.get(label))
        for label in labels
        for pair in compared.get(label, [None])[:shown]
    ]


def _timed(
    judged: JudgedStudy, labels: Sequence[str], latencies: Iterable[Record], size: int, batch_size: int | None = None
) -> dict[str, Record]:
    """Label -> the latency of a network as it was built for the study.

    All are of one run, for ratios compare within one: of those with the most images a call, as a training has them,
    the one of the most networks, of these the newest.

    Args:
        batch_size: None for the largest.
    """
    study = judged.study
    options = ModelOptions(stride_placement=study.stride_placement)
    as_built = {
        label: (study.variant_of(label).name, study.described_options[label])
        if label in study.networks
        else (label, default_options(label, options))
        for label in labels
    }
    runs: dict[tuple[int, str], dict[str, Record]] = {}
    for record in latencies:
        if isinstance(record.settings, NetworkTiming) and record.settings.image_size == size:
            if record.settings.batch_size != (batch_size or record.settings.batch_size):
                continue
            run = record.settings.batch_size, record.environment["run"]
            built = record.variant, {**record.options, "num_classes": None}
            found = {
                label: record
                for label, (name, wanted) in as_built.items()
                if built == (name, {**wanted, "num_classes": None})
            }
            if found:
                runs.setdefault(run, {}).update(found)

    def rank(run: tuple[int, str]) -> tuple[int, int, str]:
        return run[0], len(runs[run]), max(record.finished for record in runs[run].values())

    return runs[max(runs, key=rank)] if runs else {}


def _latency_notes(row: NetworkRow) -> list[str]:
    """What a ratio is, and what it was measured with; or what measures it."""
    study = row.judged.study
    if row.timing is None:
        needed = f"needs 'awbench latency --study {study.argument}'"
        return [f"Latency ratio of some networks: not measured: {needed}."] if study.image_size else []
    settings = [
        f"{timing(found).device_name}, {describe_setting(found)}" for found in (row.timing, row.timing_of_one) if found
    ]
    return [
        "Latency ratio: median time of a forward pass over the plain network's, in one run on one machine, with its "
        f"95 % interval: {settings[0]}. Another processor's may differ much ('awbench table latency').",
        *(f"One image: the same, of one image a call: {setting}." for setting in settings[1:]),
    ]


def _latency_ratio(found: Record | None) -> float | None:
    if found is None:
        return None
    if _is_baseline(found):
        return 1.0
    return None if is_too_noisy(found) else found.value(_RATIO)


def _is_baseline(found: Record) -> bool:
    return bool(found.variant == found.settings.json_object.get("over"))


def _shown_ratio(found: Record | None) -> str:
    ratio = _latency_ratio(found)
    if found is None or ratio is None:
        return TOO_NOISY if found else ""
    if _is_baseline(found):
        return f"{ratio:.2f}"
    low, high = (found.value(f"{_RATIO}_{end}") for end in ("low", "high"))
    return f"{ratio:.2f} ({low:.2f} to {high:.2f})"


def _of_counts(name: str) -> Callable[[NetworkRow], int | None]:
    return lambda row: row.counts.values[name] if row.counts else None


def _elementwise(row: NetworkRow) -> Any:
    """None where the counts are of a version that did not count it."""
    return row.counts.elementwise(row.judged.study.variant_of(row.label)) if row.counts else ABSENT


def _of_comparison(text: Callable[[JudgedComparison], Any]) -> Callable[[NetworkRow], Any]:
    return lambda row: text(row.comparison) if row.comparison else None


def _interval_text(judged: JudgedComparison) -> str | None:
    return shown_interval(judged.interval) if judged.interval else None


def _verdict(row: NetworkRow) -> str:
    """The answer of what is compared; of any network without a run what it needs."""
    if not row.runs:
        return f"not measured: needs 'awbench study run {row.judged.study.argument}'"
    if row.comparison is None:
        return ""
    return shown_answer(row.comparison) if row.comparison.look else "too early"


def _accuracy(row: NetworkRow) -> str:
    return shown_side(row.runs, row.judged.study.metric)


_RATIO = "ratio_to_plain"
_COLUMNS: tuple[Column[NetworkRow], ...] = (
    Column("study", lambda row: row.judged.study.name),
    Column("purpose", lambda row: row.judged.study.purpose, detail=True),
    Column("network", lambda row: row.label),
    Column(
        "accuracy (%)", lambda row: values_of(row.runs, row.judged.study.metric),
        show=_accuracy, key="values", right=True,
        parts=mean_and_deviation("accuracy (%)", lambda row: values_of(row.runs, row.judged.study.metric)),
        best_among=lambda row: row.judged.study.name,
    ),
    Column("runs", lambda row: len(row.runs), "d"),
    Column("over", _of_comparison(lambda pair: pair.comparison.over), detail=True),
    Column(
        "gain (interval)", _of_comparison(_interval_text), key="", right=True,
        parts=estimate("gain", _of_comparison(lambda pair: pair.interval)),
    ),
    Column("verdict", _verdict),
    Column("look", _of_comparison(shown_look), detail=True),
    Column.shown("beside it", lambda row: " ".join(row.comparison.caveats) if row.comparison else "", detail=True),
    Column("parameters", _of_counts("params"), ",", key="params", detail=True),
    Column("MMACs", lambda row: row.counts.values["macs"] / 1e6 if row.counts else None, ".2f", key="", detail=True),
    Column(
        "elementwise (M)", _elementwise, shown_millions, key="elementwise", right=True, missing="unknown", detail=True,
        parts=in_units("elementwise (M)", _elementwise, 1e6),
    ),
    Column(
        "latency ratio", lambda row: _latency_ratio(row.timing), show=lambda row: _shown_ratio(row.timing), key=_RATIO,
        right=True, detail=True,
    ),
    Column(
        "one image (ratio)", lambda row: _latency_ratio(row.timing_of_one),
        show=lambda row: _shown_ratio(row.timing_of_one), key=f"{_RATIO}_of_one", right=True, detail=True,
    ),
    Column.exact("macs", _of_counts("macs")),
    Column.exact("comparison", _of_comparison(comparison_object)),
)  # fmt: skip


def _about(judged: JudgedStudy) -> str:
    study = judged.study
    return f"{study.name} ({study.purpose}; recipe {shown_training(study)}; {shown_cost(judged)}): {study.question}"


def _deviation_notes(judged: JudgedStudy) -> list[str]:
    """What the runs of the first look alone say of how far runs deviate, of the network where it is most wrong."""
    first = judged.study.looks[0]
    deviations = [
        (statistics.stdev(values[:first]), statistics.stdev(values), label, len(values))
        for label, runs in judged.evidence.runs.items()
        if len(values := values_of(runs, judged.study.metric)) > first > 1
    ]
    wrong = [one for one in deviations if min(one[:2]) > 0]
    if not wrong:
        return []
    early, late, label, runs = max(wrong, key=lambda one: abs(math.log(one[0] / one[1])))
    return [
        f"A standard deviation from {first} runs is unreliable: the first {first} of {label} gave {early:.2f}, "
        f"all {runs} give {late:.2f}."
    ]


def _notes_of(row: NetworkRow) -> list[str]:
    """What is to be said of the row's study and its times."""
    judged = row.judged
    return [
        _about(judged),
        *gains_over_other_runs(judged),
        *caveat_notes(judged.comparisons),
        *_deviation_notes(judged),
        *_latency_notes(row),
        *(
            f"{judged.study.name} leaves aside {plural(count, 'run')}: {reason}."
            for reason, count in reasons(judged.evidence)
        ),
    ]


def studies_table(records: Records, references: References) -> Table:
    """A row for each network of the studies of `own_questions`."""
    values = [row for study in own_questions(records) for row in network_rows(study, records)]
    return Table(
        title="Studies of our own questions",
        fields=_COLUMNS,
        values=values,
        notes=(
            "Accuracy: the mean over seeds, and the standard deviation between them (sd). A gain is the difference of "
            "the means before they are rounded. Its interval holds at the study's level over all its looks; its "
            "answer is about the setting of AW that was trained.",
            f"{aw_setting()}.",
            ELEMENTWISE_NOTE,
        ),
        notes_of=_notes_of,
        records_of=lambda row: [run.key for run in row.runs],
    )
