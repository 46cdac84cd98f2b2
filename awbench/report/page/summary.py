"""The page's first screen: the answer in a sentence, what is known of AW beside SE, CBAM and ECA, a row a claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from awbench.records import Records
from awbench.report.answers import shown_interval
from awbench.report.claims import STATUSES, status_of
from awbench.report.latency import describe_setting
from awbench.report.names import architecture_title, setting_title
from awbench.report.page.known import (
    NETWORKS,
    Column,
    Known,
    counted,
    inventory,
    known_of,
    names_of,
    timed,
    trained,
)
from awbench.report.studies import answer_sentence, network_rows, own_questions, study_sentence
from awbench.verdicts.claims import JudgedClaim
from awbench.verdicts.latency import is_too_noisy
from awbench.verdicts.study import JudgedComparison, JudgedStudy

QUESTION = "Does attention on the weights of a convolution (AW) help?"


@dataclass(frozen=True)
class Tile:
    """What is known of one quantity. A network whose value is not known has "not measured".

    Attributes:
        name: of the quantity, and what is shown of it.
        columns: what the values are of, e.g. "ResNet-20, Fashion-MNIST".
        rows: (network's setting, its values); the plain network first.
        notes: what the numbers are, and where there are none.
        table: kind of the table that has more of it.
        command: what would measure it; "" where something was.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]
    table: str
    command: str = ""


@dataclass(frozen=True)
class _Quantity:
    """What a tile shows.

    Attributes:
        value: of (a network, the plain one), None where it was not measured.
        elsewhere: what records have that are of no study which a tile is about.
    """

    name: str
    value: Callable[[Known, Known], str | None]
    note: Callable[[Sequence[Known]], str]
    elsewhere: Callable[[Records], Column | None]
    table: str
    command: str


def answer(records: Records, claims: Sequence[JudgedClaim]) -> list[str]:
    """Sentences: what is answered, of a claim that was looked at, else of the study with most runs; then the rest."""
    claimed = [pair for judged in claims for pair in judged.comparisons if pair.interval][:1]
    studies = [*own_questions(records), *(judged.study for judged in claims if judged.study)]
    asked, here = max(studies, key=_runs), inventory(records)
    shown = [asked] if asked.comparisons[0] not in claimed and (_runs(asked) or not here) else []
    sentences = [*map(_with_claim, claimed), *map(study_sentence, shown)]
    if not sentences:
        sentences = ["What was measured here does not answer it: none of it is a run of a study of the question."]
    elif not claimed and asked.study.dataset not in {judged.claim.dataset_name for judged in claims}:
        sentences.append(f"This is {asked.study.facts.title}, not ImageNet or COCO.")
    sentences += [f"Here: {here}."] if here else []
    if not claimed and not shown:
        sentences.append(f"'awbench study run {asked.study.argument}' asks: {asked.study.question}")
    return [*sentences, *_claims_sentence(claims)]


def _runs(judged: JudgedStudy) -> int:
    return sum(map(len, judged.evidence.runs.values()))


_SIZES = {
    "as claimed": "That is the claimed gain ({}).",
    "less": "That is less than claimed ({}).",
    "more": "That is more than claimed ({}).",
    "undecided": "Whether it is the claimed gain ({}) is undecided.",
}


def _with_claim(pair: JudgedComparison) -> str:
    if pair.claimed is None:
        return answer_sentence(pair)
    return f"{answer_sentence(pair)} {_SIZES[pair.size].format(f'{pair.claimed.value:+.2f}')}"


def _claims_sentence(claims: Sequence[JudgedClaim]) -> list[str]:
    counts = Counter(map(status_of, claims))
    found = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    datasets = " and ".join(dict.fromkeys(judged.claim.dataset.split()[0] for judged in claims))
    return [f"The paper's {len(claims)} claims, on {datasets}: {found}."] if claims else []


def settles(judged: JudgedClaim, would_decide: str) -> tuple[str, str]:
    """(what would settle a claim, the command), both "" where it is settled, the latter also where none would."""
    if judged.size != "undecided":
        return "", ""
    if judged.study is None:
        return "a study about it, which nobody wrote", ""
    study, has_look = judged.study.study, any(pair.going for pair in judged.comparisons)
    data = "" if study.facts.proxy else " --data DIR"
    return would_decide, f"awbench study run {study.argument}{data}" if has_look else ""


