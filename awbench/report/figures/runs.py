"""Which runs may be averaged."""

from __future__ import annotations

import json
from collections.abc import Iterable

from awbench.records import Record
from awbench.verdicts.protocol import training_protocol


def runs_alike(records: Iterable[Record]) -> list[list[Record]]:
    """Records of one network with the same options, trained and evaluated alike but for the seed, in a list each."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        options, protocol = (json.dumps(part, sort_keys=True) for part in (record.options, training_protocol(record)))
        groups.setdefault((record.variant, options, protocol), []).append(record)
    return list(groups.values())
