"""`awbench reproduce`: measure what this machine can, compare with published numbers, write every table."""

from __future__ import annotations

import argparse
import functools
import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import log, print_json, show
from awbench.cli.grid import COUNTING_MINUTES, LATENCY_ARCHITECTURES, count_detectors, count_grid, time_grid
from awbench.cli.options import add_options, references_of
from awbench.errors import UserError
from awbench.recipes.datasets import DATA_VARIABLES
from awbench.records import RecordStore
from awbench.text import plural

if TYPE_CHECKING:
    from awbench.report.table import Table

# In order: what any machine can run, then what needs data and a GPU, backbones before detectors.
STUDIES = ("digits", "digits-detection", "imagenet", "coco")
# Of one run on two cores that did nothing else, without Detectron2: 8 min 51 s and 0.33 GB in all.
_MINUTES = {"counts": COUNTING_MINUTES, "latency": 1.5, "digits": 3, "digits-detection": 3, "tables": 0.5}
_GIGABYTES = 0.3
_DATA = {name: (DATA_VARIABLES[name], title) for name, title in (("imagenet", "ImageNet"), ("coco", "COCO"))}
_KINDS = {
    "accuracy": "Published accuracies", "detection": "Published AP", "latency": "Published times", "claims": "Claims",
}  # fmt: skip
_FOLDERS = {
    "AWBENCH_IMAGENET": "train/ and val/",
    "AWBENCH_COCO": "annotations/, train2017/ and val2017/",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "reproduce",
        help="measure what this machine can, compare with published numbers, write tables",
        description="Count the whole classification grid under both stride placements with two independent\n"
        "counters, and the detectors; time the ImageNet grid; run the studies digits and digits-detection, smoke\n"
        "tests that need no data; compare with every published number, and write\n"
        "tables, figures and a page below the results folder. Stop it any time: what is recorded is not measured\n"
        "again, and a run that was stopped is resumed.\n\n"
        "With CUDA and AWBENCH_IMAGENET=DIR, run the study of ImageNet too; with AWBENCH_COCO=DIR that of COCO,\n"
        "whose detectors start from the backbones that the ImageNet study trained with their seed.\n\n"
        "Exit code 1 means that a count is not the one this project has locked.",
    )
    add_options(parser, "--results", "--references", "--only-references", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.cli.report import write_report
    from awbench.gate.locked import load_locked, off_from_locked
    from awbench.report.tables import TABLES

    references, locked = references_of(args), load_locked()
    require_folders()
    store = RecordStore(args.results)
    phases = _phases()
    log(_plan(phases, args.results))
    begin = functools.partial(_heading, phases)
    begin("counts")
    off = off_from_locked([*count_grid(store), *count_detectors(store)], locked)
    for problem in off:
        log(f"awbench: {problem}", logging.ERROR)
    begin("latency")
    time_grid(store)
    failed: dict[str, str] = {}
    for name in STUDIES:
        begin(f"study {name}")
        try:
            failed |= carry_out(name, store, references)
        except UserError as error:  # the other stages and the tables are made all the same
            failed[name] = str(error)
    begin("tables, figures, page")
    records = store.read()
    tables = {kind: make(records, references) for kind, make in TABLES.items()}
    written = _write(tables, args.results)
    page, figures = write_report(records, references, args.results / "report.html", args.results / "figures")
    written += [*figures, page]
    summary = {**_summary(tables), "failed": failed}
    if args.json:
        print_json({**summary, "off_from_locked": off, "files": [str(path) for path in written]})
    else:
        show(_describe(summary, args.results))
    return 1 if off else 2 if failed else 0


def _phases() -> dict[str, tuple[str, float | None]]:
    """Name -> (what it does, minutes on two cores that do nothing else; None where a GPU's hours depend on it)."""
    from awbench.studies import load_study

    phases: dict[str, tuple[str, float | None]] = {
        "counts": ("parameters and operations of every network, by two counters", _MINUTES["counts"]),
        "latency": (f"{len(LATENCY_ARCHITECTURES)} ResNets with every attention, interleaved", _MINUTES["latency"]),
    }
    for name in STUDIES:
        study = load_study(name)
        if _is_asked(name):
            minutes = _MINUTES.get(name)
            phases[f"study {name}"] = (f"{study.title}, {len(study.labels)} networks of several seeds each", minutes)
    return {**phases, "tables, figures, page": ("from the records", _MINUTES["tables"])}


def _is_asked(study: str) -> bool:
    """Whether it needs no data, or its data is at hand."""
    return study not in _DATA or bool(os.environ.get(_DATA[study][0]))


def _plan(phases: Mapping[str, tuple[str, float | None]], results: Path) -> str:
    minutes = sum(minutes or 0 for _, minutes in phases.values())
    lines = [
        f"{len(phases)} phases, about {minutes:.0f} minutes on two idle cores, {_GIGABYTES} GB in {results}. "
        "Stop it any time: the same command goes on from there.",
        *(
            f"  {number} {name}: {what} ({'see awbench plan' if takes is None else f'{takes:g} min'})"
            for number, (name, (what, takes)) in enumerate(phases.items(), 1)
        ),
    ]
    missing = [
        f"{title} ({variable}=DIR and a GPU)" for name, (variable, title) in _DATA.items() if not _is_asked(name)
    ]
    lines += [f"Not in it: the studies that need {' or '.join(missing)}"] if missing else []
    return "\n".join(lines)


def _heading(phases: Mapping[str, tuple[str, float | None]], name: str) -> None:
    if name in phases:
        log(f"\n[{list(phases).index(name) + 1} of {len(phases)}] {name}")


def require_folders() -> None:
    """Raises: UserError: a folder that the environment names does not exist; said before anything is trained."""
    for name, holds in _FOLDERS.items():
        given = os.environ.get(name)
        if given and not Path(given).is_dir():
            raise UserError(f"{name}={given} is not a folder; give the one that holds {holds}")


def carry_out(name: str, store: RecordStore, references: Any) -> dict[str, str]:
    """Run a study as far as this machine can; returns what failed."""
    from awbench.cli.study_runs import HowToRun, run_study
    from awbench.studies import load_study

    study = load_study(name)
    variable, title = _DATA.get(name, ("", study.title))
    if variable and not os.environ.get(variable):
        return {}
    if variable:
        import torch

        if not torch.cuda.device_count():
            log(f"{title}: {variable} is set, but there is no CUDA GPU; its rows stay not measured")
            return {}
    first_look_alone = study.purpose == "smoke test"  # 'awbench study run' goes on
    done = run_study(study, store, references, HowToRun(looks=1 if first_look_alone else None))
    have = sum(len(runs) for runs in done.judged.evidence.runs.values())
    log(f"study {name}: {plural(done.made, 'run')} made, {have} count")
    return done.failed


def _write(tables: Mapping[str, Table], results: Path) -> list[Path]:
    """Every table in every format; returns the files."""
    from awbench.records.atomic import write_text
    from awbench.report.formats import EXTENSIONS, render

    written = []
    for kind, table in tables.items():
        for format, extension in EXTENSIONS.items():
            written.append(results / "tables" / f"{kind}.{extension}")
            write_text(written[-1], render(table, format))
    return written


def _noise(row: Mapping[str, Any]) -> str:
    from awbench.report.latency import TOO_NOISY
    from awbench.verdicts.latency import is_too_wide

    return f" {TOO_NOISY}" if is_too_wide(row["ratio_to_plain"], *row["ratio_ci"]) else ""


def _summary(tables: Mapping[str, Table]) -> dict[str, Any]:
    complexity = tables["complexity"].objects
    return {
        "complexity": dict(Counter(str(row["verdict"]).partition(" by ")[0] for row in complexity)),
        "speed": [
            f"{row['variant']:14} {row['latency_ms']:8.2f} ms, {row['ratio_to_plain']:.3f} of {row['over']} "
            f"({row['ratio_ci'][0]:.3f} to {row['ratio_ci'][1]:.3f}){_noise(row)}, batch {row['batch_size']}, "
            f"{row['device_name']}"
            for row in tables["latency"].objects
            if str(row["variant"]).startswith("aw_resnet")
        ],
        "differing": [row for row in complexity if str(row["verdict"]).startswith("differs")],
        "proxy": lines_of(tables["proxy"], "variant", "runs", "top-1 mean (%)", "AW adds to top-1 (interval)"),
        "digits-detection": lines_of(
            tables["digits-detection"], "variant", "engine", "runs", "AP", "AP50", "AW adds to AP50 (interval)"
        ),
        "not_measured": {
            kind: Counter(str(row["verdict"]) for row in tables[table].objects)
            for kind, table in (
                ("accuracy", "accuracy"),
                ("detection", "detection"),
                ("latency", "published-latency"),
                ("claims", "claims"),
            )
        },
    }


def lines_of(table: Table, *columns: str) -> list[str]:
    """One line per row of these columns, e.g. "aw_resnet20, runs 3, top-1 mean (%) 98.33"; empty cells are left out."""
    from awbench.report.table import select

    rows = (zip(columns, cells, strict=True) for cells in select(table, columns).rows)
    return [", ".join(cell if name == columns[0] else f"{name} {cell}" for name, cell in row if cell) for row in rows]


def _describe(summary: dict[str, Any], results: Path) -> str:
    lines = ["Counts beside published numbers:"]
    lines += [f"  {count:4} {verdict}" for verdict, count in _by_status(summary["complexity"]).items()]
    for row in summary["differing"]:
        published = f"{row['published_as_printed']} {row['unit']}"
        lines.append(f"       {row['variant']}, {row['source']} prints {published}: {row['verdict']}")
    lines += ["Latency beside the plain network (95 % interval):", *(f"  {line}" for line in summary["speed"])]
    lines += ["Digits, a smoke test, top-1 over seeds:", *(f"  {line}" for line in summary["proxy"])]
    lines += ["Digits to detect, a smoke test:", *(f"  {line}" for line in summary["digits-detection"])]
    lines += [f"failed: {name}: {why}" for name, why in summary["failed"].items()]
    for kind, verdicts in summary["not_measured"].items():
        found = ", ".join(f"{count} {status}" for status, count in _by_status(verdicts).items())
        lines.append(f"{_KINDS[kind]}: {found} (awbench table {kind if kind != 'latency' else 'published-latency'})")
    lines.append(f"Tables: {results / 'tables'}   figures: {results / 'figures'}")
    lines.append(f"Page: {results / 'report.html'}")
    return "\n".join(lines)


def _by_status(verdicts: Mapping[str, int]) -> dict[str, int]:
    """E.g. "not measured" -> 12, whatever it needs."""
    found: Counter[str] = Counter()
    for verdict, count in verdicts.items():
        found[verdict.partition(":")[0]] += count
    return dict(found.most_common())
