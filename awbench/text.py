"""Text that came from elsewhere (a record, a file's name), made fit to be shown."""

from __future__ import annotations

import unicodedata

_ACTING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # categories of Unicode: control, direction, no character, lines


def visible(text: str) -> str:
    """The text with what acts on a terminal, hides or turns letters around as its code; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _ACTING else ascii(c)[1:-1] for c in text)


def plural(count: int, noun: str) -> str:
    """E.g. "1 run", "1,200 runs"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shown_probability(value: float) -> str:
    """E.g. "93%"; a simulated one is never 0 or 1."""
    return ">99%" if value > 0.99 else "<1%" if value < 0.01 else f"{value:.0%}"
