"""How a network was trained: the project's recipe, the network's options, and what two networks must share."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from awbench.errors import UserError
from awbench.modules import INPUT
from awbench.recipes import PROTOCOLS, load_detection_recipe, load_recipe
from awbench.records import Record
from awbench.records.settings import Training
from awbench.variants import ModelOptions, Task, describe_options, parse_variant

# Of another network these are other weights; alike is whether there were any.
WEIGHTS = ("backbone_weights_sha256", "initial_weights_sha256")


@functools.cache
def recipe_identity(task: Task, name: str, changes: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe of the project as records hold it; not to be changed.

    Raises:
        UserError: no such recipe, or a change that does not fit.
    """
    return (load_detection_recipe if task == "detection" else load_recipe)(name, changes).identity()


def is_training(record: Record, dataset: str, recipe: dict[str, Any] | None = None) -> bool:
    """Whether a network was trained on a dataset by the training code as it stands, and by that recipe if given."""
    settings = record.settings
    return (
        isinstance(settings, Training)
        and settings.dataset == dataset
        and settings.protocol == PROTOCOLS[record.kind]
        and recipe in (None, settings.recipe.json_object)
    )


def has_default_options(record: Record, options: ModelOptions | None = None) -> bool:
    """Whether the network has default options but for these, and but for its number of classes."""
    try:
        options = replace(options or ModelOptions(), num_classes=record.options["num_classes"])
        return record.options == default_options(record.variant, options)
    except UserError:  # of another version: a network, or options, that this one does not know
        return False


@functools.cache
def default_options(variant: str, options: ModelOptions) -> dict[str, Any]:
    """Options as records hold them, default but for these; not to be changed."""
    return describe_options(parse_variant(variant), options)


def training_protocol(record: Record) -> dict[str, Any]:
    """Everything of a run that must be the same for two networks to be compared, but for the networks and the seed."""
    settings = {name: value for name, value in record.settings.json_object.items() if name != "seed"}
    inputs = {
        name: value == "random" if name in WEIGHTS else value
        for name, value in record.inputs.items()
        if not name.startswith(INPUT)  # of its modules: they are the networks
    }
    images = record.values["images"].value if "images" in record.values else None
    return {**settings, **inputs, "images": images, "stride_placement": record.options["stride_placement"]}


def differing(protocols: Iterable[dict[str, Any]]) -> list[str]:
    """Names of what is not the same in all."""
    first, *others = protocols
    names = sorted({name for protocol in (first, *others) for name in protocol})
    return [name for name in names if any(other.get(name) != first.get(name) for other in others)]
