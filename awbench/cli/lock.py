"""`awbench lock`: write the counts that the code is held to."""

from __future__ import annotations

import argparse
from typing import Any

from awbench.cli.common import add_results, say
from awbench.cli.reproduce import count_grid
from awbench.records import RecordStore


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "lock",
        help="for maintainers: write the locked counts of the grid",
        description="Count the grid with a cross-check and write reference_results/locked/complexity.yaml, the\n"
        "values that tests hold the code to. A change there is a change of what the suite claims.",
    )
    add_results(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.records.atomic import write_text
    from awbench.reference.locked import locked_path, to_yaml

    records = count_grid(RecordStore(args.results))
    write_text(locked_path(), to_yaml(records))
    say(f"{len(records)} rows written to {locked_path()}")
    return 0
