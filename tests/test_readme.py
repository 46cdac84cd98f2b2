from __future__ import annotations

import re

import pytest

from awbench.cli.readme import FIGURE, fill, record_imagenet_grid
from awbench.records import RecordStore
from awbench.report.figures.complexity import complexity_picture
from awbench.variants import list_variants


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = RecordStore(tmp_path_factory.mktemp("results"))
    record_imagenet_grid(store)
    return store


def test_the_readmes_table_is_what_the_command_makes(root, store):
    readme = (root / "README.md").read_text()
    assert "<!-- table: complexity" in readme
    assert readme == fill(readme, store), "run `make readme`"


def bar_heights(svg: bytes) -> list[float]:
    """Heights of the bars, each panel's relative to its tallest: free of fonts and layout."""
    paths = re.findall(rb'<path d="([^"]+)"\s+clip-path', svg)
    settings = {variant.setting for variant in list_variants("classification")} - {"plain"}
    assert len(paths) == 2 * len(settings) * 5, "two panels, five depths"
    heights = []
    for path in paths:
        ys = [float(y) for y in re.findall(rb"[ML] \S+ (\S+)", path)]
        heights.append(max(ys) - min(ys))
    half = len(heights) // 2
    return [height / max(panel) for panel in (heights[:half], heights[half:]) for height in panel]


def test_the_readmes_picture_is_what_the_command_makes(root, store):
    committed, made = (root / FIGURE).read_bytes(), complexity_picture(store).to_bytes("svg")
    assert bar_heights(committed) == pytest.approx(bar_heights(made), abs=2e-3), "run `make readme`"


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
