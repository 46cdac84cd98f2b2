"""The time that records bear."""

from __future__ import annotations

from datetime import datetime, timezone


def now() -> str:
    """UTC, ISO 8601 to the microsecond."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
