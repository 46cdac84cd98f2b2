from __future__ import annotations

import csv
import html.parser
import io
import json

import pytest

from awbench.report.formats import EXTENSIONS, FORMATS, Table, render

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
