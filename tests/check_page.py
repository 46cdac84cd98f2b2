"""Hold the report's page against what is promised of it, in headless Chromium: `make check-page`.

Each page is opened at 1280 and 375 pixels, light and dark, its tables open: no console message, no request but itself,
nothing wider than the screen, no letter below 11 pixels, nothing that axe-core finds. The Nu checker reads each file.
Pictures and the printed page lie in the output folder afterwards. Sizes and times to interactive are printed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import many_records
from page_records import write_page

from awbench.cli.readme import readme_records
from awbench.records import Records, RecordStore
from awbench.reference.load import load_references
from awbench.report.page import render_page

ROOT = Path(__file__).resolve().parent.parent
WIDTHS, SCHEMES = (1280, 375), ("light", "dark")
MOST_SECONDS = 2.0  # to interactive
LEAST_LETTER = 11  # pixels
# Elements with text of their own, and its size on the screen: what a figure's letters are scaled to, turned or not.
LETTERS = """(least) => Array.from(document.querySelectorAll("body *"))
  .filter((e) => Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length)
  .filter((e) => !["SCRIPT", "STYLE", "title"].includes(e.tagName))
  .map((e) => [e, e.getScreenCTM ? e.getScreenCTM() : {a: 1, b: 0}])
  .map(([e, ctm]) => [parseFloat(getComputedStyle(e).fontSize) * Math.hypot(ctm.a, ctm.b), e.textContent])
  .filter(([size]) => size < least)"""
WIDER = """() => Array.from(document.querySelectorAll("body *"))
  .filter((e) => e.getClientRects().length && !e.closest(".scroll *, .hidden"))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5)
  .map((e) => `${e.tagName} ${e.className.baseVal ?? e.className} ${e.textContent.slice(0, 40)}`)"""
OPEN = "() => document.querySelectorAll('details').forEach((details) => { details.open = true; })"
WATCH_TASKS = """window.tasks = []; new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.tasks.push(task.startTime + task.duration);
}).observe({type: "longtask", buffered: true});"""
# Loaded, and no task of 50 ms or more after it.
INTERACTIVE = "() => Math.max(performance.getEntriesByType('navigation')[0].loadEventEnd, ...window.tasks)"
AXE = """async () => (await axe.run({resultTypes: ["violations"]})).violations.flatMap((found) =>
  found.nodes.map((node) => `${found.id}: ${found.help}: ${node.target.join(" ")}`))"""


@dataclass(frozen=True)
class View:
    """A page as it was opened."""

    page: Path
    width: int
    scheme: str

    @property
    def name(self) -> str:
        return f"{self.page.stem}-{self.width}-{self.scheme}"


def made_pages(folder: Path) -> list[Path]:
    """The pages of a machine without records, of docs/records, of 5,000 made-up records, of a claim in dispute."""

    def documents() -> Records:
        return readme_records(ROOT, folder / "documents")

    def many() -> Records:
        many_records.write(folder / "many", many_records.many_records(5000))
        return RecordStore(folder / "many").read()

    pages = []
    for name, records in (("fresh", Records), ("documents", documents), ("many", many)):
        shutil.rmtree(folder / name, ignore_errors=True)
        page = folder / f"{name}.html"
        page.write_text(render_page(records(), load_references()))
        pages.append(page)
    return [*pages, write_page(folder, "left-aside-beside-evidence")]


def check_view(browser: Any, view: View, axe: str, output: Path) -> Iterator[str]:
    """What is wrong with a page at a width in a colour scheme; pictures of its first screen and of all of it."""
    page = browser.new_page(
        viewport={"width": view.width, "height": 900}, color_scheme=view.scheme, reduced_motion="reduce"
    )
    messages: list[str] = []
    page.on("console", lambda message: messages.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: messages.append(f"error: {error}"))
    page.on("request", lambda request: messages.append(f"request: {request.url}"))
    page.goto(view.page.resolve().as_uri())
    page.screenshot(path=str(output / f"{view.name}.png"))
    messages.remove(f"request: {view.page.resolve().as_uri()}")
    page.screenshot(path=str(output / f"{view.name}-all.png"), full_page=True)
    page.evaluate(OPEN)
    yield from messages
    yield from (f"wider than the screen: {what}" for what in page.evaluate(WIDER)[:5])
    yield from (f"letters of {size:.1f} pixels: {text[:40]}" for size, text in page.evaluate(LETTERS, LEAST_LETTER)[:5])
    if axe:
        page.evaluate(axe)
        yield from page.evaluate(AXE)
    page.close()


def seconds_to_interactive(browser: Any, page_file: Path) -> float:
    """The least of three: what else runs on the machine only adds."""
    times = []
    for _ in range(3):
        page = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
        page.add_init_script(WATCH_TASKS)
        page.goto(page_file.resolve().as_uri())
        page.wait_for_timeout(1000)
        times.append(page.evaluate(INTERACTIVE) / 1000)
        page.close()
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="instead of the three pages that it makes")
    parser.add_argument("--output", type=Path, required=True, help="folder for pages and pictures")
    parser.add_argument("--axe", type=Path, required=True, help="axe.min.js of the npm package axe-core")
    parser.add_argument("--vnu", type=Path, required=True, help="vnu.jar of the npm package vnu-jar")
    given = parser.parse_args()
    browser_file = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    missing = [str(path) for path in (given.axe, given.vnu) if not path.is_file()]
    missing += [] if browser_file else ["chromium"]
    missing += [] if shutil.which("java") else ["java"]
    if missing:
        print(f"check-page needs {', '.join(missing)}: make page-tools", file=sys.stderr)
        return 2
    from playwright.sync_api import sync_playwright

    given.output.mkdir(parents=True, exist_ok=True)
    pages, problems = given.pages or made_pages(given.output), 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_file, args=["--no-sandbox"])
        for page in pages:
            seconds = seconds_to_interactive(browser, page)
            found = [] if seconds <= MOST_SECONDS else [f"interactive after more than {MOST_SECONDS:g} s"]
            for view in (View(page, width, scheme) for width in WIDTHS for scheme in SCHEMES):
                found += [
                    f"{view.name}: {problem}"
                    for problem in check_view(browser, view, given.axe.read_text(), given.output)
                ]
            checked = subprocess.run(["java", "-jar", str(given.vnu), str(page)], capture_output=True, text=True)
            found += checked.stderr.splitlines()
            size = f"{page.stat().st_size / 1e6:.2f} MB"
            print(f"{page.name}: {size}, interactive after {seconds:.2f} s, {len(found)} problems")
            print("".join(f"  {problem}\n" for problem in found), end="")
            problems += len(found)
        browser.close()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
