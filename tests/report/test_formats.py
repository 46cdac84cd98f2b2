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
from awbench.report.table import Column, Table, Unmeasured, ends, in_units, select
from awbench.report.terminal import to_text

PREAMBLE = "\\documentclass{article}\\usepackage{array,booktabs,graphicx,longtable}"
HOSTILE = 'a|b <script>alert("x")</script> 50 % & _under_ $5 #1 {y} \\z ~ ^'


def pairs(rows, first="name", second="number", **options) -> Table:
    """A table of rows with two values each."""
    columns = [Column(first, lambda row: row[0]), Column(second, lambda row: row[1], right=True)]
    return Table("Title", columns, rows, **options)


@pytest.fixture
def table() -> Table:
    number = Column("number", lambda row: row[1], ".3f")
    return Table("Title", [Column("name", lambda row: row[0]), number], [(HOSTILE, 7.57), ("plain", None)], ("a note",))


def test_every_format_of_a_file_has_an_extension():
    assert set(FORMATS) == {"text", *EXTENSIONS}


def test_github_keeps_columns_and_printed_digits(table):
    lines = render(table, "github").splitlines()
    assert all(line.replace("\\|", "").count("|") == 3 for line in lines[:4])
    assert "7.570" in lines[2]
    assert lines[1].endswith(":|")  # numbers to the right
    assert "- a note" in lines


def test_csv_comes_back_and_numbers_are_exact(table):
    assert list(csv.reader(io.StringIO(render(table, "csv")))) == [
        ["name", "number"],
        [HOSTILE, "7.57"],
        ["plain", ""],
    ]


def test_csv_is_numeric_whatever_the_cells_show():
    """A thousands separator, a unit, an interval and what an unmeasured row needs are no numbers to pandas."""
    pandas = pytest.importorskip("pandas")
    interval = Column(
        "interval",
        lambda row: row[2],
        lambda ends: " to ".join(map(str, ends)),
        parts=ends("interval", lambda row: row[2]),
    )
    fields = [
        Column("name", lambda row: row[0]),
        Column("params", lambda row: row[1], ","),
        Column(
            "memory (MiB)",
            lambda row: row[1],
            lambda n: f"{n / 2**20:.1f}",
            right=True,
            parts=in_units("memory (MiB)", lambda row: row[1], 2**20),
        ),
        interval,
    ]
    rows = [("a", 2**21, [1.5, 2.5]), ("b", 2**20, None), Unmeasured({"name": "c", "params": "needs counting"}, {})]
    frame = pandas.read_csv(io.StringIO(render(Table("t", fields, rows), "csv")))
    assert list(frame.columns) == ["name", "params", "memory (MiB)", "interval low", "interval high", "needs"]
    numbers = frame.drop(columns=["name", "needs"])
    assert all(kind.kind in "if" for kind in numbers.dtypes)
    assert numbers.iloc[0].tolist() == [2**21, 2.0, 1.5, 2.5] and numbers.iloc[1:, 2:].isna().all(axis=None)
    assert frame["needs"].tolist()[2] == "needs counting"


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
    document = f"{PREAMBLE}\\begin{{document}}{body}\\end{{document}}"
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
    assert [row[1] for row in down.rows] == ["1,000", "10 GMAC", "9.5", "-3", "unknown", ""]
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
        ({"columns": ["nome"]}, "column 'nome' does not exist; did you mean name? Columns: name, value."),
        ({"sort": ["size"]}, "column 'size' does not exist"),
        ({"sort": ["name:up"]}, "sort order 'name:up' is not known"),
    ],
)
def test_a_column_that_does_not_exist_is_named_with_those_that_do(arguments, message, numbers):
    with pytest.raises(UserError) as error:
        select(numbers, **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("Params", "params"), ("par", "params"), ("gmacs", "GMACs (v1.5)"), ("GM", "GMACs (v1.5)"),
        ("GMACs (v1)", "GMACs (v1)"), ("gmacs (V1)", "GMACs (v1)"), ("difference", "difference (interval)"),
        ("over", "over"), ("overs", "overseen"), ("kernel mod", "kernel modulation (M)"),
    ],
)  # fmt: skip
def test_the_beginning_of_a_columns_name_will_do(given, found):
    names = ["variant", "params", "GMACs (v1.5)", "GMACs (v1)", "difference (interval)", "differences", "over"]
    names += ["overseen", "kernel modulation (M)", "kernel size"]
    fields = [Column(name, lambda row: row) for name in names]
    table = Table("Title", fields, ["a", "b"])
    assert select(table, [given]).columns == (found,)
    assert select(table, sort=[f"{given}:desc"], where=[(given, "a")]).rows == [("a",) * len(fields)]
    with pytest.raises(UserError, match=r"may be any of: kernel modulation \(M\), kernel size; give more"):
        select(table, ["kern"])
    with pytest.raises(UserError, match="does not exist"):
        select(table, [""])


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


