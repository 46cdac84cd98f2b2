"""What values of a reference file must be like; each check names the value and what would be right."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

from awbench.errors import UserError, suggestion
from awbench.reference.metrics import CLAIM_DATASETS, METRICS
from awbench.variants import parse_variant


def check_metric(metric: str, unit: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not known{suggestion(metric, METRICS)} Known: {', '.join(METRICS)}")
    units = METRICS[metric].units
    if unit not in units:
        raise ValueError(f"unit {unit!r} does not fit {metric}; use {' or '.join(units)}")


def check_dataset(name: str) -> None:
    if name not in CLAIM_DATASETS:
        known = ", ".join(CLAIM_DATASETS)
        raise ValueError(f"dataset {name!r} is not known{suggestion(name, CLAIM_DATASETS)} Known: {known}")


def check_url(url: str) -> None:
    if not re.fullmatch(r"https://[^\s\"'<>\\\\]+", url):
        raise ValueError(f"url {url!r} must begin with https:// and be a plain address")


@functools.cache
def check_variant(name: str) -> None:
    try:
        parse_variant(name)
    except UserError as error:
        raise ValueError(str(error)) from None


def check_characters(value: Any) -> None:
    """No text may hold what neither a table nor a figure can show: control characters, halves of surrogate pairs."""
    if isinstance(value, str):
        for character in value:
            if unicodedata.category(character) in ("Cc", "Cs") and character != "\n":
                raise ValueError(f"text {value[:40]!r} has the control character {character!r}; remove it")
    elif isinstance(value, dict):
        check_characters(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            check_characters(item)
