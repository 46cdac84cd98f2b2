"""From a detector to its record: trained, or with given weights; found if it was measured before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.data.coco import DetectionDataset, DetectionSplit, find_detection_dataset, open_detection_split
from awbench.data.pixels import IMAGENET_RGB, Pixels
from awbench.errors import UserError
from awbench.recipes import PROTOCOLS, DetectionRecipe, load_detection_recipe
from awbench.records import Quantity, Record, RecordStore, measurement_key
from awbench.training.job import file_sha256
from awbench.variants import ModelOptions, Variant, describe_options

if TYPE_CHECKING:
    from torch import nn

    from awbench.detection.engine import Detector, Engine
    from awbench.detection.training import Evaluated
    from awbench.models.resnet import ResNet
    from awbench.training.distributed import World
    from awbench.training.sweep import SweepJob


@dataclass(frozen=True)
class DetectionJob:
    """One detector on one dataset.

    Attributes:
        engine: by name; None for Detectron2 where it is installed, else torchvision.
        data: folder of the dataset, None for one that is made.
        recipe: how it is trained; for given weights, how it is evaluated.
        backbone_weights: an ImageNet checkpoint that initialises the backbone.
    """

    variant: Variant
    options: ModelOptions
    engine: str | None
    dataset: str
    data: Path | None
    recipe: DetectionRecipe
    seed: int = 0
    backbone_weights: Path | None = None
    skip_bad_images: bool = False

    def splits(self) -> tuple[DetectionSplit, DetectionSplit]:
        """(train, val), checked.

        Raises:
            UserError: the dataset is at fault, or its splits have different categories.
        """
        train, val = (open_detection_split(self.dataset, self.data, split) for split in ("train", "val"))
        if train.categories != val.categories:
            raise UserError(f"{train.annotations} and {val.annotations} have different categories; give one dataset")
        return train, val

    def demand_weights(self) -> None:
        """Refuse to train a backbone that is frozen at random weights.

        Raises:
            UserError: saying what would be right.
        """
        recipe = self.recipe
        if self.backbone_weights is None and (recipe.norm == "frozen" or recipe.freeze_at):
            raise UserError(
                f"recipe {recipe.name} freezes parts of the backbone, which would stay random: give ImageNet weights "
                f"of {self.variant.backbone} with --init-weights FILE, or --set norm=batch --set freeze_at=0"
            )

    def identity(self, engine: Engine, train: DetectionSplit, val: DetectionSplit) -> dict[str, Any]:
        """What determines the result of a training, in the form of a record's fields."""
        initial = file_sha256(self.backbone_weights) if self.backbone_weights else "random"
        return {
            "kind": "detection",
            "variant": self.variant.name,
            "options": _describe(self.variant, self.options, val),
            "settings": {
                "origin": "trained",
                "engine": engine.name,
                "dataset": self.dataset,
                "complete": train.complete and val.complete,
                "recipe": self.recipe.identity(),
                "seed": self.seed,
                "skip_bad_images": self.skip_bad_images,
                "protocol": PROTOCOLS["detection"],
            },
            "inputs": {
                "engine_version": engine.version(),
                "train_sha256": train.digest,
                "val_sha256": val.digest,
                "backbone_weights_sha256": initial,
            },
        }

    def default_output(self, results: Path, engine: Engine, key: str) -> Path:
        name = f"{self.variant.name}-{engine.name}-{self.dataset}-{self.recipe.name}-seed{self.seed}-{key[:8]}"
        return results / "runs" / name


def _describe(variant: Variant, options: ModelOptions, split: DetectionSplit) -> dict[str, Any]:
    """`describe_options`, with the dataset's categories for the classifier's classes."""
    if options.num_classes is not None:
        raise UserError(f"num_classes is {options.num_classes}; a detector's classes are its dataset's categories")
    return describe_options(variant, dataclasses.replace(options, num_classes=len(split.categories)))


