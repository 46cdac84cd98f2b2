"""Networks of a study that have several values of an option: one network for each, written out before it is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

KEY = "several"
_OPTIONS = ("aw", "attention", "convolution")


def written_out(design: Mapping[str, Any]) -> dict[str, Any]:
    """The design with a network for every combination of `several` values, and each compared as its group is.

    A group ``e: {variant: aw_resnet20, several: {aw: {expansion: [1, 16]}}}`` becomes the networks "e expansion=1" and
    "e expansion=16"; the digest of the design is that of one that names them.

    Raises:
        ValueError: `several` holds no lists of values, or a comparison is over a group.
    """
    networks, groups = dict[str, Any](), dict[str, list[str]]()
    for label, network in design["networks"].items():
        if not isinstance(network, dict) or KEY not in network:
            networks[label] = network
            continue
        rest = {key: value for key, value in network.items() if key != KEY}
        for slot in _OPTIONS:
            if not isinstance(rest.get(slot, {}), dict):
                raise ValueError(f"networks.{label}.{slot} is {rest[slot]!r}; give a value of each option, or none")
        groups[label] = []
        for chosen in _combinations(label, network[KEY]):
            words = [f"{option}={_shown(value)}" for (_, option), value in chosen.items()]
            own = {slot: {**rest.get(slot, {}), **_of_slot(chosen, slot)} for slot in _OPTIONS}
            groups[label].append(" ".join([label, *words]))
            if groups[label][-1] in {*networks, *design["networks"]}:
                raise ValueError(f"networks has {groups[label][-1]!r} twice: by itself, and of {label}'s {KEY}")
            networks[groups[label][-1]] = {**rest, **{slot: options for slot, options in own.items() if options}}
    comparisons: list[Any] = []
    given = design.get("comparisons")
    if not isinstance(given, (list, tuple)):
        return {**design, "networks": networks}
    for comparison in given:
        named = comparison.get("variant") if isinstance(comparison, dict) else None
        over = comparison.get("over") if isinstance(comparison, dict) else None
        if isinstance(over, str) and over in groups:
            raise ValueError(f"comparison over {over}, which is {len(groups[over])} networks; name one: {groups[over]}")
        members = groups.get(named, ()) if isinstance(named, str) else ()
        comparisons += [{**comparison, "variant": member} for member in members] or [comparison]
    return {**design, "networks": networks, "comparisons": comparisons}


def _combinations(label: str, several: Any) -> Iterator[dict[tuple[str, str], Any]]:
    """(slot, option) -> value, of every combination."""
    where = f"networks.{label}.{KEY}"
    if not isinstance(several, dict) or not several or several.keys() - set(_OPTIONS):
        raise ValueError(f"{where} is {several!r}; use e.g. {{aw: {{expansion: [1, 16]}}}} with {', '.join(_OPTIONS)}")
    values: dict[tuple[str, str], list[Any]] = {}
    for slot, options in several.items():
        for option, given in options.items() if isinstance(options, dict) else [("", None)]:
            if not isinstance(given, list) or not given or any(value in given[:i] for i, value in enumerate(given)):
                raise ValueError(f"{where}.{slot} is {options!r}; give each option a list of values, e.g. [1, 16]")
            values[slot, option] = given
    for chosen in product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def _of_slot(chosen: Mapping[tuple[str, str], Any], slot: str) -> dict[str, Any]:
    return {option: value for (own, option), value in chosen.items() if own == slot}


def _shown(value: Any) -> str:
    """As command lines have it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")
