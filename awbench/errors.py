"""The one error type that means "the input is at fault", shared by every room of the house.

The command line turns it into a single line on stderr and exit code 2. Its message
names the thing, its value and what would be right.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """The user's input, a file or the machine is at fault; the message says what would be right."""


class CounterDisagreement(Exception):
    """Two independent counters gave different multiply-accumulates; the message names the layer."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """How a sentence about an unknown word ends: "; did you mean X?" with the nearest known word, or "."."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}?" if nearest else "."