def plan_detection_sweep(
    variants: Sequence[Variant],
    seeds: Sequence[int],
    recipe: str,
    dataset: str,
    data: Path | None,
    results: Path,
    *,
    engine: str | None = None,
    changes: Sequence[str] = (),
    backbone_weights: Mapping[str, Path] | None = None,
    extra: Sequence[str] = (),
) -> list[SweepJob]:
    """The runs of a grid of detectors, seeds outermost; `awbench.training.sweep.run_sweep` runs them.

    Args:
        engine: by name, None as in DetectionJob.
        changes: values of the recipe, changed as with `--set`.
        backbone_weights: name of a backbone -> its ImageNet weights; those without begin from random weights.
        extra: further words for `awbench train`, that do not change a result.

    Raises:
        UserError: the engine is not installed, the recipe does not exist, or the dataset is at fault.
    """
    from awbench.detection.engine import find_engine
    from awbench.training.sweep import SweepJob

    found = find_engine(engine)
    loaded = load_detection_recipe(recipe, changes)
    splits: tuple[DetectionSplit, DetectionSplit] | None = None
    jobs = []
    for seed in seeds:
        for variant in variants:
            weights = (backbone_weights or {}).get(variant.backbone)
            job = DetectionJob(variant, ModelOptions(), found.name, dataset, data, loaded, seed, weights)
            job.demand_weights()
            splits = splits or job.splits()
            key = measurement_key(**job.identity(found, *splits))
            words = ["train", variant.name, "--engine", found.name, "--dataset", dataset, "--recipe", recipe]
            words += ["--seed", str(seed), *(["--data", str(data)] if data else [])]
            words += ["--init-weights", str(weights)] if weights else []
            words += [word for change in changes for word in ("--set", change)]
            words += ["--results", str(results), "--resume", *extra]
            name = f"{variant.name} {found.name} {recipe} seed {seed}"
            output = job.default_output(results, found, key)
            jobs.append(SweepJob(name, "detection", variant.name, key, tuple(words), output))
    return jobs


def train_detector(
    job: DetectionJob,
    store: RecordStore,
    output: Path | None = None,
    *,
    device: str = "auto",
    resume: bool = False,
    workers: int = 0,
    checkpoint_seconds: float = 600.0,
    deterministic: bool | None = None,
    aw_strategy: str = "auto",
    watch: Callable[[Any], None] = lambda progress: None,
) -> tuple[Record, bool]:
    """Train, evaluate, record; or find the record.

    Args and Returns: as `awbench.training.job.train_job`.

    Raises:
        UserError: the engine is not installed, the data, the weights or the recipe is at fault.
        BusyError, Preempted, OSError: as `awbench.training.job.train_job`.
    """
    from awbench.attention.aw_convolution import set_strategy
    from awbench.detection.engine import find_engine
    from awbench.detection.training import DetectionRun, DetectionTask
    from awbench.training.loop import Loop, seed_weights
    from awbench.training.recorded import Outcome, recorded_run

    engine = find_engine(job.engine)
    job.demand_weights()
    dataset, (train_split, val_split) = find_detection_dataset(job.dataset), job.splits()
    identity = job.identity(engine, train_split, val_split)
    output = output or job.default_output(store.results, engine, measurement_key(**identity))

    def work(world: World) -> Outcome:
        seed_weights(job.seed)
        model, detector, notes = build_detector(job, engine, val_split)
        set_strategy(model, aw_strategy)
        run = DetectionRun(
            settings=identity,
            seed=job.seed,
            output=output,
            workers=workers,
            checkpoint_seconds=checkpoint_seconds,
            deterministic=world.device.type == "cpu" if deterministic is None else deterministic,
            engine=engine,
            detector=detector,
            recipe=job.recipe,
            train=train_split,
            val=val_split,
            skip_bad_images=job.skip_bad_images,
        )
        finished = Loop(DetectionTask(run, model, world), run, world, watch).run_to_the_end(resume)
        state = finished.state
        bad = dict.fromkeys([*world.gather(state.bad_images), *finished.result.bad])
        values = ap_values(finished.result)
        values["iterations"] = Quantity(value=state.step, unit="iterations")
        values["train_time"] = Quantity(value=state.seconds, unit="s")
        values["train_time_per_iteration"] = Quantity(value=state.seconds / state.step, unit="s/iteration")
        values |= peak_memory(world)
        return Outcome(
            values=values,
            notes=[*_notes(dataset, train_split, val_split), *notes, *(f"left out: {message}" for message in bad)],
            model=model,
            metadata={"pixels": json.dumps(dataclasses.asdict(detector.pixels))},
        )

    return recorded_run(identity, store, output, device, work)


