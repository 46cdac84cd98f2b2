"""Tables and figures of the README, docs/results.md and examples/README.md, made from records.

`python -m awbench.cli.readme` writes them. Counts are made again, for they are exact; what varies from run to run
(accuracy, latency) is read from the records in docs/records, which a maintainer replaces with those of a newer `make
reproduce`, and in examples/records. A test makes everything again and fails when what is committed differs.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import shutil
import sys
import tempfile
import tomllib
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tabulate import tabulate

from awbench.cli.api import api_page
from awbench.cli.grid import count_study
from awbench.experiments.counting import record_complexities
from awbench.modules import ENTRY_POINTS, registered
from awbench.records import Records, RecordStore
from awbench.records.atomic import write_bytes, write_text
from awbench.reference.load import load_references
from awbench.report.figures import Figure, all_figures
from awbench.report.figures.studies import study_figures
from awbench.report.formats import render
from awbench.report.layout import said_once, varying
from awbench.report.names import display_name
from awbench.report.studies import answer_sentence, own_questions, study_sentence
from awbench.report.table import select
from awbench.report.tables import TABLES
from awbench.studies import beside, load_study
from awbench.variants import STRIDE_PLACEMENTS, AWOptions, ModelOptions, list_variants
from awbench.verdicts.complexity import EQUAL, NOT_MEASURED, compare_complexity

# A table's kind, what the first column must match, and the columns wanted.
_BLOCK = re.compile(r"(<!-- table: ([\w-]+) (\S+) ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ANSWER = re.compile(r"(<!-- answer: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_COUNTS = re.compile(r"(<!-- counts: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OPTIONS = re.compile(r"(<!-- aw-options -->\n).*?(<!-- end -->)", re.DOTALL)
_GRID = re.compile(r"(<!-- aw-grid -->\n).*?(<!-- end -->)", re.DOTALL)
GRID = Path(__file__).resolve().parents[2] / "benchmarks/aw_grid.txt"
# A document -> the folder of the figures, from there.
DOCUMENTS = {"README.md": "docs/", "docs/results.md": "", "docs/method.md": ""}
# A document about the modules of examples/, which are known while it is made.
EXAMPLES, EXAMPLES_STUDY = "examples/README.md", "examples/studies/modules-side-by-side.yaml"
# Name of a figure -> its file in docs/. A study's is there from its first look on.
FIGURES = {
    "study-fashion-mnist": "fashion-mnist.svg",
    "study-fashion-mnist-choices": "fashion-mnist-choices.svg",
    "published-imagenet": "published-imagenet.svg",
    "complexity": "complexity.svg",
    "latency-batch-1-float32-contiguous-224-pixels-2-threads": "latency.svg",
    "aw-speed-2": "aw-speed.svg",
    "study-digits": "digits.svg",
}


def fill(document: str, records: Records, folder: str = "") -> str:
    """A document with every generated block made again.

    `<!-- table: KIND FIRST-COLUMN COLUMN,... -->` is a table, whose columns that are the same in every row are said
    below it, `<!-- answer: STUDY -->` a study's answers, a sentence each, the primary one first and in bold (of an
    exploratory study a summary), and its figure; `<!-- counts: VARIANT -->` how many published counts of the variants
    that match were met.

    Args:
        folder: of the figures, as the document's links have it.
    """
    references = load_references()

    def block(match: re.Match[str]) -> str:
        start, kind, wanted, columns, end = match.groups()
        table = TABLES[kind](records, references)
        kept = [row for row, cells in zip(table.values, table.rows, strict=True) if re.fullmatch(wanted, cells[0])]
        chosen = select(replace(table, values=kept), columns.split(","))
        places, same = varying(chosen.columns, chosen.rows)
        notes = (*([said_once(same)] if same else []), *chosen.notes)
        chosen = replace(select(chosen, [chosen.columns[place] for place in places]), notes=notes)
        return f"{start}{render(chosen, 'github')}{end}"

    def counts(match: re.Match[str]) -> str:
        start, wanted, end = match.groups()
        compared = compare_complexity(references.of_kind("complexity"), records.of_kind("complexity"))
        published = [(one, one.number) for one in compared if re.fullmatch(wanted, one.variant) and one.number]
        # A number that a source prints twice counts once; those that somebody only remembers are counted apart.
        distinct = {(one.variant, one.metric, number.source, number.value): one for one, number in published}
        measured = [one for one in distinct.values() if not one.verdict.startswith(NOT_MEASURED)]
        comparable = [one for one in measured if one.number and one.number.provenance != "recalled"]
        recalled = [one for one in measured if one not in comparable]
        others = [
            f"{one.variant}'s {one.metric} of {one.number.source} ({one.verdict.removeprefix('differs by ')})"
            for one in comparable
            if one.verdict != EQUAL and one.number
        ]
        matching = f"{len(comparable) - len(others)} of {len(comparable)}"
        remembered = f"{sum(one.verdict == EQUAL for one in recalled)} of {len(recalled)}"
        return (
            f"{start}**{matching} published counts match to their last digit**"
            + (f"; the others: {', '.join(others)}" if others else "")
            + (f". Of those recalled from memory {remembered} match" if recalled else "")
            + f". {len(distinct) - len(measured)} more cannot be compared, for their sources do not state what was "
            f"counted.\n{end}"
        )

    def answer(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        judged = next(judged for judged in own_questions(records) if judged.study.name == name)
        sentence = study_sentence(judged)
        others = judged.comparisons[sentence == answer_sentence(judged.comparisons[0]) :]
        shown = [
            f"**{sentence}**",
            *(f"- {answer_sentence(each)}" for each in others if each.interval),
        ]
        early = [
            f"{display_name(other.comparison.variant)} over {display_name(other.comparison.over)}"
            for other in others
            if not other.interval
        ]
        if early:
            shown.append(f"- Too early to look at: {', '.join(early)}.")
        figure = next((figure for figure in study_figures(records) if figure.name == f"study-{name}"), None)
        if figure:
            shown.append(f"\n![{figure.title}]({folder}{FIGURES.get(figure.name, f'{name}.svg')})")
        return f"{start}{shown[0]}\n\n" + "\n".join(shown[1:]) + f"\n{end}"

    document = _OPTIONS.sub(lambda match: f"{match[1]}{aw_options()}{match[2]}", document)
    document = _GRID.sub(lambda match: f"{match[1]}{aw_grid(GRID.read_text())}{match[2]}", document)
    return _COUNTS.sub(counts, _ANSWER.sub(answer, _BLOCK.sub(block, document)))


def aw_options() -> str:
    """The choices of an AW-convolution, their defaults, and how well each is known."""
    rows = []
    for option in dataclasses.fields(AWOptions):
        default = ",".join(map(str, option.default)) if isinstance(option.default, tuple) else str(option.default)
        shown = {"None": "none", "True": "true"}.get(default, default)
        rows.append([f"`{option.name}`", f"`{shown}`", option.metadata["provenance"], option.metadata["help"]])
    return tabulate(rows, ["option", "default", "provenance", "meaning"], "github", disable_numparse=True) + "\n"


def aw_grid(printed: str) -> str:
    """What benchmarks/aw_grid.py printed, in short: steps of whole networks, and how near the rule is to the best."""
    rows = [line.split(" | ") for line in printed.splitlines() if line[:1].isdigit()]
    steps = [row for row in rows if row[4].startswith("AW ")]
    to_best = [float(row[6]) for row in rows if row not in steps]
    headers = ["network", "batch", "threads", "layout", *(cell.rpartition(" ")[0] for cell in steps[0][4:])]
    cells = [[row[3], row[2], row[0], row[1], *(cell.rpartition(" ")[2] for cell in row[4:])] for row in steps]
    near = sum(ratio <= 1.01 for ratio in to_best)
    return (
        f"{tabulate(cells, headers, 'github', disable_numparse=True)}\n\n"
        f"Of {len(to_best)} 3x3 convolutions (shapes, threads, layouts, batches) the rule takes the fastest strategy "
        f"or one that takes no more than 1 % longer, at {near}; elsewhere its choice takes up to {max(to_best):.2f} "
        "times the best's time.\n"
    )


def figures(records: Records) -> dict[str, Figure]:
    """The documents' figures, by their file in docs/."""
    made = {figure.name: figure for figure in all_figures(records, load_references())}
    return {file: made[name] for name, file in FIGURES.items() if name in made}


