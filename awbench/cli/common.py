"""What commands share: the parser, progress on stderr, JSON and tables on stdout."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from awbench.cli.logs import is_quiet, log
from awbench.errors import UserError, suggestion
from awbench.text import visible

if TYPE_CHECKING:
    from awbench.records import Records
    from awbench.report.table import Table

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 10.0
OF_THE_TIME = "{desc}: {percentage:3.0f}% of the time |{bar}| {postfix}"  # tqdm's form where the total is seconds


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and help that keeps its examples as they are written.

    Attributes:
        said_otherwise: an option that is none here, though elsewhere it is -> what says the same.
    """

    said_otherwise: Mapping[str, str] = {}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """argparse's, but what is unknown to a command is its error, not the error of `awbench` alone."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            own = {option: option for action in self._actions for option in action.option_strings}
            word = unknown[0].partition("=")[0]
            hint = _nearest(word, {**self.said_otherwise, **own}) if word.startswith("--") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        if choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            message += _nearest(choice[1], {known: known for known in re.split(r"[', ]+", choice[2]) if known})
        stop = "" if message.endswith("?") else ";"
        self.exit(2, f"{self.prog}: {visible(' '.join(message.split()))}{stop} see '{self.prog} --help'\n")


def _nearest(word: str, known: Mapping[str, str]) -> str:
    """E.g. "; did you mean --recipe?"; "" where nothing is near. Args: known, word -> what to say instead."""
    found = re.fullmatch(r"; did you mean (.*)\?", suggestion(word, known))
    return f"; did you mean {known[found[1]]}?" if found else ""


def key_values(option: str, given: Sequence[str], example: str) -> list[tuple[str, str]]:
    """(key, value) of each KEY=VALUE.

    Raises:
        UserError: one is not of that form.
    """
    pairs = []
    for text in given:
        key, separator, value = text.partition("=")
        if not separator:
            raise UserError(f"{option} {text!r} is not of the form KEY=VALUE, e.g. {example}")
        pairs.append((key, value))
    return pairs


def number(text: str) -> int | float | str:
    """The text as a number where it is a finite one."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return text


def option_value(text: str) -> int | float | str | bool:
    """The text as a number, or as true or false, where it is one."""
    return {"true": True, "false": False}.get(text.lower(), number(text))


def shown_duration(seconds: float) -> str:
    """E.g. "42 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """How far a long command is: a bar on a terminal, elsewhere a line on stderr every few seconds."""

    def __init__(self, bar: Any, description: str) -> None:
        self._bar, self._description, self._last = bar, description, time.monotonic()

    def show(self, done: float, total: float, state: str, now: bool = False) -> None:
        """Args: state, in words; now, whether the line is printed even if the last one was a moment ago."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.set_postfix_str(state, refresh=False)
            self._bar.update(min(done, total) - self._bar.n)
        elif now or time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            log(f"{self._description}: {state}")

    def line(self, text: str) -> None:
        """A line that stays, above the bar."""
        if self._bar is not None:
            self._bar.clear()
        log(text)


@contextmanager
def show_progress(description: str, form: str | None = None) -> Iterator[Progress]:
    """Progress while the block runs. Args: form, of the bar, as tqdm takes it."""
    if not sys.stderr.isatty() or is_quiet():
        yield Progress(None, description)
        return
    from tqdm import tqdm

    with tqdm(desc=description, bar_format=form, dynamic_ncols=True, leave=False) as bar:
        yield Progress(bar, description)


def progress(items: Sequence[T], description: str, unit: str) -> Iterator[T]:
    """Iterate and show how many items are done."""
    with show_progress(description) as shown:
        for done, item in enumerate(items, 1):
            yield item
            shown.show(done, len(items), f"{done} of {len(items)} {unit}s", now=done == len(items))


_ANSWERS: ContextVar[TextIO | None] = ContextVar("answers", default=None)


@contextmanager
def stdout_for_answers() -> Iterator[None]:
    """Meanwhile stdout has the command's answer alone; what modules from outside and libraries print goes to stderr."""
    token = _ANSWERS.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _ANSWERS.reset(token)


def _answers() -> TextIO:
    return _ANSWERS.get() or sys.stdout


def show(text: str, end: str = "\n") -> None:
    """The answer of a command, on stdout."""
    print(visible(text), end=end, file=_answers())


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, allow_nan=False), file=_answers())


NO_EVIDENCE = "evidence for no study: only runs that 'awbench study run NAME' makes are (awbench study list)"


def print_runs(records: Records, keys: Collection[str], stated: Collection[str] = ()) -> None:
    """On stdout, the runs that are among these, each with the others that differ in their seed alone.

    Args:
        stated: names of options that are shown at their default too.
    """
    from awbench.report.runs import NO_RUNS, RunGroup, runs_table

    def is_asked(group: RunGroup) -> bool:
        return any(run.key in keys for run in group.runs)

    table = runs_table(records, only=is_asked, stated=stated)
    if table.values != [NO_RUNS]:
        print_table(table, notes=False)


def print_table(table: Table, format: str | None = None, notes: bool = True) -> None:
    """The table on stdout. Args: format, None for text on a terminal and GitHub's elsewhere."""
    print(table_text(table, format, notes), end="", flush=True, file=_answers())


def table_text(table: Table, format: str | None = None, notes: bool = True) -> str:
    """The same, ending in a newline: as wide as the terminal, with colours unless NO_COLOR forbids them."""
    from awbench.report.formats import render, shown_safely
    from awbench.report.terminal import to_text

    is_terminal = _answers().isatty()
    if format == "text" or (format is None and is_terminal):
        colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return to_text(shown_safely(table, notes), shutil.get_terminal_size((100, 24)).columns, colour) + "\n"
    return render(table, format or "github", notes)