def evaluate_detector(
    job: DetectionJob,
    weights: Path,
    store: RecordStore,
    device: str = "auto",
    workers: int = 0,
    force: bool = False,
) -> tuple[Record, bool]:
    """Evaluate a detector's weights and record its AP, or find the record.

    Args:
        weights: a file of ours, or of the engine's library.

    Returns:
        (record, whether it was evaluated now).

    Raises:
        UserError: the engine is not installed, the weights do not fit or cannot be read, or the data is at fault.
    """
    from awbench.detection.engine import find_engine
    from awbench.detection.training import evaluate
    from awbench.detection.weights import load_detector_weights
    from awbench.records.clock import now
    from awbench.records.environment import environment
    from awbench.training.distributed import join_world

    engine, dataset = find_engine(job.engine), find_detection_dataset(job.dataset)
    split = open_detection_split(job.dataset, job.data, "val")
    recipe = job.recipe
    identity: dict[str, Any] = {
        "kind": "detection",
        "variant": job.variant.name,
        "options": _describe(job.variant, job.options, split),
        "settings": {
            "origin": "weights",
            "engine": engine.name,
            "dataset": job.dataset,
            "complete": split.complete,
            "weights": weights.name,
            "input": recipe.input.model_dump(mode="json"),
            "sampling": recipe.sampling.model_dump(mode="json"),
            "norm": recipe.norm,
            "precision": recipe.precision,
            "skip_bad_images": job.skip_bad_images,
            "protocol": PROTOCOLS["detection"],
        },
        "inputs": {
            "engine_version": engine.version(),
            "weights_sha256": file_sha256(weights),
            "val_sha256": split.digest,
        },
    }
    found = store.find("detection", job.variant.name, measurement_key(**identity))
    if found is not None and not force:
        return found, False
    model, detector, loaded = _build(
        job, engine, split, lambda model, body: load_detector_weights(model, body, weights)
    )
    started = now()
    with join_world(device) as world:
        model.to(world.device)
        result = evaluate(model, engine, detector, recipe, split, world, workers, job.skip_bad_images)
        record = Record(
            **identity,
            values=ap_values(result),
            notes=[*_notes(dataset, split), *loaded.notes, *(f"left out: {message}" for message in result.bad)],
            environment={**environment(), "world_size": world.size},
            started=started,
            finished=now(),
        )
        if world.is_main:
            store.add(record)
    return record, True


def build_detector(job: DetectionJob, engine: Engine, split: DetectionSplit) -> tuple[nn.Module, Detector, list[str]]:
    """(the network, what it is, what a reader must know of its initial weights).

    Raises:
        UserError: the backbone's weights do not fit or cannot be read.
    """
    from awbench.models.weights import load_backbone_weights

    path = job.backbone_weights
    if path is None:
        model, detector, _ = _build(job, engine, split, lambda model, body: None)
        return model, detector, []
    model, detector, loaded = _build(job, engine, split, lambda model, body: load_backbone_weights(body, path))
    return model, detector, [f"backbone from {path.name}, layout {loaded.layout}", *loaded.notes]


def _build(
    job: DetectionJob, engine: Engine, split: DetectionSplit, load: Callable[[nn.Module, ResNet], Any]
) -> tuple[nn.Module, Detector, Any]:
    """(network, detector, what `load` gave), for the pixels that the loaded weights expect."""
    from awbench.detection.engine import Detector

    recipe, pixels = job.recipe, IMAGENET_RGB
    while True:
        detector = Detector(
            job.variant, job.options, tuple(split.categories), pixels, recipe.norm, recipe.freeze_at, recipe.sampling
        )
        model, body = engine.build(detector)
        model.variant, model.options = job.variant, job.options  # type: ignore[assignment]  # what a file of it says
        loaded = load(model, body)
        expected: Pixels = loaded.pixels if loaded else pixels
        if expected == pixels:
            return model, detector, loaded
        pixels = expected  # their mean and order are part of the network that the engine builds


def _notes(dataset: DetectionDataset, *splits: DetectionSplit) -> list[str]:
    notes = [splits[-1].description, *([dataset.proxy] if dataset.proxy else [])]
    return notes + [f"{split.description}: {note}" for split in splits for note in split.notes]


def ap_values(evaluated: Evaluated) -> dict[str, Quantity]:
    """The values of a detection record; those of objects that the ground truth lacks are left out."""
    from awbench.detection.training import ap_points

    result = evaluated.average_precision
    values = ap_points(result) | {f"box_ap.{name}": value for name, value in result.by_category.items()}
    quantities = {name: Quantity(value=value, unit="AP points") for name, value in values.items() if value is not None}
    left_out = Quantity(value=len(evaluated.bad), unit="images")
    return {**quantities, "images": Quantity(value=result.images, unit="images"), "images_left_out": left_out}


def peak_memory(world: World) -> dict[str, Quantity]:
    """Of the device that trained, where it is a GPU."""
    import torch

    if world.device.type != "cuda":
        return {}
    return {"peak_memory": Quantity(value=torch.cuda.max_memory_allocated(world.device), unit="bytes")}
