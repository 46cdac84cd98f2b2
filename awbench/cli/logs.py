"""What commands and the library log: lines on stderr, set up once."""

from __future__ import annotations

import logging
import sys

from awbench.text import visible

_LIBRARY = logging.getLogger("awbench")
# How AW-convolutions are executed, and which of several ways was the fastest: routine for a person.
_ROUTINE = logging.getLogger("awbench.kernels")


class _Lines(logging.Handler):
    """Lines for the person, on the stderr of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(visible(self.format(record)), file=sys.stderr, flush=True)


def set_up_logging(verbosity: int = 0) -> None:
    """Log to stderr. Args: verbosity, -1 for warnings and errors alone, 1 for routine choices too."""
    if not any(isinstance(handler, _Lines) for handler in _LIBRARY.handlers):
        _LIBRARY.addHandler(_Lines())
    _LIBRARY.setLevel({-1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG))
    _ROUTINE.setLevel(logging.NOTSET if verbosity > 0 else logging.WARNING)


def is_quiet() -> bool:
    return not _LIBRARY.isEnabledFor(logging.INFO)


def log(line: str, level: int = logging.INFO) -> None:
    """A line for the person, on stderr."""
    if not _LIBRARY.handlers:
        set_up_logging()
    _LIBRARY.log(level, "%s", line)
