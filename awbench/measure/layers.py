"""Counts of nested modules, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping


def own_counts(macs_by_module: Mapping[str, int]) -> dict[str, int]:
    """Own multiply-accumulates of each module, its children's taken off; module names without the root."""
    own = {name.partition(".")[2]: macs for name, macs in macs_by_module.items() if name != "Global"}
    total = dict(own)
    for name, macs in total.items():
        parent = name.rpartition(".")[0]
        while parent and parent not in own:  # containers that were never called have no count of their own
            parent = parent.rpartition(".")[0]
        if name and parent in own:
            own[parent] -= macs
    return {name: macs for name, macs in own.items() if macs}