@pytest.mark.parametrize("format", ["text", "github", "latex", "csv", "html"])
def test_nothing_acts_on_a_terminal(format):
    table = replace(pairs([(ACTING, ACTING)], notes=(ACTING,)), title=ACTING)
    text = render(table, format)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "[31mred" in text.replace("\\textbackslash{}", "").replace("{[}", "[")


def test_markdown_has_no_html_and_no_links_of_its_own():
    hostile = "<script>x</script> <img src=y> </td> <!-- a --> <?php [z](javascript:alert(1)) a < b <5"
    text = render(pairs([(hostile, "")], notes=(hostile, "[z]: javascript:alert(1)")), "github")
    assert not re.search(r"<[A-Za-z/!?]|\]\(|\]:", text)
    assert text.count("&lt;script>x&lt;/script>") == 2 and text.count("a < b <5") == 2


def test_notebooks_show_a_table_as_html(table):
    assert table._repr_html_() == render(table, "html") and "<table>" in table._repr_html_()


def test_without_notes_there_are_none(table):
    for format in ("text", "github", "latex", "html"):
        assert "a note" in render(table, format) and "a note" not in render(table, format, notes=False)


def networks(*accuracies) -> Table:
    number = Column("top-1", lambda row: row[1], ".1f", best_among=lambda row: row[2])
    return Table("Accuracy", [Column("variant", lambda row: row[0]), number], accuracies)


def test_latex_has_label_caption_papers_names_and_the_best_in_bold():
    table = networks(("aw_se_resnet50", 77.5, "a"), ("resnet50", 76.1, "a"), ("faster_rcnn_aw_resnet50_fpn", 38.0, "b"))
    latex = render(table, "latex")
    for wanted in (
        "\\caption{Accuracy.}", "\\label{tab:accuracy}", "AW-SE-ResNet-50 & \\textbf{77.5}", "ResNet-50 & 76.1",
        "Faster R-CNN AW-ResNet-50-FPN & 38.0",  # alone among its like it is not the best of anything
    ):  # fmt: skip
        assert wanted in latex


def test_latex_of_chosen_columns_says_what_all_rows_share_and_what_is_bold():
    named = [
        Column(name, lambda row, place=place: row[place]) for place, name in enumerate(("variant", "data", "over"))
    ]
    mean = Column("mean", lambda row: row[3], ".1f", best_among=lambda row: row[1])
    rows = [("se_resnet50", "imagenet", "resnet50", 77.5), ("aw_resnet50", "imagenet", "resnet50", 76.1)]
    whole = Table("Runs", [*named, mean], rows, notes=("a note",))
    chosen = select(whole, ["variant", "mean"])
    assert "\\caption{Runs. In every row: data imagenet; over ResNet-50.}" in render(chosen, "latex")
    assert "In every row" not in render(chosen, "text") and "imagenet" not in render(chosen, "github")
    assert "\\caption{Runs.}" in render(select(whole, list(whole.columns)), "latex"), "chosen, they are columns"
    bold = "Bold: the best of its column"
    assert bold in render(chosen, "latex") and bold not in render(chosen, "latex", notes=False)
    assert bold not in render(select(whole, ["variant", "data"]), "latex")


