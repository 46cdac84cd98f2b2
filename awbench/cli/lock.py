"""`awbench lock`: write the counts that the code is held to."""

from __future__ import annotations

import argparse
from typing import Any

from awbench.cli.common import log
from awbench.cli.grid import count_detectors, count_grid
from awbench.cli.options import add_options
from awbench.records import RecordStore


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "lock",
        help="for maintainers: write the locked counts of the grid",
        description="Count the grid with a cross-check, and the detectors with both engines, and write\n"
        "reference_results/locked/complexity.yaml; and, where there are proxy runs among the records, proxy.yaml\n"
        "beside it. These are the values that tests hold the code to. A change there is a change of what the suite\n"
        "claims.",
    )
    add_options(parser, "--results")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.detection.engine import has_detectron2
    from awbench.gate.locked import counts_to_yaml, load_locked, locked_path
    from awbench.gate.proxies import proxy_runs, runs_path, runs_to_yaml
    from awbench.records.atomic import write_text

    store = RecordStore(args.results)
    proxies = proxy_runs(store.read())
    kept = [] if has_detectron2() else [row for row in load_locked() if row.engine == "detectron2"]
    if kept:
        log(f"Detectron2 is not installed (make detectron2): its {len(kept)} rows stay as they are")
    records = [*count_grid(store), *count_detectors(store)]
    write_text(locked_path(), counts_to_yaml(records, kept))
    log(f"{len(records)} rows written to {locked_path()}")
    if proxies:
        write_text(runs_path(), runs_to_yaml(proxies))
        log(f"proxy runs of {len(proxies)} networks written to {runs_path()}")
    else:
        log(f"{args.results} has no proxy runs: {runs_path()} stays as it is; 'awbench reproduce' makes them")
    return 0
