"""Networks, settings and metrics as papers write them: AW-SE-ResNet-50, top-1."""

from __future__ import annotations

import re

from awbench.modules import modules
from awbench.recipes.datasets import title_of
from awbench.reference.source import Claim
from awbench.studies import Comparison, Study
from awbench.variants import Variant, list_settings, list_variants

# What a metric is called, by its key in records and studies.
METRIC_TITLES = {
    "top1": "top-1",
    "top1_percent": "top-1",
    "top5": "top-5",
    "box_ap": "box AP",
    "ap50": "AP50",
    "ap75": "AP75",
}
_FAMILIES = {"resnet": "ResNet", "resnext": "ResNeXt", "wide_resnet": "Wide ResNet"}


def display_name(name: str) -> str:
    """E.g. "AW-SE-ResNet-50", "Faster R-CNN AW-ResNet-101-FPN"; what is no variant's name (a label) as it is."""
    known = {variant.name: variant for variant in list_variants()}
    return _title(known[name]) if name in known else name


def display_names(text: str) -> str:
    """The same of several with commas between them."""
    return ", ".join(map(display_name, text.split(", ")))


def setting_title(setting: str) -> str:
    """Of an attention setting, e.g. "AW-SE"; "plain" as it is."""
    known = modules()
    return "-".join(known[name].title if name in known else name for name in setting.split("_"))


def architecture_title(name: str) -> str:
    """E.g. "ResNet-50", "ResNeXt-50 32x4d", "Wide ResNet-50-2"."""
    family, depth, rest = re.fullmatch(r"([a-z_]+?)(\d+)(.*)", name).groups()  # type: ignore[union-attr]  # all have one
    shape = rest.replace("_", "-" if re.fullmatch(r"_\d+", rest) else " ")
    return f"{_FAMILIES.get(family, family)}-{depth}{shape}"


def metric_title(metric: str) -> str:
    """E.g. "top-1"."""
    return METRIC_TITLES.get(metric, metric)


def _title(variant: Variant) -> str:
    attention = "" if variant.setting == "plain" else f"{setting_title(variant.setting)}-"
    network = f"{attention}{architecture_title(variant.architecture_name)}"
    return network if variant.task == "classification" else f"Faster R-CNN {network}-FPN"


def network_title(study: Study, label: str) -> str:
    """Of a study's network, e.g. "AW-ResNet-20" or "AW-ResNet-20 with expansion=1"."""
    changed = study.changed_options(label)
    return f"{display_name(study.variant_of(label).name)}{f' with {changed}' if changed else ''}"


def pair_title(study: Study, comparison: Comparison) -> str:
    """What is compared within one architecture, e.g. "AW-SE over SE", or "expansion=1" over the same with defaults."""
    variant, over = (study.variant_of(label) for label in (comparison.variant, comparison.over))
    changed, changed_over = (study.changed_options(label) for label in (comparison.variant, comparison.over))
    if len({study.variant_of(label).architecture_name for label in study.labels}) > 1:
        return f"{network_title(study, comparison.variant)} over {network_title(study, comparison.over)}"
    if variant.name == over.name and not changed_over:
        return changed
    return " over ".join(
        f"{setting_title(network.setting)}{f' with {options}' if options else ''}"
        for network, options in ((variant, changed), (over, changed_over))
    )


def claim_title(claim: Claim) -> str:
    """What a claim is about, e.g. "ImageNet-1k: AW-ResNet-101", "COCO 2017: AW-SE, AW-CBAM over SE, CBAM"."""
    settings, known = list_settings(), {variant.name: variant for variant in list_variants()}
    variants, over = (
        ", ".join(
            setting_title(one) if one in settings else display_name(one).removeprefix("Faster R-CNN ") for one in side
        )
        for side in claim.sides
    )
    over_plain = all(one in known and known[one].setting == "plain" for one in claim.sides[1])
    return f"{title_of(claim.dataset_name)}: {variants}{'' if over_plain else f' over {over}'}"
