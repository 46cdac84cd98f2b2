"""Writes the tables of docs/verdicts.md: how often the rules that judge are wrong, and after how many runs they answer.

    python tools/verdict_rates.py            write them again
    python tools/verdict_rates.py --check    exit code 1 where the document holds others

Every number is simulated by `awbench.verdicts.simulation`, 10,000 studies a cell, from fixed seeds.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from awbench.planning.hours import Hours
from awbench.planning.outcomes import TRUTHS
from awbench.planning.plan import plan
from awbench.planning.throughput import throughputs
from awbench.records import Records
from awbench.reference.load import load_references
from awbench.report.plan_table import plan_table
from awbench.studies import Study, load_study
from awbench.verdicts.answers import Claimed
from awbench.verdicts.interval import half_width
from awbench.verdicts.simulation import Design, normal, simulate, skewed
from awbench.yaml_files import read_yaml

FORMER = read_yaml(Path(__file__).with_name("former_plan.yaml"))
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "verdicts.md"
STUDIES = 10_000
LOOKS = (3, 4, 5, 6, 7, 8, 9, 10)
DEVIATIONS = (0.06, 0.1, 0.15, 0.26)
HEADLINE, COMBINED = Claimed(1.0, 0.5), Claimed(0.57, 0.285)
COCO, COCO_COMBINED = Claimed(0.63, 0.315), Claimed(0.45, 0.225)
UP_TO = Design(LOOKS, 2, 2, 0.95, COMBINED, True)
_BLOCK = re.compile(r"(<!-- rates: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def table(headers: list[str], rows: list[list[str]]) -> str:
    return tabulate(rows, headers, "pipe", disable_numparse=True) + "\n"


def one_look() -> str:
    """How often an interval of one look misses the true gain, by runs and by whose runs deviate how much."""
    cells: list[tuple[str, list[float], Callable[..., object]]] = [
        ("all alike", [0.3] * 6, normal),
        ("the network twice as much", [0.6, *[0.3] * 5], normal),
        ("the network three times as much", [0.9, *[0.3] * 5], normal),
        ("every second network three times as much", [0.9, 0.3] * 3, normal),
        ("alike, skewed runs", [0.3] * 6, skewed),
        ("the network three times as much, skewed runs", [0.9, *[0.3] * 5], skewed),
    ]
    rows = []
    for name, deviations, draw in cells:
        for others in (4, 0):
            design = [Design((runs,), 1, others) for runs in (2, 3, 5, 10)]
            found = [simulate(one, [0.5], deviations, STUDIES, draw=draw).missed for one in design]
            rows.append([name, f"{2 + others}", *map(percent, found)])
    return table(["run-to-run deviation", "networks", "2 runs", "3 runs", "5 runs", "10 runs"], rows)


def unequal() -> str:
    """How often an interval of two networks with unequal numbers of runs, which no study has, misses the true gain."""
    cells: list[tuple[str, float, float, Callable[..., Any]]] = [
        ("alike", 1, 1, normal), ("the network three times as much", 3, 1, normal),
        ("its baseline three times as much", 1, 3, normal), ("alike, skewed runs", 1, 1, skewed),
    ]  # fmt: skip
    rows = []
    for name, *deviations, draw in cells:
        found = []
        for numbers in ((2, 3), (2, 10), (3, 10), (5, 10)):
            random = np.random.default_rng(0)
            x, y = (sd * draw(random, (STUDIES, n)) for sd, n in zip(deviations, numbers, strict=True))
            reach = half_width(*numbers, x.var(axis=1, ddof=1), y.var(axis=1, ddof=1), 0.0, 0, 0.95)[0]
            found.append(percent((abs(x.mean(axis=1) - y.mean(axis=1)) > reach).mean()))
        rows.append([name, *found])
    return table(["run-to-run deviation", "2 against 3", "2 against 10", "3 against 10", "5 against 10"], rows)


def all_looks() -> str:
    """How often any answer, and any interval, of a whole study with eight looks is wrong."""
    rows = []
    cells: list[tuple[str, Design, list[float], list[float], Callable[..., object]]] = [
        ("+1.00 claimed, the gain at the margin's end", Design(LOOKS, 1, 4), [0.5], [0.1] * 6, normal),
        ("the same, the network deviates three times as much", Design(LOOKS, 1, 4), [0.5], [0.3, *[0.1] * 5], normal),
        ("the same, the network deviates ten times as much", Design(LOOKS, 1, 4), [0.5], [1.0, *[0.1] * 5], normal),
        ("+1.00 claimed, no gain", Design(LOOKS, 1, 4), [0.0], [0.1] * 6, normal),
        ("the same, the network three times as much, skewed", Design(LOOKS, 1, 4), [0.0], [0.3, *[0.1] * 5], skewed),
        ("up to +0.57, both pairs just beyond its margin", UP_TO, [0.856] * 2, [0.1] * 6, normal),
        ("the same, one pair just beyond, one without gain", UP_TO, [0.856, 0.0], [0.1] * 6, normal),
        ("the same, one network deviates three times as much", UP_TO, [0.856, 0.0], [0.3, *[0.1] * 5], normal),
        ("the same, both networks with AW ten times as much", UP_TO, [0.856, 0.0], [1, 0.1, 1, 0.1, 0.1, 0.1], normal),
    ]
    for name, design, gains, deviations, draw in cells:
        found = simulate(design, gains, deviations, STUDIES, draw=draw)
        rows.append([name, percent(found.wrong), percent(found.missed)])
    return table(["study", "an answer wrong (%)", "an interval misses (%)"], rows)


def backbones() -> str:
    """Detectors from one backbone each, and all from one."""
    rows = []
    for runs in (3, 5, 10):
        each = simulate(Design((runs,), 1, 4), [0.63], [math.hypot(0.1, 0.1)] * 6, STUDIES)
        one = simulate(Design((runs,), 1, 4), [0.63], [0.1] * 6, STUDIES, shared=0.1)
        rows.append([str(runs), percent(each.missed), percent(one.missed)])
    return table(["runs", "a backbone a seed: misses (%)", "one backbone for all: misses (%)"], rows)


def power() -> str:
    """Runs of each network until a claim is answered, sequentially, and in a plan of one look for 80 % power."""
    rows = []
    for name, claimed, pairs in (
        ("imagenet-r101, +1.00", HEADLINE, 1), ("imagenet-combined, up to +0.57", COMBINED, 2),
        ("coco-r101-fpn, +0.63", COCO, 1), ("coco-combined, up to +0.45", COCO_COMBINED, 2),
    ):  # fmt: skip
        for deviation in DEVIATIONS:
            design = Design(LOOKS, pairs, 6 - 2 * pairs, 0.95, claimed, pairs > 1)
            cells = []
            for share in (1.0, 0.5, 0.0):
                gain = share * claimed.value
                found = simulate(design, [gain, *[gain / 2] * (pairs - 1)], [deviation] * 6, STUDIES)
                answered = 1 - found.answers["undecided"]
                cells.append(f"{found.runs:.1f} ({100 * answered:.0f})")
            former = FORMER["runs_of_each"][name.partition(",")[0]][DEVIATIONS.index(deviation)]
            rows.append([name, f"{deviation:.2f}", *cells, fixed(design, deviation), str(former)])
    headers = ["claim", "deviation", "true", "half of it is", "nothing is", "one look, 80 %", "d873ceb"]
    return table(headers, rows)


def fixed(design: Design, deviation: float) -> str:
    """Runs of each network in a plan with one look that answers a true claim with 80 %."""
    gain = design.claimed.value
    for runs in range(2, 41):
        one = Design((runs,), design.pairs, design.others, design.level, design.claimed, design.up_to)
        found = simulate(one, [gain, *[gain / 2] * (design.pairs - 1)], [deviation] * 6, 4000)
        if found.answers["as claimed"] >= 0.8:
            return str(runs)
    return "more than 40"


def cost() -> str:
    """Trainings of the studies of the four claims and their hours: sequentially, and with one look."""
    references, records = load_references(), Records()
    hours = Hours(throughputs(records, references), records)
    rows = []
    for name in ("imagenet", "coco"):
        study = load_study(name)
        for deviation in DEVIATIONS:
            (made,) = plan(records, references, [study], [study], {study.metric: deviation}, hours).studies
            found = {row.what: row for row in plan_table(made).values}
            runs, spent = found["runs to make"], found["their hours"]
            cells = [(runs.values[truth], spent.values[truth]) for truth in TRUTHS] + [(runs.fixed, spent.fixed)]
            shown = [f"{count:.0f} ({total:,.0f})" for count, total in cells]
            rows.append([name, f"{deviation:.2f}", *shown, former_cost(study, deviation)])
    headers = ["study", "deviation", "claims true", "half of them is", "nothing is", "one look, 80 %", "d873ceb"]
    return table(headers, rows)


def former_cost(study: Study, deviation: float) -> str:
    """Trainings and hours that the plan of d873ceb asks: both networks of each pair of each claim."""
    of_each = (FORMER["runs_of_each"][pair.claim][DEVIATIONS.index(deviation)] for pair in study.comparisons)
    runs, hours = 2 * sum(of_each), FORMER["hours_of_a_run"][study.name]
    return f"{runs} ({'unknown' if hours is None else f'{runs * hours:,.0f}'})"


TABLES = {
    "one_look": one_look,
    "unequal": unequal,
    "all_looks": all_looks,
    "backbones": backbones,
    "power": power,
    "cost": cost,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where the document differs")
    args = parser.parse_args()
    text = DOCUMENT.read_text()
    made = _BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}{block[3]}", text)
    if args.check:
        print("as simulated" if made == text else "docs/verdicts.md: run 'python tools/verdict_rates.py'")
        return int(made != text)
    DOCUMENT.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
