"""Progress of long commands: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys

import pytest

from awbench.cli import common
from awbench.cli.common import key_values, number, progress, show_progress
from awbench.errors import UserError


def test_elsewhere_there_is_a_line_at_the_end_and_no_more_than_one_every_few_seconds(capsys, monkeypatch):
    assert list(progress("abc", "counting", "network")) == ["a", "b", "c"]
    assert capsys.readouterr().err == "counting: 3 of 3 networks\n"
    monkeypatch.setattr(common, "_SECONDS_BETWEEN_LINES", -1.0)
    list(progress("ab", "counting", "network"))
    assert capsys.readouterr().err.splitlines() == ["counting: 1 of 2 networks", "counting: 2 of 2 networks"]


def test_on_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with show_progress("resnet20") as shown:
        shown.show(3, 12, "loss 0.5", now=True)
        shown.show(13, 12, "loss 0.4")  # the clock may run over
        shown._bar.refresh()
    assert "resnet20: 100%|" in (bar := capsys.readouterr().err) and "12/12" in bar and "loss 0.4" in bar


def test_key_value_pairs():
    assert key_values("--set", ["a=1", "b=c=d", "e="], "x=1") == [("a", "1"), ("b", "c=d"), ("e", "")]
    with pytest.raises(UserError, match="--set 'a' is not of the form KEY=VALUE, e.g. x=1"):
        key_values("--set", ["a"], "x=1")
    assert [number(text) for text in ("8", "0.5", "inf", "x")] == [8, 0.5, "inf", "x"]
