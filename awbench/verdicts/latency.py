"""Which measured latencies say nothing."""

from __future__ import annotations

from awbench.records import Record

_RATIO, _NOISY = "ratio_to_plain", 0.25


def is_too_noisy(record: Record) -> bool:
    """Whether the interval of a ratio to the plain network is wider than a quarter of it, too wide to be used."""
    return is_too_wide(*(float(record.value(f"{_RATIO}{end}")) for end in ("", "_low", "_high")))


def is_too_wide(ratio: float, low: float, high: float) -> bool:
    """The same of a ratio and the ends of its interval."""
    return high - low > _NOISY * ratio
