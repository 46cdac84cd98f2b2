"""The README's table and picture, made from records: `python -m awbench.cli.readme` writes them.

A test makes them again and fails when the committed ones differ.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from awbench.recording import record_complexity
from awbench.records import RecordStore
from awbench.records.atomic import write_bytes, write_text
from awbench.reference.load import load_references
from awbench.report.figures.complexity import complexity_picture
from awbench.report.formats import Table, render
from awbench.report.tables import TABLES
from awbench.variants import STRIDE_PLACEMENTS, ModelOptions, list_variants

# A table's kind, the variants wanted (a regular expression), and the columns wanted.
_BLOCK = re.compile(r"(<!-- table: (\w+) (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURE = "docs/complexity.svg"


def fill(readme: str, store: RecordStore) -> str:
    """The README with every `<!-- table: KIND VARIANTS COLUMNS -->` block made again."""
    references = load_references()

    def block(match: re.Match[str]) -> str:
        start, kind, variants, columns, end = match.groups()
        table = TABLES[kind](store, references)
        places = [table.columns.index(column) for column in columns.split(",")]
        rows = [tuple(row[place] for place in places) for row in table.rows if re.fullmatch(variants, row[0])]
        shown = Table(table.title, tuple(columns.split(",")), rows, [], table.notes, table.right_aligned)
        body = render(shown, "github")
        return f"{start}{body}{end}"

    return _BLOCK.sub(block, readme)


def record_imagenet_grid(store: RecordStore) -> None:
    """The records that the README's table and picture are made from."""
    for placement in STRIDE_PLACEMENTS:
        for variant in list_variants("classification"):
            if variant.architecture.family == "imagenet":
                record_complexity(store, variant, ModelOptions(stride_placement=placement))


def main() -> int:
    root = Path(__file__).resolve().parent.parent.parent
    readme = root / "README.md"
    with tempfile.TemporaryDirectory() as folder:
        store = RecordStore(Path(folder))
        record_imagenet_grid(store)
        write_text(readme, fill(readme.read_text(), store))
        picture = complexity_picture(store)
        assert picture is not None, "its records were just made"
        write_bytes(root / FIGURE, picture.to_bytes("svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
