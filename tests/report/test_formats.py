from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from awbench.errors import UserError
from awbench.report.formats import EXTENSIONS, FORMATS, render
from awbench.report.table import Column, Table, select

HOSTILE = 'a|b <script>alert("x")</script> 50 % & _under_ $5 #1 {y} \\z ~ ^'


def pairs(rows, first="name", second="number", **options) -> Table:
    """A table of rows with two values each."""
    columns = [Column(first, lambda row: row[0]), Column(second, lambda row: row[1], right=True)]
    return Table("Title", columns, rows, **options)


@pytest.fixture
def table() -> Table:
    number = Column("number", lambda row: row[1], ".3f")
    return Table("Title", [Column("name", lambda row: row[0]), number], [(HOSTILE, 7.57), ("plain", None)], ("a note",))


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
    text = render(pairs([], "first column"), format)
    assert text.strip() == "[]" if format == "json" else "first column" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex (apt-get install texlive-latex-recommended)")
@pytest.mark.parametrize(
    "cell", [HOSTILE, "naïve µ ≥ 模型 \t tab", "\x00\x07", "[option]", "*star", "\\end{table}", "-- --- `` ''", ""]
)
def test_latex_compiles_whatever_the_text(cell, tmp_path):
    table = pairs([(cell, "7.570"), (cell, "")], f"name {cell}", notes=(f"note {cell}",))
    body = render(replace(table, title=f"Title {cell}"), "latex")
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "t.tex").write_text(document)
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True
    )
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-800:]


@pytest.fixture
def numbers() -> Table:
    cells = ["10 GMAC", "9.5", "", "unknown", "-3", "1,000"]
    rows = [(f"n{i}", cell) for i, cell in enumerate(cells)]
    return pairs(rows, second="value", records_of=lambda row: [f"key{row[0][1:]}"])


def test_rows_are_sorted_as_numbers_where_they_are_and_empty_cells_come_last(numbers):
    up, down = select(numbers, sort=["value"]), select(numbers, sort=["value:desc"])
    assert [row[1] for row in up.rows] == ["-3", "9.5", "10 GMAC", "1,000", "unknown", ""]
    assert [row[1] for row in down.rows] == ["unknown", "1,000", "10 GMAC", "9.5", "-3", ""]
    for table in (up, down):  # what belongs to a row goes with it
        assert [row[0] for row in table.rows] == [one["name"] for one in table.objects]
        assert [f"key{row[0][1:]}" for row in table.rows] == [keys[0] for keys in table.origins]


def test_the_first_column_named_is_the_most_important():
    table = pairs([("2", "1"), ("1", "2"), ("1", "1")], "a", "b")
    assert select(table, sort=["a", "b:desc"]).rows == [("1", "2"), ("1", "1"), ("2", "1")]


def test_columns_are_chosen_in_the_order_named_in_every_format(numbers):
    chosen = select(numbers, columns=["value", "name"])
    assert chosen.columns == ("value", "name") and chosen.rows[0] == ("10 GMAC", "n0")
    assert json.loads(render(chosen, "json"))[0] == {"value": "10 GMAC", "name": "n0"}
    assert chosen.alignment == ["right", "left"]


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


FORMULAS = ["=1+2", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", " =1", "\uff1d1", "-HYPERLINK(1)", "+1.0=2"]
NUMBERS = ["-0.5", "+1.00", "+0.63 AP points", "-1,234.5", "-12.5%", "-", "plain", "1=2"]


def test_a_cell_of_csv_is_no_formula_and_a_number_stays_one():
    written = render(pairs([(text, "") for text in FORMULAS + NUMBERS]), "csv")
    found = [row[0] for row in csv.reader(io.StringIO(written))][1:]
    assert found == [f"'{text}" for text in FORMULAS] + NUMBERS


ACTING = "\x1b[31mred\x07 \x9b1m \u202eabc \u200b \ud800"


@pytest.mark.parametrize("format", ["github", "latex", "csv", "html"])
def test_nothing_acts_on_a_terminal(format):
    table = replace(pairs([(ACTING, ACTING)], notes=(ACTING,)), title=ACTING)
    text = render(table, format)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "[31mred" in text.replace("\\textbackslash{}", "")


def test_markdown_has_no_html_and_no_links_of_its_own():
    hostile = "<script>x</script> <img src=y> </td> <!-- a --> <?php [z](javascript:alert(1)) a < b <5"
    text = render(pairs([(hostile, "")], notes=(hostile,)), "github")
    assert not re.search(r"<[A-Za-z/!?]|\]\(", text)
    assert text.count("&lt;script>x&lt;/script>") == 2 and text.count("a < b <5") == 2
