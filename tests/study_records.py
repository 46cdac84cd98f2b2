"""Made-up runs of studies."""

from __future__ import annotations

import math
from typing import Any

from awbench.recipes import PROTOCOLS
from awbench.records import Quantity, Record, Records
from awbench.studies import Study, load_study
from awbench.variants import describe_options

IMAGENET, COCO = load_study("imagenet"), load_study("coco")
CLASSES = {"imagenet": 1000, "coco": 80, "digits": 10, "digits-detection": 10, "fashion-mnist": 10}


def study_run(study: Study, label: str, seed: int, value: float, **changes: Any) -> Record:
    """A run that counts, or one with changes.

    Args:
        value: of the study's metric; of an accuracy the nearest that a whole number of images is.
        changes: of its settings; or `options`, `inputs`, `values`, `environment`, merged into what they are;
            `finished`, as it is.
    """
    facts, recipe, variant = study.facts, study.resolved_recipe, study.variant_of(label)
    unit = "percent" if study.task == "classification" else "AP points"
    settings = {
        "origin": "trained", "dataset": study.dataset, "recipe": recipe.identity(), "seed": seed,
        "skip_bad_images": False, "protocol": PROTOCOLS[study.kind],
    }  # fmt: skip
    inputs = {"train_sha256": facts.train_sha256 or "t", "val_sha256": facts.val_sha256 or "v"}
    if unit == "percent" and 0 <= value <= 100:
        share = round(value / 100 * facts.val_images) / facts.val_images * 100
        value = value if math.isclose(share, value) else share
    values = {study.metric: Quantity(value=value, unit=unit),
              "images": Quantity(value=facts.val_images, unit="images")}  # fmt: skip
    if study.task == "classification":
        values["steps"] = Quantity(value=recipe.epochs * (facts.train_images // recipe.batch_size), unit="steps")
        settings["evaluation"] = recipe.identity()["evaluation"]
        inputs["initial_weights_sha256"] = "random"
    else:
        values["iterations"] = Quantity(value=recipe.iterations, unit="iterations")
        settings |= {"engine": study.engine, "complete": True}
        inputs["engine_version"] = "0.6"
        inputs["backbone_weights_sha256"] = weights_of(variant.backbone, seed)
    environment = {
        "study": {"name": study.name, "sha256": study.digest}, "train_images": facts.train_images,
        "weights_sha256": weights_of(label, seed), "source_sha256": "s" * 64, "torch": "2.14.1",
        "torchvision": "0.29.1", "device": "GPU A", "training_device": "cuda", "world_size": 8,
    }  # fmt: skip
    options = describe_options(variant, study.options_of(label)) | {"num_classes": CLASSES.get(study.dataset, 10)}
    finished = changes.pop("finished", "2026-01-01T00:00:01.000000Z")
    merged = {}
    for name, whole in (("options", options), ("inputs", inputs), ("values", values), ("environment", environment)):
        merged[name] = {**whole, **changes.pop(name, {})}
    return Record(
        kind=study.kind,
        variant=variant.name,
        settings={**settings, **changes},
        started="2026-01-01T00:00:00.000000Z",
        finished=finished,
        **merged,
    )


def weights_of(name: str, seed: int) -> str:
    """Digest of the weights that a made-up run left."""
    return f"{name}-{seed}"


def runs_of(study: Study, label: str, measured: list[float], /, **changes: Any) -> list[Record]:
    """A run of each measured value, with seeds from 0 on."""
    return [study_run(study, label, seed, value, **dict(changes)) for seed, value in enumerate(measured)]


def imagenet_pair(gain: float, runs: int = 3, **changes: Any) -> list[Record]:
    """ResNet-101 and AW-ResNet-101 with a mean gain of so much, runs 0.1 apart; `changes` are of the treated."""
    noise = [0.1 * (seed % 3 - 1) for seed in range(runs)]
    plain = runs_of(IMAGENET, "resnet101", [77.4 + n for n in noise])
    return plain + runs_of(IMAGENET, "aw_resnet101", [77.4 + gain + n for n in reversed(noise)], **changes)


def as_records(*groups: list[Record]) -> Records:
    """In the order in which they were recorded."""
    return Records(record for group in groups for record in group)
