"""The report: one self-contained HTML file made from records and references. Nothing is measured here."""

from awbench.report.page.render import render_page

__all__ = ["render_page"]
