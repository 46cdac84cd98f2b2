"""`awbench lock`: write the counts that the code is held to."""

from __future__ import annotations

import argparse
from typing import Any

from awbench.cli.common import add_results, say
from awbench.cli.reproduce import count_detectors, count_grid
from awbench.errors import UserError
from awbench.records import RecordStore


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "lock",
        help="for maintainers: write the locked counts of the grid",
        description="Count the grid with a cross-check, and the detectors with both engines, and write\n"
        "reference_results/locked/complexity.yaml, the "
        "values that tests hold the code to. A change there is a change of what the suite claims.",
    )
    add_results(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.detection.engine import has_detectron2
    from awbench.records.atomic import write_text
    from awbench.reference.locked import locked_path, to_yaml

    if not has_detectron2():
        raise UserError(
            "the locked counts include Detectron2's detectors, and it is not installed: run 'make detectron2'"
        )
    store = RecordStore(args.results)
    records = [*count_grid(store), *count_detectors(store)]
    write_text(locked_path(), to_yaml(records))
    say(f"{len(records)} rows written to {locked_path()}")
    return 0
