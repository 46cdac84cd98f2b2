"""Whatever shows operations of networks has attention's elementwise work too, or says beside it that it has not."""

from __future__ import annotations

import re

import pytest
from sample_records import add_ap, add_top1, aw_speed_record, latency_record
from study_records import imagenet_pair, runs_of

from awbench.cli.readme import FIGURES
from awbench.experiments.measurements import record_complexity
from awbench.records import RecordStore
from awbench.reference.load import load_references
from awbench.report.figures import all_figures
from awbench.report.tables import TABLES
from awbench.studies import load_study
from awbench.variants import STRIDE_PLACEMENTS, ModelOptions, parse_variant

OPERATIONS = re.compile(r"\b([GM]?MACs?|FLOPs?|multiply-accumulates|operations)\b", re.IGNORECASE)
NETWORKS = ("resnet20", "aw_resnet20", "resnet50", "aw_resnet50", "se_resnet50", "cbam_resnet50", "aw_cbam_resnet50")
REFERENCES = load_references()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Something for every table and for every figure of counts, accuracy and time."""
    store = RecordStore(tmp_path_factory.mktemp("results"))
    for name in NETWORKS:
        for placement in STRIDE_PLACEMENTS:
            record_complexity(store, parse_variant(name), ModelOptions(stride_placement=placement))
    digits = load_study("digits")
    for run in (
        *imagenet_pair(1.0),
        *runs_of(digits, "resnet20", [98.0] * 3),
        *runs_of(digits, "aw_resnet20", [98.3] * 3),
    ):
        store.add(run)
    add_top1(store, "resnet50", 76.0, 76.2)
    add_ap(store, "faster_rcnn_resnet50_fpn", 40.0)
    for name in ("resnet50", "aw_resnet50"):
        store.add(latency_record(name, (1.5, 1.4, 1.6)))
    for method in ("plain", "direct"):
        store.add(aw_speed_record(method, None if method == "plain" else 1.5, run="1", batch_size=8))
    return store.read()


@pytest.mark.parametrize("kind", TABLES)
def test_tables(kind, records):
    table = TABLES[kind](records, REFERENCES)
    texts = [table.title, *table.columns, *table.notes, *(cell for row in table.rows for cell in row)]
    if any(map(OPERATIONS.search, texts)):
        assert any("elementwise" in text.lower() for text in (*table.columns, *table.notes))


def test_figures(records):
    figures = {figure.name: figure for figure in all_figures(records, REFERENCES)}
    assert {
        "complexity",
        "published-imagenet",
        "study-digits",
        "latency-batch-1-float32-contiguous-224-pixels-2-threads",
        "aw-speed-1",
        "claims",
    } <= set(figures)
    for figure in figures.values():
        labels = [axes.get_xlabel() + axes.get_ylabel() for axes in figure.drawing.axes]
        if any(map(OPERATIONS.search, [figure.title, figure.caption, *labels])):
            assert "elementwise" in figure.caption, figure.name
            for text in figure.data.values():
                assert "elementwise" in text or not OPERATIONS.search(text) or " macs, " in text, text


def test_the_documents(root):
    """What stands beside their figures of operations."""
    text = (root / "docs/results.md").read_text()
    assert "(complexity.svg)" in text
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        if "(complexity.svg)" in section:
            text = re.sub(r"<!-- table.*?<!-- end -->", "", section, flags=re.DOTALL)
            assert "elementwise" in text, section.splitlines()[0]
    assert "complexity.svg" in FIGURES.values()


def test_elementwise_work_is_that_of_the_paper_and_of_the_blocks_outputs(records):
    rows = {row["variant"]: row for row in TABLES["grid"](records, REFERENCES).objects}
    scaled = 3 * 256 * 56**2 + 4 * 512 * 28**2 + 6 * 1024 * 14**2 + 3 * 2048 * 7**2
    found = {name: rows[name]["elementwise"] for name in NETWORKS if "50" in name}
    assert found == {
        "resnet50": 0, "aw_resnet50": 11_317_248, "se_resnet50": scaled, "cbam_resnet50": 2 * scaled,
        "aw_cbam_resnet50": 11_317_248 + 2 * scaled,
    }  # fmt: skip


def test_what_an_older_record_did_not_count_is_unknown_and_never_zero(records):
    older = []
    for record in records.of_kind("complexity"):
        values = {name: quantity for name, quantity in record.values.items() if name != "attention_scaling"}
        older.append(record.model_copy(update={"values": values}))
    table = TABLES["grid"](type(records)(older), REFERENCES)
    cells = {row[0]: dict(zip(table.columns, row, strict=True))["elementwise (M)"] for row in table.rows}
    assert [cells[name] for name in ("resnet50", "aw_resnet50", "se_resnet50")] == ["0", "11.317", "unknown"]
