from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys

import pytest
from sample_records import add_top1, latency_record, make_record

from awbench.cli.table import _FORMATS, _KINDS
from awbench.experiments.measurements import record_complexity
from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.formats import FORMATS, render
from awbench.report.layout import JUDGING, fit
from awbench.report.tables import TABLES
from awbench.report.terminal import to_text
from awbench.variants import ModelOptions, parse_variant


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path)


def test_the_command_knows_every_table_and_format():
    """They are written out there so that --help does not import the tables."""
    assert (tuple(TABLES), tuple(FORMATS)) == (tuple(_KINDS), _FORMATS)


@pytest.mark.parametrize("kind", TABLES)
def test_without_records_every_row_says_what_it_needs_and_no_cell_is_invented(kind, store):
    table = TABLES[kind](store.read(), load_references())
    assert table.rows
    for row, shown in zip(table.objects, table.rows, strict=True):
        text = str(row.get("verdict") or row.get("measured") or row.get("needs"))
        unmeasured = ("not measured: ", "for comparison only")
        assert text.startswith(unmeasured), row
        assert any(cell.startswith(unmeasured) for cell in shown)


def test_claims_are_the_papers_four(store):
    table = TABLES["claims"](store.read(), load_references())
    assert [row["claimed_difference"] for row in table.objects] == [1.00, 0.57, 0.63, 0.45]
    assert [row["relation"] for row in table.objects] == ["equal", "up_to", "equal", "up_to"]


def test_a_record_appears_in_the_complexity_table(store):
    store.add(make_record())
    rows = TABLES["complexity"](store.read(), load_references()).objects
    (row,) = [r for r in rows if (r["variant"], r["metric"], r["source"]) == ("resnet50", "macs", "torchvision")]
    assert row["verdict"] == "matches all published digits"
    assert (row["published_as_printed"], row["measured"]) == ("4.089", 4_089_184_256)


def test_measured_numbers_show_three_digits_more_than_were_printed(store):
    store.add(make_record())
    table = TABLES["complexity"](store.read(), load_references())
    row = next(r for r in table.rows if r[:3] == ("resnet50", "macs", "torchvision"))
    shown = dict(zip(table.columns, row, strict=True))
    assert (shown["published"], shown["measured"], shown["difference"]) == ("4.089 GMAC", "4.089184 GMAC", "+0.000184")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex (apt-get install texlive-latex-recommended)")
def test_every_table_compiles_as_latex_and_fits_the_text_of_an_article(store, tmp_path):
    fill(store)
    tables = "\n\\clearpage\n".join(render(make(store.read(), load_references()), "latex") for make in TABLES.values())
    packages = "\\usepackage{array,booktabs,graphicx,longtable}"
    (tmp_path / "t.tex").write_text(f"\\documentclass{{article}}{packages}\\begin{{document}}{tables}\\end{{document}}")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True
    )
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-800:]
    log = (tmp_path / "t.log").read_text(errors="replace")
    assert not re.findall(r"Overfull.*|.*Float too large.*", log)


def fill(store: RecordStore) -> None:
    """Something of every kind."""
    store.add(make_record())
    add_top1(store, "resnet101", 77.3, 77.4, 77.5)
    add_top1(store, "aw_resnet101", 78.3, 78.4, 78.5)
    store.add(latency_record("resnet50", (1.0, 1.0, 1.0)))


@pytest.mark.parametrize("kind", TABLES)
def test_every_table_fits_a_terminal_of_100_columns_with_its_verdicts(kind, store):
    fill(store)
    table = TABLES[kind](store.read(), load_references())
    text = to_text(table, 100)
    assert max(map(len, text.splitlines())) <= 100
    heading = next(line for line in text.splitlines() if line.startswith(table.columns[0].split()[0]))
    judging = [
        name for name in table.columns if name in JUDGING and any(row[table.columns.index(name)] for row in table.rows)
    ]
    assert all(name in heading for name in judging)
    assert [row[0] for row in fit(table, 100).rows] == [row[0] for row in table.rows]


@pytest.mark.parametrize("kind", TABLES)
def test_csv_of_every_table_has_numeric_columns_for_pandas(kind, store):
    """A column that shows numbers is one of text for pandas only if no row has any."""
    pandas = pytest.importorskip("pandas")
    fill(store)
    table = TABLES[kind](store.read(), load_references())
    frame = pandas.read_csv(io.StringIO(render(table, "csv")))
    assert len(frame) == len(table.rows)
    for column in table.shown:
        for name in column.flat if column.side == "right" or len(column.flat) > 2 else ():
            values = frame[name].dropna()
            if name not in ("unit", "measured on") and len(values):
                assert values.dtype.kind in "if", (name, values.iloc[0])


@pytest.mark.parametrize("command", [("table", "claims"), ("table", "latency"), ("plan",)])
def test_reading_records_loads_neither_torch_nor_matplotlib(command, store, tmp_path):
    store.add(make_record())
    store.add(latency_record("resnet50", (1.0, 1.0, 1.0)))
    call = f"from awbench.cli.main import main; main([*{command!r}, '--results', {str(tmp_path)!r}])"
    probe = f"import sys; {call}; sys.exit(','.join({{'torch', 'matplotlib'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert run.stderr.strip() == ""


def test_the_grid_shows_what_was_counted_and_what_counts_the_rest(tmp_path):
    store = RecordStore(tmp_path)
    for name, placement in (("resnet50", "v1.5"), ("aw_resnet50", "v1"), ("resnet18", "v1.5")):
        record_complexity(store, parse_variant(name), ModelOptions(stride_placement=placement))
    table = TABLES["grid"](store.read(), load_references())
    cells = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    plain, aw, basic = (cells[name] for name in ("resnet50", "aw_resnet50", "resnet18"))
    assert (plain["params"], plain["GMACs (v1.5)"], plain["GMACs (v1)"]) == ("25,557,032", "4.0892", "not counted")
    assert (aw["params"], aw["GMACs (v1.5)"], aw["GMACs (v1)"]) == ("25,722,240", "not counted", "3.8594")
    assert (aw["elementwise (M)"], aw["activations (M)"]) == ("", "not counted")
    assert basic["GMACs (v1)"] == basic["GMACs (v1.5)"] == "1.8141", "the stride of a basic block has no other place"
    assert cells["se_resnet50"]["params"].startswith("not measured: needs")
    assert [note for note in table.notes if note.startswith("Not counted")] == [
        "Not counted: needs 'awbench complexity NAME --stride-placement v1'.",
        "Not counted: needs 'awbench complexity NAME --stride-placement v1.5'.",
    ]
    objects = {row["variant"]: row for row in table.objects}
    assert objects["resnet50"]["macs"] == {"v1.5": 4_089_184_256} and "elementwise" not in objects["aw_resnet50"]
