"""The one error type that means "the input is at fault".

The command line turns it into a single line on stderr and exit code 2. Its message
names the thing, its value and what would be right.
"""

from __future__ import annotations

import difflib
import re
import signal
from collections.abc import Iterable

# EX_TEMPFAIL of sysexits.h, the exit code of a Preempted run: the same command goes on later.
TRY_AGAIN = 75


class UserError(ValueError):
    """The user's input, a file or the machine is at fault; the message says what would be right."""


class Preempted(Exception):
    """The command could not go on now: it was asked to stop and has saved, or another process has the run.

    The message says what to do later.

    Attributes:
        by: number of the signal that asked; 0 for none.
    """

    def __init__(self, message: str, by: int = 0) -> None:
        super().__init__(message)
        self.by = by


class Stopped(BaseException):
    """A signal asked the process to stop. Like KeyboardInterrupt it passes through `except Exception`.

    Attributes:
        by: number of the signal.
    """

    def __init__(self, by: int) -> None:
        super().__init__(f"stopped by {signal.Signals(by).name}")
        self.by = by


class CounterDisagreement(Exception):
    """Two independent counters gave different multiply-accumulates; the message names the layer."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """How a sentence about an unknown word ends: "; did you mean X?" with the nearest known word, or "."."""
    close = difflib.get_close_matches(word, list(known), n=5, cutoff=0.5)
    if not close:
        return "."
    nearest = min(close, key=lambda name: (-difflib.SequenceMatcher(a=name, b=word).ratio(), _distance(name, word)))
    return f"; did you mean {nearest}?"


def _distance(a: str, b: str) -> int:
    """How far the numbers in two words lie apart: resnet51 is nearer to resnet50 than to resnet56."""
    numbers = [[int(digits) for digits in re.findall(r"\d+", word)] for word in (a, b)]
    return sum(abs(x - y) for x, y in zip(*numbers, strict=False))
