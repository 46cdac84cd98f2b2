"""`awbench table`: records and references to a table."""

from __future__ import annotations

import argparse
from typing import Any

from awbench.cli.common import add_references, add_results
from awbench.records import Records

_KINDS = (
    "complexity",
    "grid",
    "accuracy",
    "proxy",
    "detectors",
    "shapes",
    "detection",
    "latency",
    "speed",
    "aw-speed",
    "claims",
)
_FORMATS = ("github", "latex", "csv", "html", "json")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "table",
        help="print a table from records",
        description="Print a table from records and published numbers. Nothing is measured.\n\n"
        "  complexity   published parameters and multiply-accumulates beside measured ones\n"
        "  grid         the counts of every classification variant\n"
        "  accuracy     published ImageNet accuracy beside what was trained or evaluated here\n"
        "  proxy        digits: every variant, over seeds, and what AW adds\n"
        "  detectors    the counts of every detector with either engine\n"
        "  detection    published AP beside what was trained or evaluated here\n"
        "  shapes       procedural shapes: detectors over seeds, and what AW adds\n"
        "  speed        latency measured here, as ratios to the plain network\n"
        "  aw-speed     AW-convolutions executed every way beside a plain convolution\n"
        "  latency      published times of other machines\n"
        "  claims       each claim of a gain: claimed, measured, verdict\n\n"
        "  awbench table claims --format latex\n"
        "  awbench table complexity --columns variant,metric,published,measured,verdict --sort variant,metric\n"
        "  awbench table speed --sort 'ratio to plain:desc'\n\n"
        "LaTeX tables need the package booktabs and carry their notes.",
    )
    parser.add_argument("kind", choices=_KINDS, metavar="KIND", help=", ".join(_KINDS))
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=_FORMATS, default="github", help="default: github")
    form.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.add_argument("--columns", default="", metavar="NAME,...", help="only these, in this order (default: all)")
    parser.add_argument(
        "--sort", default="", metavar="NAME,...", help="by these columns, the most important first; NAME:desc reverses"
    )
    add_results(parser)
    add_references(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.reference.load import load_references
    from awbench.report.formats import render
    from awbench.report.table import select
    from awbench.report.tables import TABLES

    table = TABLES[args.kind](Records.read(args.results), load_references(args.references))
    print(render(select(table, _names(args.columns), _names(args.sort)), args.format), end="")
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