def tiles(records: Records, claims: Sequence[JudgedClaim]) -> list[Tile]:
    """Accuracy, parameters, all operations, latency: of our own study with most runs, and of the first claim's.

    Of a quantity that neither has, what was measured otherwise.
    """
    own = sorted(own_questions(records), key=_runs, reverse=True)
    chosen: dict[str, list[Known]] = {}
    for judged in [*own[:1], *(judged.study for judged in claims if judged.study)]:
        if judged.study.task == "classification":
            rows = network_rows(judged, records, names_of(_architecture(judged)))
            chosen.setdefault(_heading(judged), list(map(known_of, rows)))
    return [_tile(quantity, chosen, records) for quantity in _QUANTITIES]


def _architecture(judged: JudgedStudy) -> str:
    return judged.study.variant_of(judged.study.comparisons[0].over).architecture_name


def _heading(judged: JudgedStudy) -> str:
    return f"{architecture_title(_architecture(judged))}, {judged.study.facts.title}"


def _tile(quantity: _Quantity, chosen: dict[str, list[Known]], records: Records) -> Tile:
    values = {heading: _values(quantity, rows) for heading, rows in chosen.items()}
    known = {heading: found for heading, found in values.items() if any(found)}
    missing, rows_of = [heading for heading in chosen if heading not in known], chosen
    if not known and (elsewhere := quantity.elsewhere(records)):
        rows_of = dict([elsewhere])
        known = {heading: _values(quantity, rows) for heading, rows in rows_of.items()}
    names = [setting_title("_".join(filter(None, network)) or "plain") for network in NETWORKS]
    rows = [
        (name, tuple(found[place] or "not measured" for found in known.values())) for place, name in enumerate(names)
    ]
    notes = [quantity.note([row for heading in known for row in rows_of[heading]])] if known else []
    if known and missing:
        notes.append(f"{'; '.join(missing)}: not measured.")
    return Tile(
        quantity.name,
        tuple(known),
        tuple(rows) if known else (),
        tuple(filter(None, notes)),
        quantity.table,
        "" if known else quantity.command,
    )


def _values(quantity: _Quantity, rows: Sequence[Known]) -> list[str | None]:
    return [quantity.value(row, rows[0]) for row in rows]


def _accuracy_note(rows: Sequence[Known]) -> str:
    gains = "; ".join(f"AW over plain {shown_interval(row.interval)}" for row in rows if row.interval)
    return f"Mean, standard deviation (sd) between seeds, and runs.{f' {gains} points.' if gains else ''}"


def _share(value: int | None, plain: int | None, shown: str) -> str | None:
    """Of the plain network, and of others where it is not known, the count; else what it adds, e.g. "+1.9 %"."""
    if value is None:
        return None
    return shown if plain is None or (shown and value == plain) else f"{100 * (value / plain - 1):+.2f} %"


def _parameters(row: Known, plain: Known) -> str | None:
    shown = f"{row.params:,}" if row.params and (row is plain or plain.params is None) else ""
    return _share(row.params, plain.params, shown)


def _operations(row: Known, plain: Known) -> str | None:
    alone = row is plain or plain.operations is None
    shown = f"{row.operations / 1e6:,.1f} M" if row.operations and alone else ""
    return _share(row.operations, plain.operations, shown)


def _latency(row: Known, plain: Known) -> str | None:
    if row.timing is None:
        return None
    if row is plain:
        return f"{row.timing.value('latency_ms'):.2f} ms"
    return "too noisy" if is_too_noisy(row.timing) else f"{row.timing.value('ratio_to_plain'):.2f} times"


def _latency_note(rows: Sequence[Known]) -> str:
    settings = dict.fromkeys(describe_setting(row.timing) for row in rows if row.timing)
    return f"Median of a forward pass: {'; '.join(settings)}."


_QUANTITIES = (
    _Quantity(
        "Accuracy (%)", lambda row, plain: row.accuracy, _accuracy_note, trained,
        "runs", "awbench study run fashion-mnist",
    ),
    _Quantity("Parameters", _parameters, lambda rows: "Exact counts.", counted, "grid", "awbench reproduce"),
    _Quantity(
        "All operations", _operations,
        lambda rows: "Multiply-accumulates, and attention's elementwise multiplications; exact counts.",
        counted, "grid", "awbench reproduce",
    ),
    _Quantity("Latency", _latency, _latency_note, timed, "latency", "awbench reproduce"),
)  # fmt: skip
