from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import awbench
from awbench.cli.api import api_page
from awbench.cli.readme import DOCUMENTS, EXAMPLES, FIGURES, figures, fill, fill_examples, readme_records
from awbench.variants import list_variants


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = Path(__file__).resolve().parent.parent
    return readme_records(root, tmp_path_factory.mktemp("readme") / "results")


def test_tables_are_what_the_command_makes(root, store):
    texts = [(root / document).read_text() for document in DOCUMENTS]
    assert list(DOCUMENTS) == ["README.md", "docs/results.md", "docs/method.md"]
    for kind in ("studies", "claims", "complexity", "proxy", "latency"):
        assert f"<!-- table: {kind} " in "".join(texts)
    for text, folder in zip(texts, DOCUMENTS.values(), strict=True):
        assert text == fill(text, store, folder), "run `make readme`"
    assert re.search(r"\*\*(\d+) of (\d+) published counts match to their last digit", texts[1])


def test_the_examples_table_is_what_the_command_makes(root, tmp_path):
    text = (root / EXAMPLES).read_text()
    assert "<!-- table: studies " in text and "\n| odconv_resnet20 " in text
    made, figure = fill_examples(root, tmp_path / "results")
    assert text == made, "run `make readme`"
    committed = (root / "examples/modules-side-by-side.svg").read_bytes()
    assert texts(committed) == list(figure.data.values()) != [], "run `make readme`"


def test_the_page_of_names_is_what_the_docstrings_say(root):
    page = (root / "docs/api.md").read_text()
    assert page == api_page(), "run `make readme`"
    for name in awbench.__all__:
        assert f"\n### {name}\n" in page
    assert " at 0x" not in page


def texts(svg: bytes) -> list[str]:
    """The text of each datum: every number of the figure, free of fonts and layout."""
    title = "{http://www.w3.org/2000/svg}title"
    return [str(element.text) for element in ElementTree.fromstring(svg).iter(title)]


def bar_heights(svg: bytes) -> list[float]:
    """Heights of the bars, each quantity's relative to its tallest."""
    paths = re.findall(rb'<path d="([^"]+)"\s+clip-path', svg)
    settings = {variant.setting for variant in list_variants("classification")} - {"plain"}
    assert len(paths) == 3 * len(settings) * 5, "parameters, multiply-accumulates, elementwise; five depths"
    heights = []
    for path in paths:
        ys = [float(y) for y in re.findall(rb"[ML] \S+ (\S+)", path)]
        heights.append(max(ys) - min(ys))
    third = len(heights) // 3
    quantities = (heights[:third], heights[third : 2 * third], heights[2 * third :])
    return [height / max(quantity) for quantity in quantities for height in quantity]


def test_figures_are_what_the_command_makes(root, store):
    made = figures(store)
    assert set(made) == set(FIGURES.values())
    for file, figure in made.items():
        committed = (root / "docs" / file).read_bytes()
        assert texts(committed) == list(figure.data.values()) != [], f"docs/{file}: run `make readme`"
        shown = (root / "README.md").read_text() + (root / "docs/results.md").read_text().replace("](", "](docs/")
        assert f"](docs/{file})" in shown
    bars = [(root / "docs/complexity.svg").read_bytes(), made["complexity.svg"].to_bytes("svg")]
    assert bar_heights(bars[0]) == pytest.approx(bar_heights(bars[1]), abs=2e-3), "run `make readme`"


def documents(root: Path) -> dict[Path, str]:
    paths = [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")]
    return {path: path.read_text().replace("\\\n", " ") for path in paths}  # continued lines


def test_every_make_target_that_is_named_exists(root):
    makefile = (root / "Makefile").read_text()
    for path, text in documents(root).items():
        for target in re.findall(r"(?:`|^ *)make ([a-z][a-z0-9-]*)", text, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{path.name}: make {target}"


def test_every_link_leads_to_a_file(root):
    for path, text in documents(root).items():
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_readme_is_short_and_every_command_in_it_parses(root):
    from awbench.cli.main import _parser

    readme = (root / "README.md").read_text()
    assert len(readme.splitlines()) <= 140
    code = "".join(re.findall(r"```sh\n(.*?)```", readme, re.DOTALL))
    commands = re.findall(r"^(?:torchrun .* -m )?awbench (.+?)(?: +#.*)?$", code, re.MULTILINE)
    assert len(commands) >= 12
    for command in commands:
        _parser().parse_args(command.split())
