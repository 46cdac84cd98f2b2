"""What was not measured names the command that measures it, or that nothing here can: of every row of every table."""

from __future__ import annotations

import re
import shlex

import pytest

from awbench.cli.main import _parser, main
from awbench.records import Records
from awbench.reference.load import load_references
from awbench.report.tables import TABLES
from awbench.verdicts.complexity import NOT_MEASURED

REFERENCES = load_references()
COMMAND = re.compile(r"'(awbench [^']+)'")


def verdicts(kind, records):
    """Of each row that was not measured, what it says of that, and its cells."""
    for cells in TABLES[kind](records, REFERENCES).rows:
        if found := [cell for cell in cells if cell.startswith(NOT_MEASURED)]:
            yield found[0], cells


@pytest.mark.parametrize("kind", TABLES)
def test_every_row_names_a_command_or_is_for_comparison_only(kind):
    found = [verdict for verdict, _ in verdicts(kind, Records())]
    assert len(found) == len(TABLES[kind](Records(), REFERENCES).rows)
    for verdict in found:
        assert verdict.startswith(("not measured: needs 'awbench ", "not measured: for comparison only: ")), verdict
    for command in {command for verdict in found for command in COMMAND.findall(verdict)}:
        _parser().parse_args(shlex.split(command)[1:])  # exits where it does not parse


def commands_of_counts() -> dict[str, tuple[str, ...]]:
    """Of the table of published counts: options of a command -> the row of the smallest network that names it."""
    found: dict[str, tuple[str, ...]] = {}
    for verdict, cells in verdicts("complexity", Records()):
        for command in COMMAND.findall(verdict):
            _, _, variant, *options = shlex.split(command)
            key = f"{'faster_rcnn' in variant} {options}"
            if "detectron2" not in key:
                found[key] = min(found.get(key, cells), cells, key=lambda row: (len(row[0]), row[0]))
    return found


def test_the_command_that_a_row_of_counts_names_measures_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = list(commands_of_counts().values())
    assert len(rows) >= 8
    for row in rows:
        (command,) = (command for cell in row for command in COMMAND.findall(cell))
        assert main([*shlex.split(command)[1:]]) == 0
    unmeasured = [cells for _, cells in verdicts("complexity", Records.read(tmp_path / "results"))]
    assert [row for row in rows if row in unmeasured] == []
