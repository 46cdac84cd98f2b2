"""`awbench table`: records and references to a table."""

from __future__ import annotations

import argparse
from typing import Any

from awbench.cli.common import key_values, print_table, show
from awbench.cli.options import add_options, read_records, references_of
from awbench.errors import UserError

_KINDS = {
    "complexity": "published parameters and multiply-accumulates beside measured ones",
    "grid": "counts of every classification variant",
    "accuracy": "published ImageNet accuracy beside what was trained or evaluated here",
    "proxy": "digits: every variant, over seeds, and what AW adds",
    "detectors": "counts of every detector with either engine",
    "digits-detection": "digits to detect: detectors over seeds, and what AW adds",
    "detection": "published AP beside what was trained or evaluated here",
    "latency": "what 'awbench latency' measured: ratios to the plain network",
    "published-latency": "published times of other machines, which nothing is compared with",
    "aw-speed": "AW-convolutions, executed by every strategy, beside a plain convolution",
    "claims": "each claim of a gain: claimed, measured, verdict",
    "studies": "each network of a study of our own question: accuracy, gain, cost",
    "looks": "each look that a study has taken: runs, gain, answer",
    "runs": "every training there is: variant, options, recipe, seeds, mean and deviation",
    "repeats": "the same seed trained again with another library, processor or code: what changes",
    "imported": "runs that were trained elsewhere, judged among themselves",
}
_FORMATS = ("text", "github", "latex", "csv", "html", "json")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "table",
        help="print a table from records",
        description="Print a table from records and published numbers. Nothing is measured.\n\n"
        + "".join(f"  {kind:17} {text}\n" for kind, text in _KINDS.items())
        + "\n"
        "  awbench table claims --format latex\n"
        "  awbench table complexity --columns variant,metric,published,measured,verdict --sort variant,metric\n"
        "  awbench table latency --sort 'ratio to plain:desc'\n"
        "  awbench table runs --where 'variant=aw_*' --where dataset=digits\n\n"
        "text fits the terminal and leaves out what does not; the other formats are whole. CSV has numbers that\n"
        "programs compute with, an interval as two columns. LaTeX is for a page's width; its first line names the\n"
        "packages that it needs.",
    )
    parser.add_argument("kind", choices=_KINDS, metavar="KIND", help=", ".join(_KINDS))
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=_FORMATS, help="default: text on a terminal, github elsewhere")
    form.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    parser.add_argument("--no-notes", action="store_false", dest="notes", help="without the notes below it")
    parser.add_argument(
        "--columns", default="", metavar="NAME,...", help="only these, in this order (default: all); a name's "
        "beginning will do; 'help' lists the names",
    )  # fmt: skip
    parser.add_argument(
        "--sort", default="", metavar="NAME,...", help="by these columns, the most important first; NAME:desc reverses"
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=PATTERN",
        help="only rows whose cell matches, e.g. 'variant=aw_*' (repeatable: all must match)",
    )  # fmt: skip
    add_options(parser, "--study", "--results", "--references", "--only-references")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.report.table import select
    from awbench.report.tables import TABLES
    from awbench.studies import beside

    if args.study and args.kind not in ("claims", "studies", "looks"):
        raise UserError(f"--study {args.study[0]} is for the tables of claims, studies and looks, not for {args.kind}")
    with beside(args.study):
        table = TABLES[args.kind](read_records(args), references_of(args))
    if args.columns.strip() == "help":
        show("\n".join(table.columns))
        return 0
    where = key_values("--where", args.where, "'variant=aw_*'")
    print_table(select(table, _names(args.columns), _names(args.sort), where), args.format, args.notes)
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
