"""What records know of a network beside others; and what they hold where no study has any of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from awbench.recipes.datasets import title_of
from awbench.records import Record, Records
from awbench.records.settings import Counting, Training
from awbench.report.claims import shown_side
from awbench.report.latency import timing
from awbench.report.names import architecture_title
from awbench.report.runs import RunGroup, group_runs
from awbench.report.studies import NetworkRow
from awbench.studies import load_studies
from awbench.variants import Variant, classification_name, list_variants, parse_variant
from awbench.verdicts.counts import ComplexityIndex, CountedNetwork
from awbench.verdicts.evidence import gather_evidence
from awbench.verdicts.interval import Interval
from awbench.verdicts.protocol import has_default_options

# What is compared: (convolution, attention); the plain network first.
NETWORKS = ((None, None), ("aw", None), (None, "se"), (None, "cbam"), (None, "eca"))
FoundT = TypeVar("FoundT")
KeyT = TypeVar("KeyT")


@dataclass(frozen=True)
class Known:
    """Of one network; None for what is not known.

    Attributes:
        accuracy: as text.
        interval: of its gain over the plain one.
        operations: multiply-accumulates, and the elementwise multiplications of attention.
    """

    accuracy: str | None = None
    interval: Interval | None = None
    params: int | None = None
    operations: int | None = None
    timing: Record | None = None


Column = tuple[str, list[Known]]  # of which network and data, and what is known of each of NETWORKS


def names_of(architecture: str) -> list[str]:
    """Of NETWORKS, in one architecture."""
    return [classification_name(architecture, attention, convolution) for convolution, attention in NETWORKS]


def known_of(row: NetworkRow) -> Known:
    """Of a network of a study."""
    return Known(
        f"{shown_side(row.runs, row.judged.study.metric)} ({len(row.runs)})" if row.runs else None,
        row.comparison.interval if row.comparison else None,
        *_counts(row.counts, row.judged.study.variant_of(row.label)),
        row.timing,
    )


def _counts(counted: CountedNetwork | None, variant: Variant) -> tuple[int | None, int | None]:
    if counted is None:
        return None, None
    elementwise = counted.elementwise(variant)
    return counted.values["params"], None if elementwise is None else counted.values["macs"] + elementwise


def trained(records: Records) -> Column | None:
    """Of trainings with default options, those by the recipe by which most of NETWORKS were trained.

    Of a network that was trained alike on several machines, those of the one with most runs, else the newest.
    """
    alike: dict[tuple[str, ...], dict[str, RunGroup]] = {}
    for group in sorted(group_runs(records), key=lambda group: (len(group.values), group.runs[-1].finished)):
        if group.metric == "top1" and not group.options and group.values and (of := _architecture(group.variant)):
            alike.setdefault((of, *group.trained_alike), {})[group.variant] = group
    best = _fullest(alike, lambda group: group.runs[-1].finished)
    if best is None:
        return None
    (architecture, dataset, recipe, *_), found = best
    title = title_of(dataset)
    rows = [Known(_accuracy(found[name].values) if name in found else None) for name in names_of(architecture)]
    return f"{architecture_title(architecture)}, {title}, {recipe}", rows


def _accuracy(values: Sequence[float]) -> str:
    deviation = f", sd {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation} ({len(values)})"


def counted(records: Records) -> Column | None:
    """Of the architecture, stride placement and image size at which most of NETWORKS were counted."""
    made = records.of_kind("complexity")
    index, known = ComplexityIndex(made), {variant.name: variant for variant in list_variants("classification")}
    settings = dict.fromkeys(
        (known[r.variant].architecture_name, r.options["stride_placement"], r.settings.image_size)
        for r in made
        if r.variant in known and isinstance(r.settings, Counting) and isinstance(r.settings.image_size, int)
    )
    found = {
        key: {name: counts for name in names_of(key[0]) if (counts := index.get(name, key[1], key[2]))}
        for key in settings
    }
    best = _fullest(found, lambda counts: "")
    if best is None:
        return None
    (architecture, placement, size), networks = best
    rows = [Known(None, None, *_counts(networks.get(name), parse_variant(name))) for name in names_of(architecture)]
    return f"{architecture_title(architecture)}, {placement}, {size} x {size}", rows


def timed(records: Records) -> Column | None:
    """Of the run in which most of NETWORKS were timed; a ratio holds within one run."""
    alike: dict[tuple[str, ...], dict[str, Record]] = {}
    for record in records.of_kind("latency"):
        if (of := _architecture(record.variant)) and has_default_options(record):
            key = of, str(record.environment["run"]), repr(record.settings)
            alike.setdefault(key, {})[record.variant] = record
    best = _fullest(alike, lambda record: record.finished)
    if best is None:
        return None
    (architecture, *_), found = best
    rows = [Known(timing=found.get(name)) for name in names_of(architecture)]
    pixels = timing(next(iter(found.values()))).image_size
    return f"{architecture_title(architecture)}, {pixels} x {pixels}", rows


def _architecture(name: str) -> str:
    """Of a classifier that is one of NETWORKS; "" of anything else."""
    variant = {one.name: one for one in list_variants("classification")}.get(name)
    of_networks = variant is not None and (variant.convolution, variant.attention) in NETWORKS
    return variant.architecture_name if variant and of_networks else ""


def _fullest(
    found: Mapping[KeyT, Mapping[str, FoundT]], finished: Callable[[FoundT], str]
) -> tuple[KeyT, Mapping[str, FoundT]] | None:
    """Of what was found by network the one with most of NETWORKS, AW among them if it can be; of equals the newest."""

    def fullness(key: KeyT) -> tuple[int, bool, str]:
        networks = found[key]
        return len(networks), any(name.startswith("aw_") for name in networks), max(map(finished, networks.values()))

    best = max((key for key in found if found[key]), key=fullness, default=None)
    return None if best is None else (best, found[best])


def inventory(records: Records) -> str:
    """What the records are of, e.g. "1 network counted, 3 timed, 8 trainings, 6 imported runs"; "" without any."""
    counted_here, timed_here = (len({r.variant for r in records.of_kind(kind)}) for kind in ("complexity", "latency"))
    runs = [*records.of_kind("accuracy"), *records.of_kind("detection")]
    trainings = sum(isinstance(run.settings, Training) for run in runs)
    imported = records.of_kind("imported")
    parts = [
        (counted_here, "network{s} counted"),
        (timed_here, "timed" if counted_here else "network{s} timed"),
        (len(records.of_kind("aw_speed")), "timing{s} of single convolutions"),
        (len(runs) - trainings, "evaluation{s} of given weights"),
        (trainings, "training{s}"),
        (len(imported), "imported run{s}"),
    ]
    shown = ", ".join(f"{count:,} {noun.format(s='s' * (count != 1))}" for count, noun in parts if count)
    return f"{shown}; {_part_of_studies(records)}" if trainings or imported else shown


def _part_of_studies(records: Records) -> str:
    """How many runs count in a study, and in a smoke test."""
    counts = {"a study": set[str](), "a smoke test": set[str]()}
    for study in load_studies():
        kind = "a smoke test" if study.purpose == "smoke test" else "a study"
        counts[kind] |= {run.key for runs in gather_evidence(study, records).runs.values() for run in runs}
    parts = [
        f"{len(keys):,} {'is' if len(keys) == 1 else 'are'} part of {kind}" for kind, keys in counts.items() if keys
    ]
    return " and ".join(parts) if counts["a study"] else ", ".join(["none is part of a study", *parts])
