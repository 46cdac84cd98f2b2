"""The records of one network, found without looking through all: verdicts ask once for every published number."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from awbench.records import Record, Records

# Records are a value: what was found of one stays true as long as it lives.
_BY_NETWORK: WeakKeyDictionary[Records, dict[str, dict[str, list[Record]]]] = WeakKeyDictionary()


def records_of(records: Records, kind: str, variant: str) -> list[Record]:
    """All of a kind and a network, oldest first; not to be changed."""
    kinds = _BY_NETWORK.setdefault(records, {})
    if kind not in kinds:
        kinds[kind] = {}
        for record in records.of_kind(kind):
            kinds[kind].setdefault(record.variant, []).append(record)
    return kinds[kind].get(variant, [])
