"""`awbench reproduce`: measure what this machine can, compare, write every table."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import Any

from awbench.cli.common import print_json, say
from awbench.cli.grid import count_detectors, count_grid, time_grid
from awbench.cli.options import add_options
from awbench.errors import UserError
from awbench.records import Records, RecordStore

# In order: what any machine can run, then what needs data and a GPU, backbones before detectors.
STUDIES = ("digits", "shapes", "imagenet", "coco")
_NEEDS = {"imagenet": ("AWBENCH_IMAGENET", "ImageNet"), "coco": ("AWBENCH_COCO", "COCO")}
_FOLDERS = {
    "AWBENCH_IMAGENET": "train/ and val/",
    "AWBENCH_COCO": "annotations/, train2017/ and val2017/",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "reproduce",
        help="measure what this machine can, compare with published numbers, write tables",
        description="Count the whole classification grid under both stride placements with two independent\n"
        "counters, and the detectors; time the ImageNet grid; run the studies digits and shapes, smoke\n"
        "tests that need no data; compare with every published number, and write\n"
        "tables, figures and a page below the results folder. Stop it any time: what is recorded is not measured\n"
        "again, and a run that was stopped is resumed.\n\n"
        "With CUDA and AWBENCH_IMAGENET=DIR, run the study of ImageNet too; with AWBENCH_COCO=DIR that of COCO,\n"
        "whose detectors start from the backbones that the ImageNet study trained with their seed.\n\n"
        "Exit code 1 means that a count is not the one this project has locked.",
    )
    add_options(parser, "--results", "--references", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.gate.locked import load_locked, off_from_locked
    from awbench.reference.load import load_references

    references, locked = load_references(args.references), load_locked()
    require_folders()
    store = RecordStore(args.results)
    off = off_from_locked([*count_grid(store), *count_detectors(store)], locked)
    for problem in off:
        say(f"awbench: {problem}")
    time_grid(store)
    failed: dict[str, str] = {}
    for name in STUDIES:
        try:
            failed |= carry_out(name, store, references)
        except UserError as error:  # the other stages and the tables are made all the same
            failed[name] = str(error)
    records = store.read()
    written = _write(records, references, args.results)
    summary = {**_summary(records, references), "failed": failed}
    if args.json:
        print_json({**summary, "off_from_locked": off, "files": [str(path) for path in written]})
    else:
        print(_describe(summary, args.results))
    return 1 if off else 2 if failed else 0


def require_folders() -> None:
    """Refuse what is given by the environment and is no folder before anything is trained.

    Raises:
        UserError: naming it.
    """
    for name, holds in _FOLDERS.items():
        given = os.environ.get(name)
        if given and not Path(given).is_dir():
            raise UserError(f"{name}={given} is not a folder; give the one that holds {holds}")


def carry_out(name: str, store: RecordStore, references: Any) -> dict[str, str]:
    """Run a study as far as this machine can; returns what failed."""
    from awbench.cli.study_runs import HowToRun, run_study
    from awbench.studies import load_study

    study = load_study(name)
    variable, title = _NEEDS.get(name, ("", study.title))
    if variable and not os.environ.get(variable):
        return {}
    if variable:
        import torch

        if not torch.cuda.device_count():
            say(f"{title}: {variable} is set, but there is no CUDA GPU; its rows stay not measured")
            return {}
    done = run_study(study, store, references, HowToRun())
    have = sum(len(runs) for runs in done.judged.evidence.runs.values())
    say(f"study {name}: {done.made} runs made, {have} count")
    return done.failed


def _write(records: Records, references: Any, results: Path) -> list[Path]:
    from awbench.cli.report import write_report
    from awbench.records.atomic import remove_stale_temporaries, write_text
    from awbench.report.formats import EXTENSIONS, render
    from awbench.report.tables import TABLES

    written = []
    remove_stale_temporaries(results / "tables")
    for kind, make in TABLES.items():
        table = make(records, references)
        for format, extension in EXTENSIONS.items():
            path = results / "tables" / f"{kind}.{extension}"
            write_text(path, render(table, format))
            written.append(path)
    page, figures = write_report(records, references, results / "report.html", results / "figures")
    written += [*figures, page]
    return written


def _summary(records: Records, references: Any) -> dict[str, Any]:
    from awbench.report.tables import TABLES

    complexity = TABLES["complexity"](records, references).objects
    verdicts = Counter(str(row["verdict"]).partition(" by ")[0] for row in complexity)
    differing = [row for row in complexity if str(row["verdict"]).startswith("differs")]
    not_measured = {
        kind: Counter(str(row["verdict"]) for row in TABLES[kind](records, references).objects)
        for kind in ("accuracy", "detection", "latency", "claims")
    }
    proxy = [
        f"{row[0]:17} {row[2]} % over {row[1]} runs  {row[6]}" for row in TABLES["proxy"](records, references).rows
    ]
    shapes = [
        f"{row[0]:29} {row[1]}: AP {row[3]}, AP50 {row[4]} over {row[2]} runs  {row[10]}"
        for row in TABLES["shapes"](records, references).rows
    ]
    speed = [
        f"{row['variant']:14} {row['latency_ms']:8.2f} ms, {row['ratio_to_plain']:.3f} of {row['over']} "
        f"({row['ratio_ci'][0]:.3f} to {row['ratio_ci'][1]:.3f}), batch {row['batch_size']}, {row['device_name']}"
        for row in TABLES["speed"](records, references).objects
        if str(row["variant"]).startswith("aw_resnet")
    ]
    return {
        "complexity": dict(verdicts),
        "speed": speed,
        "differing": differing,
        "proxy": proxy,
        "shapes": shapes,
        "not_measured": not_measured,
    }


def _describe(summary: dict[str, Any], results: Path) -> str:
    lines = ["complexity, published numbers beside counted ones:"]
    lines += [f"  {count:4} {verdict}" for verdict, count in summary["complexity"].items()]
    for row in summary["differing"]:
        published = f"{row['published_as_printed']} {row['unit']}"
        lines.append(f"       {row['variant']}, {row['source']} prints {published}: {row['verdict']}; {row['note']}")
    lines += ["latency beside the plain network (95 % interval):", *(f"  {line}" for line in summary["speed"])]
    lines += ["digits, a proxy, top-1 over seeds:", *(f"  {line}" for line in summary["proxy"])]
    lines += ["procedural shapes, a proxy:", *(f"  {line}" for line in summary["shapes"])]
    lines += [f"failed: {name}: {why}" for name, why in summary["failed"].items()]
    for kind, needs in summary["not_measured"].items():
        for need, count in needs.items():
            lines.append(f"{kind}: {count} {need}")
    lines.append(f"tables: {results / 'tables'}   figures: {results / 'figures'}   page: {results / 'report.html'}")
    return "\n".join(lines)
