"""The networks that a claim speaks of."""

from __future__ import annotations

from awbench.reference.claim import ATTENTION_SETTINGS, Claim
from awbench.variants import list_variants, parse_variant


def claimed_pairs(claim: Claim) -> list[tuple[str, str]]:
    """(network, baseline) of a claim; attention settings stand for networks of every depth that fits the dataset."""
    fitting = [
        variant
        for variant in list_variants(claim.task)
        if variant.architecture.family == claim.family and variant.architecture.is_resnet
    ]
    architectures = {variant.name: variant.architecture_name for variant in fitting}
    names = {(variant.setting, variant.architecture_name): variant.name for variant in fitting}
    pairs = []
    for variant, baseline in zip(*claim.sides, strict=True):
        if variant not in ATTENTION_SETTINGS and baseline not in ATTENTION_SETTINGS:
            pairs.append((variant, baseline))
            continue
        for network in dict.fromkeys(architectures.values()):
            pair = (names.get((variant, network), variant), names.get((baseline, network), baseline))
            if all(architectures.get(name) == network for name in pair):
                pairs.append(pair)
    return pairs


def architecture_of(variant: str) -> str:
    """The network without its attention, by the variant's name."""
    return parse_variant(variant).architecture_name
