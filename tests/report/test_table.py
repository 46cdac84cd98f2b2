"""Everything of a table follows from its columns."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from awbench.report.formats import render
from awbench.report.table import ABSENT, Column, Table, Unmeasured, select


class Network(NamedTuple):
    name: str
    params: int
    memory: int | None = None
    key: str = ""


COLUMNS = (
    Column("network", lambda n: n.name, key="variant"),
    Column("params", lambda n: n.params, ","),
    Column.exact("gpu", lambda n: True if n.memory else ABSENT),
    Column("memory (B)", lambda n: n.memory, hex, key="memory", missing="unknown"),
    Column.shown("size", lambda n: "large" if n.params > 1e6 else "small"),
)  # fmt: skip
NOT_COUNTED = Unmeasured({"network": "c", "params": "needs counting"}, {"variant": "c", "needs": "counting"})


@pytest.fixture
def table() -> Table:
    rows = [Network("a", 25_557_032, 2048, "k1"), NOT_COUNTED, Network("b", 10, None, "k2")]
    return Table("Networks", COLUMNS, rows, records_of=lambda n: [n.key], source_of=lambda n: f"of {n.name}")


def test_people_read_the_cells_of_columns_with_a_heading(table):
    assert table.columns == ("network", "params", "memory (B)", "size")
    assert table.rows == [
        ("a", "25,557,032", "0x800", "large"), ("c", "needs counting", "", ""), ("b", "10", "unknown", "small"),
    ]  # fmt: skip
    assert table.alignment == ["left", "right", "left", "left"]


def test_programs_read_exact_values_by_key_and_no_key_where_there_is_no_value(table):
    assert json.loads(render(table, "json")) == [
        {"variant": "a", "params": 25_557_032, "gpu": True, "memory": 2048},
        {"variant": "c", "needs": "counting"},
        {"variant": "b", "params": 10, "memory": None},
    ]


def test_every_row_has_its_origins(table):
    assert table.origins == [("k1",), (), ("k2",)]
    assert table.sources == ["of a", "", "of b"]


def test_what_was_not_measured_keeps_its_cells_under_chosen_columns(table):
    chosen = select(table, columns=["params", "network"], sort=["network"])
    assert chosen.rows == [("25,557,032", "a"), ("10", "b"), ("needs counting", "c")]
    assert chosen.objects[2] == {"params": "needs counting", "network": "c"}
    assert chosen.origins == [("k1",), ("k2",), ()]


def test_rows_that_belong_together_are_one_object_and_sort_with_it():
    rows = [Network("claim", 1), Network(" pair", 2), Network("a claim", 3)]
    table = Table("t", COLUMNS[:2], rows, has_object=lambda n: not n.name.startswith(" "))
    assert len(table.rows) == 3
    assert [found["variant"] for found in select(table, sort=["params:desc"]).objects] == ["a claim", "claim"]
