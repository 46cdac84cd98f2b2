from __future__ import annotations

import csv
import html.parser
import io
import json
import shutil
import subprocess

import pytest

from awbench.errors import UserError
from awbench.report.formats import EXTENSIONS, FORMATS, Table, render, select

HOSTILE = 'a|b <script>alert("x")</script> 50 % & _under_ $5 #1 {y} \\z ~ ^'


@pytest.fixture
def table() -> Table:
    return Table(
        title="Title",
        columns=("name", "number"),
        rows=[(HOSTILE, "7.570"), ("plain", "")],
        objects=[{"name": HOSTILE, "number": 7.57}, {"name": "plain", "number": None}],
        notes=("a note",),
        right_aligned=frozenset({"number"}),
    )


def test_every_format_has_an_extension():
    assert set(FORMATS) == set(EXTENSIONS)


def test_github_keeps_columns_and_printed_digits(table):
    lines = render(table, "github").splitlines()
    assert all(line.replace("\\|", "").count("|") == 3 for line in lines[:4])
    assert "7.570" in lines[2]
    assert lines[1].endswith(":|")  # numbers to the right
    assert "- a note" in lines


def test_csv_comes_back(table):
    assert list(csv.reader(io.StringIO(render(table, "csv")))) == [
        ["name", "number"],
        [HOSTILE, "7.570"],
        ["plain", ""],
    ]


def test_json_is_the_objects(table):
    assert json.loads(render(table, "json")) == table.objects


def test_html_escapes(table):
    class Cells(html.parser.HTMLParser):
        tags: set[str] = set()
        text = ""

        def handle_starttag(self, tag, attributes):
            self.tags.add(tag)

        def handle_data(self, data):
            self.text += data

    cells = Cells()
    cells.feed(render(table, "html"))
    assert "script" not in cells.tags
    assert HOSTILE in cells.text


def test_latex_escapes(table):
    latex = render(table, "latex")
    assert "\\toprule" in latex
    body = next(line for line in latex.splitlines() if "alert" in line)
    for character in "%&_$#{}":
        unescaped = body.replace("\\" + character, "").removesuffix("\\\\")
        if character == "&":
            assert unescaped.count("&") == 1  # the column separator
        elif character not in "{}":
            assert character not in unescaped


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_table_is_still_a_table(format):
    text = render(Table("Title", ("first column", "b"), [], []), format)
    assert text.strip() == "[]" if format == "json" else "first column" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex (apt-get install texlive-latex-recommended)")
@pytest.mark.parametrize(
    "cell", [HOSTILE, "naïve µ ≥ 模型 \t tab", "\x00\x07", "[option]", "*star", "\\end{table}", "-- --- `` ''", ""]
)
def test_latex_compiles_whatever_the_text(cell, tmp_path):
    table = Table(f"Title {cell}", (f"name {cell}", "number"), [(cell, "7.570"), (cell, "")], [], (f"note {cell}",))
    body = render(table, "latex")
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "t.tex").write_text(document)
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True
    )
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-800:]


@pytest.fixture
def numbers() -> Table:
    cells = ["10 GMAC", "9.5", "", "unknown", "-3", "1,000"]
    return Table(
        "Numbers",
        ("name", "value"),
        [(f"n{i}", cell) for i, cell in enumerate(cells)],
        [{"name": f"n{i}"} for i in range(len(cells))],
        right_aligned=frozenset({"value"}),
        origins=[(f"key{i}",) for i in range(len(cells))],
    )


def test_rows_are_sorted_as_numbers_where_they_are_and_empty_cells_come_last(numbers):
    up, down = select(numbers, sort=["value"]), select(numbers, sort=["value:desc"])
    assert [row[1] for row in up.rows] == ["-3", "9.5", "10 GMAC", "1,000", "unknown", ""]
    assert [row[1] for row in down.rows] == ["unknown", "1,000", "10 GMAC", "9.5", "-3", ""]
    for table in (up, down):  # what belongs to a row goes with it
        assert [row[0] for row in table.rows] == [one["name"] for one in table.objects]
        assert [f"key{row[0][1:]}" for row in table.rows] == [keys[0] for keys in table.origins]


def test_the_first_column_named_is_the_most_important():
    table = Table("t", ("a", "b"), [("2", "1"), ("1", "2"), ("1", "1")], [])
    assert select(table, sort=["a", "b:desc"]).rows == [("1", "2"), ("1", "1"), ("2", "1")]


def test_columns_are_chosen_in_the_order_named_in_every_format(numbers):
    chosen = select(numbers, columns=["value", "name"])
    assert chosen.columns == ("value", "name") and chosen.rows[0] == ("10 GMAC", "n0")
    assert json.loads(render(chosen, "json"))[0] == {"value": "10 GMAC", "name": "n0"}
    assert select(numbers, columns=["name"]).right_aligned == frozenset()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["nam"]}, "column 'nam' does not exist; did you mean name? Columns: name, value."),
        ({"sort": ["size"]}, "column 'size' does not exist"),
        ({"sort": ["name:up"]}, "sort order 'name:up' is not known"),
    ],
)
def test_a_column_that_does_not_exist_is_named_with_those_that_do(arguments, message, numbers):
    with pytest.raises(UserError) as error:
        select(numbers, **arguments)
    assert message in str(error.value)


def test_a_table_as_a_dataframe(table):
    pandas = pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert list(frame.columns) == ["name", "number"] and frame["name"][0] == HOSTILE
    assert frame["number"][0] == 7.57 and pandas.isna(frame["number"][1])
