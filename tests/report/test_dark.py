"""Colours on a dark page."""

from __future__ import annotations

import pytest

from awbench.report.figures.claims import STATUS_COLOURS
from awbench.report.figures.figure import BAND, COLOURS, INK, PAPER, SOFT
from awbench.report.page.dark import DARK_PAPER, contrast, dark_colours, dark_of


def test_contrast_is_wcags():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("colour", sorted({INK, SOFT, *COLOURS, *STATUS_COLOURS.values()}))
def test_marks_and_letters_are_told_from_the_dark_paper(colour):
    assert contrast(dark_of(colour), DARK_PAPER) >= 4.5


def test_areas_stay_behind_what_is_drawn_on_them():
    assert dark_of(PAPER) == DARK_PAPER
    assert contrast(dark_of(BAND), DARK_PAPER) < 2


def test_only_colours_that_figures_use_are_set():
    assert dark_colours(['<g style="fill: var(--c-ffffff, #ffffff)"/>']) == f"--c-ffffff: {DARK_PAPER};"
