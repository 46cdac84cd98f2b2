"""The networks that a claim speaks of."""

from __future__ import annotations

from awbench.reference.claim import ATTENTION_SETTINGS, Claim
from awbench.variants import list_variants, parse_variant


def claimed_pairs(claim: Claim) -> list[tuple[str, str]]:
    """(network, baseline) of a claim; attention settings stand for networks of every depth that fits the dataset."""
    fitting = [variant for variant in list_variants(claim.task) if variant.architecture.family == claim.family]
    depths = {variant.name: variant.depth for variant in fitting}
    names = {(variant.setting, variant.depth): variant.name for variant in fitting}
    pairs = []
    for variant, baseline in zip(*claim.sides, strict=True):
        if variant not in ATTENTION_SETTINGS and baseline not in ATTENTION_SETTINGS:
            pairs.append((variant, baseline))
            continue
        for depth in dict.fromkeys(depths.values()):
            pair = (names.get((variant, depth), variant), names.get((baseline, depth), baseline))
            if all(depths.get(name) == depth for name in pair):
                pairs.append(pair)
    return pairs


def depth_of(variant: str) -> int:
    """Layers of a network, by its name."""
    return parse_variant(variant).depth
