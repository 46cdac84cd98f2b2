"""Records whose content was changed at random and whose checksum is right, as somebody else's program might write them.

PYTHONPATH=tests python tests/record_mutations.py [COUNT [SEED]] reads so many, and shows those that are read everywhere
a command shows records; it prints what each was answered.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from page_records import STATES
from sample_records import aw_speed_record, latency_record, make_record

from awbench.errors import UserError
from awbench.gate import bands, checks, proxies
from awbench.planning.hours import Hours
from awbench.planning.plan import plan
from awbench.planning.throughput import throughputs
from awbench.records import BrokenRecordError, Record, Records
from awbench.records.record import _sha256
from awbench.reference.load import load_references
from awbench.report.answers import study_object, study_text
from awbench.report.figures import all_figures
from awbench.report.formats import FORMATS, render
from awbench.report.page import render_page
from awbench.report.plan import to_object, to_text
from awbench.report.tables import TABLES
from awbench.studies import load_studies
from awbench.text import visible
from awbench.verdicts.claims import judge_claims
from awbench.verdicts.study import judge_study

COMMITTED = Path(__file__).parents[1] / "docs" / "records"
REFERENCES, STUDIES = load_references(), load_studies()
BATCH = 40
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 10**30, -(10**30), 10**400, 0.5, -0.0, 1e308, 5e-324, "", "x", "0", "nan", "a\nb",
    "\x1b[31m", "<script>", "=1+1", "\u202e", "\ud800", "$\\frac", "%s", "{}", "../..", "resnet50", "aw_resnet101",
    "faster_rcnn_resnet50_fpn", "trained", "weights", "v1", "9999-12-31", "0001-01-01T00:00:00+14:00",
    [], [None], [[]], [0, 1], ["x"], {}, {"": None}, {"value": 1, "unit": "percent"}, {"value": True, "unit": ""},
    {"a": {"b": {"c": []}}},
]  # fmt: skip


def originals() -> list[Record]:
    """A few of every kind: committed ones, and made-up runs that answer claims."""
    found = [
        record for path in sorted(COMMITTED.rglob("*.json"))[::9] for record in [Record.from_json(path.read_text(), "")]
    ]
    made = [make_record(), latency_record("aw_resnet50", (1.2, 1.1, 1.3)), latency_record("resnet50", (1.0, 1.0, 1.0))]
    made += [aw_speed_record(method, ratio, "1", 1) for method, ratio in (("plain", None), ("direct", 1.5))]
    return [*found, *made, *STATES["left-aside-beside-evidence"], *STATES["less"]]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside of one."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


def mutated(rng: random.Random, body: dict[str, Any]) -> str:
    """The file of a record after one to three changes."""
    body = copy.deepcopy(body)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        *way, key = rng.choice(list(places(body)))
        holder = body
        for step in way:
            holder = holder[step]
        how = rng.random()
        if how < 0.15:
            del holder[key]
        elif how < 0.25 and isinstance(holder, dict):
            holder[rng.choice(("x", "", "\x1b", "origin", "value", "name"))] = holder.pop(key)
        elif how < 0.35 and isinstance(holder[key], (int, float)) and abs(holder[key]) < 1e300:
            holder[key] = rng.choice((-holder[key], holder[key] * 10**9, float(holder[key]), str(holder[key]), 0))
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps({**body, "sha256": _sha256(body)})


def check_harmless(text: str, format: str) -> None:
    """Raise an AssertionError where what is shown would act: on a terminal, in a browser, in a spreadsheet."""
    acting = ["\x1b", "\u202e"] * (format != "json") + ["<script>"] * (format in ("github", "html"))
    found = [text[max(0, text.index(what) - 60) :][:100] for what in acting if what in text]
    if format == "csv":
        found += [cell for row in csv.reader(io.StringIO(text)) for cell in row if cell.lstrip().startswith("=")]
    assert not found, f"{format} shows {found!r}"


def show_everywhere(records: Records, whole: bool) -> None:
    """Args: whole, figures and the page too, which take seconds."""
    for make in TABLES.values():
        table = make(records, REFERENCES)
        for format in FORMATS if whole else ("github", "json", "csv", "text"):
            check_harmless(render(table, format), format)
    judge_claims(records, REFERENCES)
    for study in STUDIES:
        judged = judge_study(study, records)
        check_harmless(visible(study_text(judged)), "text")
        json.dumps(study_object(judged), allow_nan=False)
    hours = Hours(throughputs(records, REFERENCES), records, "", {}, {})
    made = plan(records, REFERENCES, STUDIES, (), {}, hours)
    check_harmless(visible(to_text(made, None, Path("results"))), "text")
    json.dumps(to_object(made, None, Path("results")), allow_nan=False)
    checks.check_published(records, REFERENCES)
    proxies.check_proxies(records, proxies.load_locked_runs())
    bands.check_latency(records, bands.load_bands(), "cpu")
    if whole:
        figures = all_figures(records, REFERENCES)
        for figure in figures:
            figure.to_bytes("svg")
        render_page(records, REFERENCES, figures)


def answers(count: int, seed: int, whole_every: int = 20) -> tuple[Counter[str], dict[str, str]]:
    """How many were answered how; and where there was a traceback, its end, and a file that gives it."""
    rng, base = random.Random(seed), originals()
    bodies = [record.model_dump(mode="json") for record in base]
    counts: Counter[str] = Counter()
    failures: dict[str, str] = {}

    def show(batch: Sequence[tuple[Record, str]], whole: bool) -> None:
        try:
            show_everywhere(Records([*base, *(record for record, _ in batch)]), whole)
            counts["read and shown"] += len(batch)
        except Exception as error:
            if len(batch) > 1:
                half = len(batch) // 2
                show(batch[:half], whole), show(batch[half:], whole)
            elif isinstance(error, UserError):
                counts["read, and an error of one line where it is shown"] += 1
                print(f"shown: {error}", file=sys.stderr)
            else:
                counts["traceback"] += 1
                frames = traceback.extract_tb(error.__traceback__)
                place = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "awbench/" in f.filename][-2:]
                failures.setdefault(f"{type(error).__name__}: {str(error)[:100]} at {' '.join(place)}", batch[0][1])

    batch: list[tuple[Record, str]] = []
    batches = 0
    for number in range(count):
        text = mutated(rng, rng.choice(bodies))
        try:
            batch.append((Record.from_json(text, "record.json"), text))
        except BrokenRecordError as error:
            counts["refused in one line" if "\n" not in str(error) else "refused in several lines"] += 1
        except Exception as error:
            counts["traceback"] += 1
            failures.setdefault(f"reading: {type(error).__name__}: {str(error)[:100]}", text)
        if len(batch) == BATCH or number == count - 1:
            batches += 1
            show(batch, batches % whole_every == 0)
            batch = []
    return counts, failures


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    found, failed = answers(numbers[0] if numbers else 20_000, numbers[1] if len(numbers) > 1 else 0)
    for answer, times in sorted(found.items()):
        print(f"{times:6} {answer}")
    for what, file in failed.items():
        print(f"{what}\n    {file[:1500]}")
    sys.exit(bool(failed))
