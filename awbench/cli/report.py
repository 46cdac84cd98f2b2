"""`awbench report`: records and references to one HTML page, and figures for papers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import print_json, show
from awbench.cli.options import add_options, read_records, references_of
from awbench.errors import UserError
from awbench.records import Records

if TYPE_CHECKING:
    from awbench.reference.load import References


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="write a page with verdicts, figures and tables, from records",
        description="Write one self-contained HTML file: verdicts on the claims, figures, every table, and where\n"
        "each number comes from. It needs no network, reads well on a phone, and prints. Every figure is\n"
        "also written as SVG and PNG, for papers. Nothing is measured.\n\n"
        "  awbench report\n"
        "  awbench report --study mine.yaml --references my-paper.yaml\n"
        "  awbench report --results results --output page.html --figures figures",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: report.html in the results folder")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="default: figures/ in the results folder")
    add_options(parser, "--study", "--results", "--references", "--only-references", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.studies import beside

    with beside(args.study):
        return _report(args)


def _report(args: argparse.Namespace) -> int:
    from awbench.report.claims import status_of, verdict_text
    from awbench.report.studies import answer_sentence, own_questions
    from awbench.studies import load_study
    from awbench.verdicts.claims import judge_claims

    records, references = read_records(args), references_of(args)
    output = args.output or args.results / "report.html"
    if output.is_dir():
        raise UserError(f"--output {output} is a folder; give a file, e.g. {output / 'report.html'}")
    page, figures = write_report(records, references, output, args.figures or args.results / "figures")
    claims = judge_claims(records, references)
    asked = {load_study(name).digest for name in args.study}
    answers = {
        judged.study.name: [answer_sentence(pair) for pair in judged.comparisons]
        for judged in own_questions(records)
        if judged.study.digest in asked
    }
    if args.json:
        outcomes = {judged.claim.id: status_of(judged) for judged in claims}
        made = {"report": str(page), "figures": [str(path) for path in figures]}
        print_json({**made, "answers": answers, "claims": outcomes})
    else:
        for sentence in (sentence for sentences in answers.values() for sentence in sentences):
            show(sentence)
        for judged in claims:
            show(f"{judged.claim.id}: {verdict_text(judged)}")
        show(f"report: {page}   figures: {figures[0].parent} ({len(figures)} files)")
    return 0


def write_report(records: Records, references: References, output: Path, folder: Path) -> tuple[Path, list[Path]]:
    """Write the page and its figures; returns (the page, the figures' files)."""
    from awbench.records.atomic import write_bytes, write_text
    from awbench.report.figures import all_figures
    from awbench.report.page import render_page

    figures = all_figures(records, references)
    files = []
    for figure in figures:
        for format in ("svg", "png"):
            files.append(folder / f"{figure.name}.{format}")
            write_bytes(files[-1], figure.to_bytes(format))
    write_text(output, render_page(records, references, figures))
    return output, files