def readme_records(root: Path, folder: Path) -> Records:
    """The records that the documents are made from: those of docs/records and the ImageNet grid's counts, made now.

    Args:
        root: the checkout.
        folder: that does not exist yet, for a copy of the records.
    """
    shutil.copytree(root / "docs/records", folder / "records")
    store = RecordStore(folder)
    for study in ("fashion-mnist", "fashion-mnist-choices"):
        count_study(store, load_study(study))
    jobs = [
        (variant, ModelOptions(stride_placement=placement))
        for placement in STRIDE_PLACEMENTS
        for variant in list_variants("classification")
        if variant.architecture.family == "imagenet" or variant.architecture_name == "resnet20"
    ]
    deque(record_complexities(store, jobs), maxlen=0)
    return store.read()


@contextlib.contextmanager
def example_modules(root: Path) -> Iterator[None]:
    """Meanwhile the modules of the packages in examples/ are known, by their entry points, without being installed."""
    projects = sorted((root / "examples").glob("*/pyproject.toml"))
    declared = [tomllib.loads(project.read_text())["project"]["entry-points"][ENTRY_POINTS] for project in projects]
    before = list(sys.path)
    sys.path += [str(project.parent) for project in projects]
    try:
        with registered([f"{name}={path}" for modules in declared for name, path in modules.items()]):
            yield
    finally:
        sys.path[:] = before


def fill_examples(root: Path, folder: Path) -> tuple[str, Figure]:
    """examples/README.md made again, from examples/records and the counts of its networks, made now; and its figure.

    Args:
        folder: that does not exist yet, for a copy of the records.
    """
    study = str(root / EXAMPLES_STUDY)
    with example_modules(root), beside([study]):
        shutil.copytree(root / "examples/records", folder / "records")
        store = RecordStore(folder)
        count_study(store, load_study(study))
        records = store.read()
        (figure,) = study_figures(records)
        return fill((root / EXAMPLES).read_text(), records), figure


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    root = Path(__file__).resolve().parent.parent.parent
    with tempfile.TemporaryDirectory() as folder:
        records = readme_records(root, Path(folder) / "results")
        for document, figures_folder in DOCUMENTS.items():
            write_text(root / document, fill((root / document).read_text(), records, figures_folder))
        write_text(root / "docs/api.md", api_page())
        for file, figure in figures(records).items():
            write_bytes(root / "docs" / file, figure.to_bytes("svg"))
        text, figure = fill_examples(root, Path(folder) / "examples")
        write_text(root / EXAMPLES, text)
        write_bytes((root / EXAMPLES_STUDY).parents[1] / f"{Path(EXAMPLES_STUDY).stem}.svg", figure.to_bytes("svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
