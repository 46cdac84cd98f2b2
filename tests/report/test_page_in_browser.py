"""The report's page in a real browser, headless, and held to the HTML standard by the Nu checker."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from check_page import LEAST_LETTER, LETTERS, OPEN, WIDER
from sample_records import latency_record, make_record
from study_records import IMAGENET, imagenet_pair, runs_of

from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.page import render_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="needs Chromium: make page-tools, or apt-get install chromium"
)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    store = RecordStore(folder / "results")
    store.add(make_record(environment={"device": HOSTILE, "cpu": HOSTILE}, notes=[HOSTILE]))
    for run in imagenet_pair(1.0, 4, environment={"hostile": HOSTILE}):
        store.add(run)
    for label in ("se_resnet101", "aw_se_resnet101"):
        for run in runs_of(IMAGENET, label, [78.3, 78.4, 78.5]):
            store.add(run)
    for variant, ratio in (("resnet50", 1.0), ("aw_resnet50", 1.5), ("se_resnet50", 1.1)):
        store.add(latency_record(variant, (ratio, ratio, ratio), device_name=f"a {'very ' * 30}long name {HOSTILE}"))
    path = folder / "report.html"
    path.write_text(render_page(store.read(), load_references()))
    return path


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])  # CI runs as root
        yield started
        started.close()


@pytest.fixture
def open_page(browser, page_file):
    """Open the page at a width; fails at the end if it complained or asked for anything but itself."""
    opened, complaints = [], []

    def open_at(width: int, fragment: str = "", scheme: str = "light"):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce")
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: opened.append(request.url))
        page.goto(page_file.as_uri() + fragment)
        return page

    yield open_at
    assert complaints == []
    assert {address.partition("#")[0] for address in opened} == {page_file.as_uri()}


@needs_browser
@pytest.mark.parametrize("width", [1280, 375])
def test_it_loads_without_complaint_and_nothing_is_wider_than_the_screen(open_page, width):
    page = open_page(width)
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []
    assert page.evaluate("window.hacked") is None
    assert page.locator("figure svg").count() >= 3


@needs_browser
@pytest.mark.parametrize("width", [1280, 375])
def test_no_letter_is_smaller_than_eleven_pixels_and_each_verdict_is_seen(open_page, width):
    page = open_page(width)
    page.evaluate(OPEN)
    assert page.evaluate(LETTERS, LEAST_LETTER) == []
    headings = page.locator("#table-claims th").all_text_contents()
    for cell in page.locator(f"#table-claims td:nth-child({headings.index('verdict') + 1})").all():
        box = cell.bounding_box()
        assert box["x"] + min(box["width"], 150) <= width, "without scrolling"
    heights = [row.bounding_box()["height"] for row in page.locator("#table-claims tbody tr").all()]
    assert max(heights) < 260, "a column of one word a line"


@needs_browser
def test_a_table_sorts_by_number_both_ways_and_filters(open_page):
    page = open_page(1280)
    table = page.locator("#table-latency")
    table.locator("summary").click()
    place = table.locator("th").all_text_contents().index("ratio to plain") + 1
    ratios = table.locator(f"tbody tr td:nth-child({place})")
    button = table.get_by_role("button", name="ratio to plain", exact=True)
    button.click()
    assert ratios.all_text_contents() == ["1.000", "1.100", "1.500"]
    button.click()
    assert ratios.all_text_contents() == ["1.500", "1.100", "1.000"]
    assert table.locator("th[aria-sort=descending]").count() == 1
    table.get_by_role("searchbox").fill("AW_")
    assert table.locator("tbody tr:visible").count() == 1
    assert table.locator("output").text_content() == "1 of 3 rows"
    table.get_by_role("searchbox").fill("")
    assert table.locator("tbody tr:visible").count() == 3


@needs_browser
def test_a_link_opens_its_table_and_headings_stay_over_their_columns(open_page):
    page = open_page(1280, "#table-accuracy")
    table = page.locator("#table-accuracy")
    assert table.get_attribute("open") is not None
    scroll = table.locator(".scroll")
    scroll.evaluate("(e) => { e.style.width = '600px'; e.scrollTo(200, 100); }")
    heading, first = table.locator("thead th").first, table.locator("tbody tr").nth(6).locator("td").first
    assert heading.bounding_box()["x"] == first.bounding_box()["x"] == scroll.bounding_box()["x"] + 1
    assert heading.evaluate(SEEN), "no other heading slides over it"


# Whether an element is what lies uppermost at its own middle.
SEEN = """(e) => { const box = e.getBoundingClientRect();
  return e.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)); }"""


@needs_browser
def test_verdicts_are_seen_without_scrolling_in_every_table_that_has_them(open_page):
    page = open_page(1280)
    page.evaluate(OPEN)
    headings = page.locator("th.verdict")
    assert headings.count() >= 4
    for heading in headings.all():
        heading.scroll_into_view_if_needed()
        box = heading.bounding_box()
        assert box["x"] + min(box["width"], 150) <= 1280 and heading.evaluate(SEEN)


@needs_browser
def test_a_table_is_downloaded(open_page):
    page = open_page(1280)
    for format, begins in (("csv", "claim,verdict,"), ("json", "[")):
        with page.expect_download() as downloading:
            page.locator(f"#table-claims button[data-format={format}]").click()
        assert downloading.value.suggested_filename == f"awbench-claims.{format}"
        assert Path(downloading.value.path()).read_text().startswith(begins)


@needs_browser
def test_figures_are_as_dark_as_the_page(open_page):
    colours = (
        "(e) => [getComputedStyle(document.body).backgroundColor, ...[...e.querySelectorAll('path[style], text')].map(\
        (part) => getComputedStyle(part).fill)]"
    )
    paper, ground, *fills = open_page(1280, scheme="dark").locator("#figure-claims svg").evaluate(colours)
    assert paper == ground == "rgb(20, 24, 29)"
    assert "rgb(255, 255, 255)" not in fills and len(set(fills)) > 3
    paper, ground, *_ = open_page(1280).locator("#figure-claims svg").evaluate(colours)
    assert paper == ground == "rgb(255, 255, 255)"


@needs_browser
@pytest.mark.parametrize("width", [1280, 375])
def test_a_row_says_where_its_numbers_come_from(open_page, width):
    page = open_page(width)
    row = page.locator("#table-claims tbody tr", has_text="imagenet-r101")
    assert "accuracy record" in row.get_attribute("title")
    row.get_by_role("button").click()
    dialog = page.locator("#origin")
    text = dialog.text_content()
    assert text.count("accuracy of aw_resnet101") == 4 and text.count("accuracy of resnet101") == 4
    assert "78.4 percent" in text and HOSTILE in text
    assert dialog.bounding_box()["width"] <= width
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("window.hacked") is None


@needs_browser
def test_data_of_figures_carry_their_text(open_page):
    page = open_page(1280)
    title = page.locator("#figure-claims svg g[id*='-mark-'] > title", has_text="gain; as claimed; look 2 of 8")
    assert title.count() == 1
    title.locator("..").click()
    assert "gain; as claimed; look 2 of 8" in page.locator("#origin").text_content()
    page.keyboard.press("Escape")
    page.locator("#figure-claims details.data summary").click()
    assert page.locator("#figure-claims details.data li", has_text="as claimed; look").is_visible()


@needs_browser
def test_rows_of_a_claim_with_several_pairs_have_their_source(open_page):
    page = open_page(1280)
    rows = page.locator("#table-claims tbody tr")
    assert rows.count() == 5  # four claims, and a pair that has runs
    for number in range(rows.count()):
        assert "An Attention Module" in rows.nth(number).get_attribute("title")
        assert rows.nth(number).get_by_role("button", name="source of").count() == 1


FITS = "(e) => e.scrollWidth <= e.clientWidth + 1"


@needs_browser
def test_the_table_of_claims_fits_and_says_where_it_does_not(open_page):
    page = open_page(1280)
    table = page.locator("#table-claims")
    assert table.locator(".scroll").evaluate(FITS) and not table.locator(".sideways").is_visible()
    shown = table.locator("th:visible").all_text_contents()
    assert shown[:4] == ["claim", "verdict", "measured (interval)", "claimed"] and "look" not in shown
    table.locator("input.all").check()
    assert table.locator("th", has_text="look").is_visible()
    assert not table.locator(".scroll").evaluate(FITS)
    table.locator(".sideways").wait_for(state="visible")


# Whether a word is broken within: its letters stand on more than one line.
BROKEN = """() => { const range = document.createRange(), found = [];
  for (const cell of document.querySelectorAll("#tables td, #tables th")) {
    if (!cell.getClientRects().length) continue;
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) for (const word of walker.currentNode.data.matchAll(/\\w+/g)) {
      range.setStart(walker.currentNode, word.index);
      range.setEnd(walker.currentNode, word.index + word[0].length);
      if (range.getClientRects().length > 1) found.push(word[0]);
    }
  }
  return found; }"""


@needs_browser
def test_in_print_there_is_what_was_measured_with_its_words_whole(open_page):
    page = open_page(1280)
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#table-accuracy tr.empty").count() > 100
    assert page.locator("#table-latency tbody tr:visible").count() == 3, "opened for print"
    assert not page.locator("tr.empty:visible").count() and not page.get_by_text("Headings sort").is_visible()
    assert page.locator("#table-published-latency .count.print").is_visible()
    assert page.locator("#table-accuracy thead th").first.evaluate("(e) => getComputedStyle(e).position") == "static"
    page.set_viewport_size({"width": 970, "height": 700})  # a landscape page
    assert page.evaluate(BROKEN) == []


@needs_browser
def test_it_prints_every_table(open_page):
    page = open_page(1280)
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#tables > details:not([open], .nothing)").count() == 0
    assert page.locator("#tables > details[open]").count() >= 5
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#tables > details:not([open])").count() > 0


def checker(root: Path) -> Path:
    """The Nu checker's jar: of AWBENCH_VNU, or where `make page-tools` puts it."""
    return Path(os.environ.get("AWBENCH_VNU") or root / ".venv/page-tools/node_modules/vnu-jar/build/dist/vnu.jar")


def test_it_is_valid_html(page_file, root):
    if not checker(root).is_file() or not shutil.which("java"):
        pytest.skip("needs the Nu checker and Java: make page-tools, or AWBENCH_VNU=path of vnu.jar")
    check = ["java", "-jar", str(checker(root))]
    run = subprocess.run([*check, str(page_file)], capture_output=True, text=True)
    assert run.stderr == "" and run.returncode == 0
