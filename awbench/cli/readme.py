"""The README's tables and figures, made from records: `python -m awbench.cli.readme` writes them.

Counts are made again, for they are exact; what varies from run to run (accuracy, latency) is read from the records in
docs/records, which a maintainer replaces with those of a newer `make reproduce`. A test makes everything again and
fails when what is committed differs.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from awbench.experiments.measurements import record_complexity
from awbench.records import Records, RecordStore
from awbench.records.atomic import write_bytes, write_text
from awbench.reference.load import load_references
from awbench.report.figures import Figure, all_figures
from awbench.report.formats import render
from awbench.report.table import select
from awbench.report.tables import TABLES
from awbench.variants import STRIDE_PLACEMENTS, ModelOptions, list_variants

# A table's kind, what the first column must match, and the columns wanted.
_BLOCK = re.compile(r"(<!-- table: ([\w-]+) (\S+) ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Name of a figure -> its file in docs/.
FIGURES = {
    "claims": "claims.svg",
    "complexity": "complexity.svg",
    "latency-1": "latency.svg",
    "aw-speed-2": "aw-speed.svg",
    "digits": "digits.svg",
}


def fill(readme: str, records: Records) -> str:
    """The README with every `<!-- table: KIND FIRST-COLUMN COLUMN,... -->` block made again."""
    references = load_references()

    def block(match: re.Match[str]) -> str:
        start, kind, wanted, columns, end = match.groups()
        table = TABLES[kind](records, references)
        kept = [row for row, cells in zip(table.values, table.rows, strict=True) if re.fullmatch(wanted, cells[0])]
        chosen = select(replace(table, values=kept), columns.split(","))
        return f"{start}{render(chosen, 'github')}{end}"

    return _BLOCK.sub(block, readme)


def figures(records: Records) -> dict[str, Figure]:
    """The README's figures, by their file in docs/."""
    made = {figure.name: figure for figure in all_figures(records, load_references())}
    return {file: made[name] for name, file in FIGURES.items()}


def readme_records(root: Path, folder: Path) -> Records:
    """The records that the README is made from: those of docs/records and the ImageNet grid's counts, made now.

    Args:
        root: the checkout.
        folder: that does not exist yet, for a copy of the records.
    """
    shutil.copytree(root / "docs/records", folder / "records")
    store = RecordStore(folder)
    for placement in STRIDE_PLACEMENTS:
        for variant in list_variants("classification"):
            if variant.architecture.family == "imagenet" or variant.architecture_name == "resnet20":
                record_complexity(store, variant, ModelOptions(stride_placement=placement))
    return store.read()


def main() -> int:
    root = Path(__file__).resolve().parent.parent.parent
    readme = root / "README.md"
    with tempfile.TemporaryDirectory() as folder:
        records = readme_records(root, Path(folder) / "results")
        write_text(readme, fill(readme.read_text(), records))
        for file, figure in figures(records).items():
            write_bytes(root / "docs" / file, figure.to_bytes("svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
