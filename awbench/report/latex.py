"""A table for a paper: fitted to its text's width, with label, caption and notes."""

from __future__ import annotations

import re

from awbench.report.layout import Layout, fit
from awbench.report.names import display_names
from awbench.report.table import Table

# Characters that fit into 345 pt, the text of the class article: of \\footnotesize, and of \\scriptsize with room left.
_CHARACTERS, _CHARACTERS_LONG = 84, 80
_ROWS_OF_A_PAGE = 36
_GAP = "3pt"
_BOLD = "Bold: the best of its column among the networks that are compared."
_ESCAPES = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "%": "\\%",
    "_": "\\_\\allowbreak{}", "^": "\\^{}", "~": "\\~{}", "<": "\\ensuremath{<}", ">": "\\ensuremath{>}",
    "/": "/\\allowbreak{}", "=": "=\\allowbreak{}", "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip


def to_latex(table: Table) -> str:
    """A floating table to \\input, or a longtable where it is longer than a page; wider ones are made smaller."""
    is_long = len(table.rows) > _ROWS_OF_A_PAGE
    layout = fit(table, _CHARACTERS_LONG if is_long else _CHARACTERS, named=display_names)
    names = [table.columns[place] for place in layout.places]
    best = _best(table, layout)
    rows = []
    for number, row in enumerate(layout.rows):
        cells = [escape(cell) for cell in row]
        rows.append([f"\\textbf{{{c}}}" if (number, i) in best else c for i, c in enumerate(cells)])
    head = " & ".join(map(escape, names)) + " \\\\"
    body = [" & ".join(row) + " \\\\" for row in rows]
    columns = _columns(table, layout)
    caption = escape(" ".join([f"{table.title}.", *([layout.shared] if layout.constants else [])]))
    label = "tab:" + re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")
    notes = [*layout.numbered_needs, *table.notes, *([_BOLD] if best and table.notes else [])]
    lines = _long(columns, head, body, caption, label) if is_long else _floating(columns, head, body, caption, label)
    below = [f"\\par {escape(note)}" for note in notes]
    if below:
        below = [
            "\\par\\medskip\\noindent\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright",
            *below,
            "\\end{minipage}",
        ]
    packages = "array,booktabs,longtable" if is_long else "array,booktabs,graphicx"
    end = ["\\endgroup"] if is_long else ["\\end{table}"]
    return "\n".join([f"% needs \\usepackage{{{packages}}}", *lines, *below, *end])


def _floating(columns: str, head: str, body: list[str], caption: str, label: str) -> list[str]:
    return [
        "\\begin{table}",
        "\\centering\\footnotesize",
        f"\\setlength{{\\tabcolsep}}{{{_GAP}}}",
        f"\\caption{{{caption}}}",
        f"\\label{{{label}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        head,
        "\\midrule",
        *body,
        "\\bottomrule",
        "\\end{tabular}}",
    ]


def _long(columns: str, head: str, body: list[str], caption: str, label: str) -> list[str]:
    return [
        "\\begingroup\\scriptsize",
        f"\\setlength{{\\tabcolsep}}{{{_GAP}}}",
        f"\\begin{{longtable}}{{{columns}}}",
        f"\\caption{{{caption}}}\\label{{{label}}} \\\\",
        "\\toprule",
        head,
        "\\midrule",
        "\\endfirsthead",
        "\\toprule",
        head,
        "\\midrule",
        "\\endhead",
        "\\bottomrule",
        "\\endfoot",
        *body,
        "\\end{longtable}",
    ]


def _columns(table: Table, layout: Layout) -> str:
    """What has to wrap in a box of its width, half an em a character; the rest as wide as it is."""
    shown = []
    for i, (place, width) in enumerate(zip(layout.places, layout.widths, strict=True)):
        side = table.alignment[place]
        if all(len(row[i]) <= width for row in layout.rows) and len(table.columns[place]) <= width:
            shown.append(side[0])
        else:
            shown.append(
                f">{{\\ragged{'left' if side == 'right' else 'right'}\\arraybackslash}}p{{{width / 2 + 0.6:g}em}}"
            )
    return "".join(shown)


def _best(table: Table, layout: Layout) -> set[tuple[int, int]]:
    """(row, shown column) of the greatest numbers of columns that have a best, where there are several to compare."""
    found = set()
    for shown, place in enumerate(layout.places):
        column = table.shown[place]
        groups: dict[str, dict[int, float]] = {}
        for number, row in enumerate(table.values if column.best_among else ()):
            value = column.best_value(row)
            if value is not None:
                groups.setdefault(repr(column.best_among(row)), {})[number] = value  # type: ignore[misc]  # has one
        for values in groups.values():
            if len(values) > 1:
                found |= {(number, shown) for number, value in values.items() if value == max(values.values())}
    return found


def escape(text: str) -> str:
    """What LaTeX's standard fonts have no letter for is its code, so that any text compiles; line ends are spaces."""
    text = " ".join(text.split())
    plain = (c if " " <= c <= "~" else f"U+{ord(c):04X}" for c in text)
    escaped = "".join(_ESCAPES.get(c, c) for c in "".join(plain))
    return re.sub(r"(?<![\w.})-])-(?=\d)", r"\\ensuremath{-}", escaped)  # a minus, where it is no hyphen
