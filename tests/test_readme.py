from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from awbench.cli.readme import FIGURES, figures, fill, readme_records
from awbench.variants import list_variants


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = Path(__file__).resolve().parent.parent
    return readme_records(root, tmp_path_factory.mktemp("readme") / "results")


def test_the_readmes_tables_are_what_the_command_makes(root, store):
    readme = (root / "README.md").read_text()
    for kind in ("studies", "claims", "complexity", "proxy", "speed"):
        assert f"<!-- table: {kind} " in readme
    assert readme == fill(readme, store), "run `make readme`"


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


def test_the_readmes_figures_are_what_the_command_makes(root, store):
    made = figures(store)
    assert set(FIGURES.values()) - set(made) <= {"fashion-mnist.svg"}, "that one is there from the first look on"
    for file, figure in made.items():
        committed = (root / "docs" / file).read_bytes()
        assert texts(committed) == list(figure.data.values()) != [], f"docs/{file}: run `make readme`"
        assert f"docs/{file})" in (root / "README.md").read_text()
    bars = [(root / "docs/complexity.svg").read_bytes(), made["complexity.svg"].to_bytes("svg")]
    assert bar_heights(bars[0]) == pytest.approx(bar_heights(bars[1]), abs=2e-3), "run `make readme`"


def test_every_make_target_the_readme_names_exists(root):
    makefile = (root / "Makefile").read_text()
    readme = (root / "README.md").read_text()
    named = set(re.findall(r"make ([a-z][a-z0-9-]*)", readme)) | set(
        re.findall(r"`([a-z0-9-]+)`", readme.split("## Make targets")[1].split(".")[0])
    )
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_command_the_readme_names_parses(root):
    from awbench.cli.main import _parser

    readme = (root / "README.md").read_text().replace("\\\n", " ")  # continued lines
    commands = re.findall(r"^(?:torchrun .* -m )?awbench (.+)$", readme, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        _parser().parse_args(command.split())
