"""Records for tests that need one without measuring."""

from __future__ import annotations

import hashlib
from typing import Any

from awbench.recipes import PROTOCOLS, load_detection_recipe, load_recipe
from awbench.records import Quantity, Record, RecordStore
from awbench.records.environment import cpu_name, latency_source_digest, package_version
from awbench.variants import ModelOptions, describe_options, parse_variant

IMAGENET_CHANGES = ("precision=bfloat16", "channels_last=true")  # of the recipe cbam, as the study imagenet has them


def make_record(**changes) -> Record:
    """A complexity record of a plain ResNet-50 with its true counts, or with `changes`."""
    fields = {
        "kind": "complexity",
        "variant": "resnet50",
        "options": {"stride_placement": "v1.5", "num_classes": 1000},
        "settings": {"image_size": 224, "cross_check": False},
        "inputs": {"source_sha256": "0" * 64},
        "values": {
            "params": Quantity(value=25_557_032, unit="parameters"),
            "macs": Quantity(value=4_089_184_256, unit="MAC"),
            "aw_kernel_forming": Quantity(value=0, unit="multiplications"),
            "activations": Quantity(value=11_114_984, unit="elements"),
            "elements.convolution_bias": Quantity(value=0, unit="elements"),
            "elements.normalisation": Quantity(value=11_113_984, unit="elements"),
            "elements.activation": Quantity(value=9_608_704, unit="elements"),
            "elements.pooling": Quantity(value=903_168, unit="elements"),
        },
        "environment": {"python": "3.11.7", "torch": "2.14.1", "git_commit": "0" * 40},
        "started": "2026-01-01T00:00:00.000000Z",
        "finished": "2026-01-01T00:00:01.000000Z",
    }
    return Record(**{**fields, **changes})


def latency_record(variant: str, ratio: tuple[float, float, float], finished: str = "", **settings) -> Record:
    """A latency record of a network on a CPU; `ratio` is (value, low, high), the plain network takes 10 ms."""
    of = parse_variant(variant)
    source = settings.pop("source", latency_source_digest())
    values = {f"ratio_to_plain{part}": Quantity(value=r, unit="of the plain network's latency")
              for part, r in zip(("", "_low", "_high"), ratio, strict=True)}  # fmt: skip
    values |= {f"latency_ms{part}": Quantity(value=10 * r, unit="ms")
               for part, r in zip(("", "_low", "_high"), ratio, strict=True)}  # fmt: skip
    values |= {
        "images_per_s": Quantity(value=100 / ratio[0], unit="images/s"),
        "spread": Quantity(value=0.02, unit="interquartile range / median"),
        "rounds": Quantity(value=50, unit="calls"),
        "harness_overhead_ms": Quantity(value=0.0001, unit="ms"),
    }
    return make_record(
        kind="latency",
        variant=variant,
        options=describe_options(of, ModelOptions()),
        settings={
            "device": "cpu", "batch_size": 1, "dtype": "float32", "layout": "contiguous", "compile": False,
            "cuda_graph": False, "aw_strategy": "auto", "image_size": of.architecture.image_size,
            "device_name": cpu_name(), "over": of.plain,
            "threads": 2, **settings,
        },
        inputs={"source_sha256": source, "torch": package_version("torch")},
        values=values,
        environment={"run": "1"},
        finished=finished or "2026-01-01T00:00:01.000000Z",
    )  # fmt: skip


def aw_speed_record(method: str, ratio: float | None, run: str, batch_size: int) -> Record:
    """Of one method at one shape of a run; the plain convolution, of no ratio, takes 1 ms."""
    time = 1.0 if ratio is None else ratio
    values = {f"time_ms{part}": Quantity(value=time, unit="ms") for part in ("", "_low", "_high")}
    values |= {
        "spread": Quantity(value=0.02, unit="interquartile range / median"),
        "rounds": Quantity(value=50, unit="calls"),
        "harness_overhead_ms": Quantity(value=0.0001, unit="ms"),
    }
    if ratio is not None:
        values |= {f"ratio_to_plain{part}": Quantity(value=ratio, unit="of the plain convolution's time")
                   for part in ("", "_low", "_high")}  # fmt: skip
    return make_record(
        kind="aw_speed",
        variant=method,
        options={},
        settings={
            "device": "cpu", "batch_size": batch_size, "dtype": "float32", "layout": "contiguous",
            "direction": "forward", "device_name": cpu_name(), "threads": 2, "channels": 16, "size": 6, "stride": 1,
        },
        inputs={"source_sha256": "0" * 64, "torch": package_version("torch")},
        values=values,
        environment={"run": run, "executed_as": {"forward": "direct"} if method == "auto" else {}},
        finished=f"2026-01-01T00:00:0{run}.000000Z",
    )  # fmt: skip


