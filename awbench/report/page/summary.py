"""The page's first screen: the answer in a sentence, what is known of AW beside SE, CBAM and ECA, a row a claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from awbench.records import Records
from awbench.report.answers import shown_interval
from awbench.report.claims import STATUSES, shown_side, status_of
from awbench.report.latency import describe_setting, is_too_noisy
from awbench.report.names import architecture_title, setting_title
from awbench.report.studies import NetworkRow, answer_sentence, network_rows, own_questions
from awbench.variants import classification_name
from awbench.verdicts.claims import JudgedClaim
from awbench.verdicts.study import JudgedComparison, JudgedStudy

QUESTION = "Does attention on the weights of a convolution (AW) help?"
# What is compared: (convolution, attention); the plain network first.
_NETWORKS = ((None, None), ("aw", None), (None, "se"), (None, "cbam"), (None, "eca"))


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
    """What a tile shows. Attributes: value, of (a network, the plain one), None where it was not measured."""

    name: str
    value: Callable[[NetworkRow, NetworkRow], str | None]
    note: Callable[[Sequence[NetworkRow]], str]
    table: str
    command: str


def answer(records: Records, claims: Sequence[JudgedClaim]) -> list[str]:
    """Sentences: the answer of the first claim that was looked at, else of the first study of our own; and the rest."""
    own = [pair for study in own_questions(records)[:1] for pair in study.comparisons[:1]]
    claimed = [pair for judged in claims for pair in judged.comparisons if pair.interval][:1]
    sentences = [*(_with_claim(pair) for pair in claimed), *map(answer_sentence, own)]
    return [*sentences, *_claims_sentence(claims, [] if claimed else own)]


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


def _claims_sentence(claims: Sequence[JudgedClaim], own: Sequence[JudgedComparison]) -> list[str]:
    counts = Counter(map(status_of, claims))
    found = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    datasets = " and ".join(dict.fromkeys(judged.claim.dataset.split()[0] for judged in claims))
    honest = "".join(f"This is {pair.study.facts.title}, not ImageNet or COCO. " for pair in own)
    return [f"{honest}The paper's {len(claims)} claims, on {datasets}: {found}."] if claims else []


def settles(judged: JudgedClaim) -> str:
    """What would settle a claim: its next look and the command; "" where it is settled."""
    if judged.size != "undecided":
        return ""
    if judged.study is None:
        return "a study about it, which nobody wrote"
    coming = [pair.next_look for pair in judged.comparisons if pair.next_look]
    if not coming:
        return "a new study with more runs: no look is left"
    data = "" if judged.study.study.facts.proxy else " --data DIR"
    return f"{min(coming)} runs of each network or more: awbench study run {judged.study.study.argument}{data}"


def tiles(records: Records, claims: Sequence[JudgedClaim]) -> list[Tile]:
    """Accuracy, parameters, all operations, latency: of the first study of our own, and of the first claim's."""
    studies = [*own_questions(records)[:1], *(judged.study for judged in claims if judged.study)]
    chosen: dict[str, list[NetworkRow]] = {}
    for judged in studies:
        if judged.study.task == "classification":
            chosen.setdefault(_heading(judged), network_rows(judged, records, _labels(judged)))
    return [_tile(quantity, chosen) for quantity in _QUANTITIES]


def _labels(judged: JudgedStudy) -> list[str]:
    architecture = _architecture(judged)
    return [classification_name(architecture, attention, convolution) for convolution, attention in _NETWORKS]


def _architecture(judged: JudgedStudy) -> str:
    return judged.study.variant_of(judged.study.comparisons[0].over).architecture_name


def _heading(judged: JudgedStudy) -> str:
    return f"{architecture_title(_architecture(judged))}, {judged.study.facts.title}"


def _tile(quantity: _Quantity, chosen: dict[str, list[NetworkRow]]) -> Tile:
    values = {heading: [quantity.value(row, rows[0]) for row in rows] for heading, rows in chosen.items()}
    known = [heading for heading in chosen if any(value is not None for value in values[heading])]
    names = [setting_title("_".join(filter(None, network)) or "plain") for network in _NETWORKS]
    rows = [
        (name, tuple(values[heading][place] or "not measured" for heading in known)) for place, name in enumerate(names)
    ]
    notes = [quantity.note([row for heading in known for row in chosen[heading]])] if known else []
    missing = [heading for heading in chosen if heading not in known]
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


def _accuracy(row: NetworkRow, plain: NetworkRow) -> str | None:
    return f"{shown_side(row.runs, row.judged.study.metric)} ({len(row.runs)})" if row.runs else None


def _accuracy_note(rows: Sequence[NetworkRow]) -> str:
    judged = [row.comparison for row in rows if row.comparison and row.comparison.interval]
    gains = "; ".join(f"AW over plain {shown_interval(pair.interval)}" for pair in judged)
    return f"Mean, standard deviation (sd) between seeds, and runs.{f' {gains} points.' if gains else ''}"


def _share(value: int | None, plain: int | None, unit: str) -> str | None:
    """Of the plain network the count, of another what it adds, e.g. "+1.9 %"."""
    if value is None or plain is None:
        return None
    return unit if value == plain and unit else f"{100 * (value / plain - 1):+.2f} %"


def _parameters(row: NetworkRow, plain: NetworkRow) -> str | None:
    value, base = (one.counts.values["params"] if one.counts else None for one in (row, plain))
    return _share(value, base, f"{value:,}" if row is plain and value else "")


def _operations(row: NetworkRow, plain: NetworkRow) -> str | None:
    value, base = map(_all_operations, (row, plain))
    return _share(value, base, f"{value / 1e6:,.1f} M" if row is plain and value else "")


def _all_operations(row: NetworkRow) -> int | None:
    """Multiply-accumulates, and the elementwise multiplications of attention."""
    if row.counts is None:
        return None
    elementwise = row.counts.elementwise(row.judged.study.variant_of(row.label))
    return None if elementwise is None else row.counts.values["macs"] + elementwise


def _latency(row: NetworkRow, plain: NetworkRow) -> str | None:
    if row.timing is None:
        return None
    if row is plain:
        return f"{row.timing.value('latency_ms'):.2f} ms"
    return "too noisy" if is_too_noisy(row.timing) else f"{row.timing.value('ratio_to_plain'):.2f} times"


def _latency_note(rows: Sequence[NetworkRow]) -> str:
    settings = dict.fromkeys(describe_setting(row.timing) for row in rows if row.timing)
    return f"Median of a forward pass: {'; '.join(settings)}."


_QUANTITIES = (
    _Quantity("Accuracy (%)", _accuracy, _accuracy_note, "studies", "awbench study run fashion-mnist"),
    _Quantity("Parameters", _parameters, lambda rows: "Exact counts.", "grid", "awbench reproduce"),
    _Quantity(
        "All operations", _operations,
        lambda rows: "Multiply-accumulates, and attention's elementwise multiplications; exact counts.",
        "grid", "awbench reproduce",
    ),
    _Quantity("Latency", _latency, _latency_note, "latency", "awbench reproduce"),
)  # fmt: skip
