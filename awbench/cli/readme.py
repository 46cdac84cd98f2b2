"""The README's tables and pictures, made from records: `python -m awbench.cli.readme` writes them.

Counts are made again, for they are exact; what scatters (accuracy, latency) is read from the records in docs/records,
which a maintainer replaces with those of a newer `make reproduce`. A test makes everything again and fails when what is
committed differs.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from awbench.recording import record_complexity
from awbench.records import RecordStore
from awbench.records.atomic import write_bytes, write_text
from awbench.reference.load import load_references
from awbench.report.figures import Picture, all_pictures
from awbench.report.formats import render, select
from awbench.report.tables import TABLES
from awbench.variants import STRIDE_PLACEMENTS, ModelOptions, list_variants

# A table's kind, what the first column must match, and the columns wanted.
_BLOCK = re.compile(r"(<!-- table: ([\w-]+) (\S+) ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Name of a picture -> its file in docs/.
PICTURES = {
    "claims": "claims.svg",
    "complexity": "complexity.svg",
    "latency-1": "latency.svg",
    "aw-speed-2": "aw-speed.svg",
    "digits": "digits.svg",
}


def fill(readme: str, store: RecordStore) -> str:
    """The README with every `<!-- table: KIND FIRST-COLUMN COLUMN,... -->` block made again."""
    references = load_references()

    def block(match: re.Match[str]) -> str:
        start, kind, wanted, columns, end = match.groups()
        table = TABLES[kind](store, references)
        keep = [number for number, row in enumerate(table.rows) if re.fullmatch(wanted, row[0])]
        kept = type(table)(
            table.title, table.columns, [table.rows[i] for i in keep], [], table.notes, table.right_aligned
        )
        return f"{start}{render(select(kept, columns.split(',')), 'github')}{end}"

    return _BLOCK.sub(block, readme)


def pictures(store: RecordStore) -> dict[str, Picture]:
    """The README's pictures, by their file in docs/."""
    made = {picture.name: picture for picture in all_pictures(store, load_references())}
    return {file: made[name] for name, file in PICTURES.items()}


def readme_store(root: Path, folder: Path) -> RecordStore:
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
    return store


def main() -> int:
    root = Path(__file__).resolve().parent.parent.parent
    readme = root / "README.md"
    with tempfile.TemporaryDirectory() as folder:
        store = readme_store(root, Path(folder) / "results")
        write_text(readme, fill(readme.read_text(), store))
        for file, picture in pictures(store).items():
            write_bytes(root / "docs" / file, picture.to_bytes("svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
