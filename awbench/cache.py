"""Where things that are made once for a user are kept."""

from __future__ import annotations

import os
from pathlib import Path

from awbench.errors import UserError


def cache_directory() -> Path:
    """The user's cache: $AWBENCH_CACHE, $XDG_CACHE_HOME/awbench or ~/.cache/awbench.

    Raises:
        UserError: there is none of these.
    """
    chosen = os.environ.get("AWBENCH_CACHE")
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "awbench")
    try:
        return folder.expanduser().resolve()
    except RuntimeError:
        raise UserError("there is no home folder for awbench's cache; set AWBENCH_CACHE=DIR") from None
