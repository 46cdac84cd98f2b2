"""Which runs may be averaged, and what tells the others apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from awbench.records import Record
from awbench.report.names import setting_title
from awbench.report.runs import changed_options
from awbench.variants import parse_variant
from awbench.verdicts.protocol import differing, training_protocol

_DIGEST, _SHOWN_DIGITS = 64, 8


def runs_alike(records: Iterable[Record]) -> list[list[Record]]:
    """Records of one network with the same options, trained and evaluated alike but for the seed, in a list each."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        options, protocol = (json.dumps(part, sort_keys=True) for part in (record.options, training_protocol(record)))
        groups.setdefault((record.variant, options, protocol), []).append(record)
    return list(groups.values())


def network_label(record: Record) -> str:
    """A network within its architecture: "AW", or "AW with gate=tanh", which is another one."""
    changed = changed_options(record)
    return f"{setting_title(parse_variant(record.variant).setting)}{f' with {changed}' if changed else ''}"


def told_apart(labels: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The labels; where several are the same, each with those of its facts in which they differ.

    Args:
        facts: of each label, by name; objects within them are compared part by part.
    """
    flat = [dict(_flat(of_label)) for of_label in facts]
    same: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        same.setdefault(label, []).append(place)
    found = list(labels)
    for label, places in same.items():
        names = differing(flat[place] for place in places) if len(places) > 1 else []
        for place in places if names else ():
            found[place] = f"{label}, {' '.join(f'{name}={_shown(flat[place].get(name))}' for name in names)}"
    return found


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _shown(value: Any) -> str:
    """Of a digest, its first digits."""
    return str(value)[:_SHOWN_DIGITS] if isinstance(value, str) and len(value) == _DIGEST else str(value)