def test_a_table_of_more_than_a_page_breaks_over_pages():
    assert "longtable" in render(networks(*[("resnet50", 76.1, "a")] * 60), "latex")


def test_text_fits_and_says_what_it_left_out():
    long = "a word " * 20
    fields = [Column("variant", lambda row: row[0]), Column("note", lambda row: row[1], detail=True)]
    fields += [Column(f"n{i}", lambda row: 1234.5678, ".4f") for i in range(8)] + [
        Column("verdict", lambda row: row[2])
    ]
    text = to_text(Table("Title", fields, [("resnet50", long, "gain"), ("aw_resnet50", "", "loss")]), 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "- In every row: n0 1234.5678; " in text and "Not shown" not in text and text.count("a word") > 10
    fields[2:-1] = [Column(f"n{i}", lambda row: len(row[0]) * 1234.5678, ".4f") for i in range(8)]
    text = to_text(Table("Title", fields, [("resnet50", long, "gain"), ("aw_resnet50", "", "loss")]), 100)
    assert max(map(len, text.splitlines())) <= 100 and "a word" not in text
    assert "- Not shown, for want of room: note, n6, n7; a wider terminal shows more." in " ".join(text.split())
    assert "verdict" in text  # the last column stays


def test_what_alone_tells_rows_apart_stays_where_another_detail_will_do():
    rows = [("resnet50", "a1", "torchvision"), ("resnet50", "a1", "detectron2"), ("aw_resnet50", "b2", "torchvision")]
    fields = [Column("variant", lambda row: row[0])]
    fields += [Column(name, lambda row, i=i: row[i], detail=True) for i, name in ((1, "code"), (2, "engine"))]
    table = Table("t", [*fields, Column("a number", lambda row: 1.0 * len(row[0]), ".4f")], rows)
    for width, left_out in ((36, "code"), (24, "code, engine")):
        assert f"Not shown, for want of room: {left_out};" in " ".join(to_text(table, width).split())


def test_words_of_several_lines_are_not_said_again_in_the_next_row():
    devices = ["one long device", "one long device", "another device!", "one long device"]
    rows = list(zip("abcd", devices, ["a long verdict"] * 4, [1.0, 2.0, 1.0, 1.0], strict=True))
    fields = [Column(name, lambda row, i=i: row[i]) for i, name in enumerate(("name", "device", "verdict"))]
    table = Table("t", [*fields, Column("number", lambda row: row[3], ".1f")], rows)
    lines = [line.split() for line in to_text(table, 30).splitlines() if line[:2] in ("a ", "b ", "c ", "d ")]
    assert [words[1] for words in lines] == ["one", '"', "another", "one"]
    assert all("a" in words[2:] for words in lines)  # a verdict is said in every row
    assert '"' not in to_text(table, 100)  # nor what fits on a line


def test_what_many_rows_need_is_said_once_below():
    needs = "not measured: needs 'awbench complexity {} --cross-check'"
    rows = [(name, needs.format(name)) for name in ("resnet50", "aw_resnet50")]
    text = to_text(Table("t", [Column("variant", lambda row: row[0]), Column("verdict", lambda row: row[1])], rows))
    assert text.count("not measured [1]") == 2 and text.count("needs 'awbench complexity NAME --cross-check'") == 1


def test_verdicts_have_colours_where_they_are_wanted():
    rows = [("a", "gain; as claimed"), ("b", "loss"), ("gain", "undecided"), ("d", "not measured")]
    table = pairs(rows, second="verdict")
    text = to_text(table, 80, colour=True)
    for cell, code in (("gain; as claimed", 32), ("loss", 31), ("undecided", 33), ("not measured", 2)):
        assert re.search(rf"\x1b\[{code}m *{cell} *\x1b\[0m", text)
    assert "\x1b[32mgain\x1b" not in text  # a name is no verdict
    assert "\x1b" not in to_text(table, 80)