def trained(*of: object) -> dict[str, Any]:
    """Environment of a training on a GPU; its weights are of these alone, e.g. of a network, a seed and a value."""
    return {
        "source_sha256": "5" * 64, "torch": "2.14.1", "torchvision": "0.29.1", "training_device": "cuda",
        "device": "GPU A", "weights_sha256": hashlib.sha256(repr(of).encode()).hexdigest(),
    }  # fmt: skip


def training_record(
    variant: str,
    value: float = 50.0,
    seed: int = 0,
    *,
    recipe=None,
    seconds: float = 100.0,
    steps: int = 1000,
    device: str = "GPU A",
    world: int = 1,
    finished: str = "2026-01-01T00:00:01.000000Z",
    **settings,
) -> Record:
    """A training on ImageNet or COCO with default options and the way of `awbench reproduce`, or with changes.

    Args:
        value: its top-1 or AP.
        seconds, steps, world: its train_time, steps or iterations, and processes.
        device: a GPU's name, or "cpu".
    """
    detector = variant.startswith("faster_rcnn")
    recipe = recipe or (load_detection_recipe("detectron2-3x") if detector else
                        load_recipe("cbam", IMAGENET_CHANGES))  # fmt: skip
    values = {
        "images": Quantity(value=5000 if detector else 50_000, unit="images"),
        "train_time": Quantity(value=seconds, unit="s"),
    }
    if detector:
        values |= {"box_ap": Quantity(value=value, unit="AP points"),
                   "iterations": Quantity(value=steps, unit="iterations")}  # fmt: skip
        settings = {"dataset": "coco", "complete": True, "engine": "detectron2", **settings}
        inputs = {"train_sha256": "1", "val_sha256": "0", "backbone_weights_sha256": "1", "engine_version": "0.6"}
    else:
        values |= {"top1": Quantity(value=value, unit="percent"), "steps": Quantity(value=steps, unit="steps")}
        settings = {"dataset": "imagenet", "evaluation": recipe.evaluation.model_dump(mode="json"), **settings}
        inputs = {"train_sha256": "1", "val_sha256": "0", "initial_weights_sha256": "random"}
    settings = {
        "origin": "trained", "recipe": recipe.identity(), "seed": seed, "skip_bad_images": False,
        "protocol": PROTOCOLS["detection" if detector else "accuracy"], **settings,
    }  # fmt: skip
    on = {"training_device": "cpu", "device": "cpu", "cpu": "CPU B"}
    if device != "cpu":
        on = {"training_device": "cuda", "device": device, "cpu": "CPU B"}
    return make_record(
        kind="detection" if detector else "accuracy",
        variant=variant,
        options=describe_options(parse_variant(variant), ModelOptions()),
        settings=settings,
        inputs=inputs,
        values=values,
        environment={**trained(variant, seed, value), **on, "world_size": world},
        finished=finished,
    )


def add_top1(store: RecordStore, variant: str, *top1: float, **changes) -> None:
    """An ImageNet training of each value, with seeds from 0 on.

    `changes` are of its settings, images, options, inputs, environment or finished.
    """
    options = changes.pop("options", describe_options(parse_variant(variant), ModelOptions()))
    environment = make_record().environment | changes.pop("environment", {})
    inputs = {"train_sha256": "1", "val_sha256": "0", "initial_weights_sha256": "random", **changes.pop("inputs", {})}
    for seed, value in enumerate(top1):
        settings = {
            "origin": "trained", "dataset": "imagenet", "recipe": load_recipe("cbam").identity(), "seed": seed,
            "protocol": PROTOCOLS["accuracy"], "evaluation": {"resize": 256, "crop": 224}, **changes,
        }  # fmt: skip
        images = settings.pop("images", 50_000)
        finished = settings.pop("finished", "2026-01-01T00:00:01.000000Z")
        store.add(
            make_record(
                kind="accuracy",
                variant=variant,
                options=options,
                settings=settings,
                inputs=inputs,
                environment=trained(variant, seed, value, settings["dataset"]) | environment,
                values={
                    "top1": Quantity(value=value, unit="percent"),
                    "images": Quantity(value=images, unit="images"),
                },
                finished=finished,
            )
        )


def add_ap(store: RecordStore, variant: str, *box_ap: float) -> None:
    """A COCO training on Detectron2 of each value, with seeds from 0 on."""
    for seed, value in enumerate(box_ap):
        store.add(training_record(variant, value, seed))
