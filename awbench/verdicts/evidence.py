"""Which runs of a study are evidence, by the study's file alone; every other is left aside with a reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from awbench.modules import INPUT, modules
from awbench.recipes import PROTOCOLS, Recipe
from awbench.records import Record, Records
from awbench.records.settings import DetectorTraining, Training
from awbench.studies import GIVEN, Study
from awbench.verdicts.imported import imported_runs, seed_of
from awbench.verdicts.runs import first_to_last, impossible

# What must be the same in all runs of a study: versions of the code that trains, where it ran, and the data.
PLATFORM = {
    "source_sha256": "modelling code", "torch": "torch", "torchvision": "torchvision", "device": "device",
    "engine": "engine",
    "train_sha256": "training images", "val_sha256": "validation images", "num_classes": "number of classes",
}  # fmt: skip
_UNKNOWN = "unknown"
# Settings that a reason here is about, or that change no result where nothing was left out.
_SETTINGS = {
    "origin", "dataset", "recipe", "evaluation", "engine", "complete", "seed", "skip_bad_images", "protocol",
}  # fmt: skip


@dataclass(frozen=True)
class LeftAside:
    """A run that does not count, and why."""

    record: Record
    reason: str


@dataclass(frozen=True)
class Evidence:
    """The runs of a study.

    Attributes:
        runs: of each network, by its label, those with seeds 0, 1, 2, ... without a gap.
        left_aside: runs on the study's dataset, of its networks, that do not count.
        platform: what all runs must have in common, by its name in `PLATFORM`; empty before the first.
    """

    study: Study
    runs: Mapping[str, tuple[Record, ...]]
    left_aside: tuple[LeftAside, ...] = field(default=())
    platform: Mapping[str, str] = field(default_factory=dict)


def gather_evidence(study: Study, records: Records) -> Evidence:
    """The runs that count for a study.

    Of a seed the run that was finished first counts, whatever came after it, and weights count once; all must have been
    made on the platform of the study's first own run, else of the first of the study that it shares runs with. Imported
    ones come last. Nothing here depends on what a run has measured, but that it can be.
    """
    backbones = _backbones(study, records)
    found: dict[str, dict[int, Record]] = {label: {} for label in study.labels}
    weights: set[str] = set()
    left_aside: list[LeftAside] = []
    oldest_first = [
        (label, record, next(_reasons(study, label, record, backbones), ""))
        for record in first_to_last(records.of_kind(study.kind))
        if isinstance(record.settings, Training) and record.settings.dataset == study.dataset
        if (label := _label(study, record)) is not None
    ]
    platform, modules = _first_platform(study, [record for _, record, reason in oldest_first if not reason])
    for label, record, reason in oldest_first:
        assert isinstance(record.settings, Training)
        reason = reason or other_platform(record, platform) or _other_module(record, modules)
        if not reason and record.settings.seed in found[label]:
            reason = f"seed {record.settings.seed} was recorded before"
        if not reason and trained_weights(record) in weights:
            reason = "its weights are those of a run recorded before"
        if reason:
            left_aside.append(LeftAside(record, reason))
            continue
        found[label][record.settings.seed] = record
        weights.add(trained_weights(record))
    for label, record, reason in imported_runs(study, records):
        seed = seed_of(record)
        if not reason and seed in found[label]:
            reason = f"seed {seed} was recorded before"
        if reason:
            left_aside.append(LeftAside(record, reason))
        else:
            found[label][seed] = record
    runs = {}
    for label, by_seed in found.items():
        gap = next(seed for seed in range(len(by_seed) + 1) if seed not in by_seed)
        runs[label] = tuple(by_seed[seed] for seed in range(gap))
        left_aside += [
            LeftAside(record, f"waits for seed {gap}") for seed, record in sorted(by_seed.items()) if seed > gap
        ]
    return Evidence(study, runs, tuple(left_aside), platform)


def _first_platform(study: Study, records: Iterable[Record]) -> tuple[dict[str, str], dict[str, str]]:
    """(platform, modules from outside) of the first of them; the study's own come before those that it shares."""
    platform, modules = dict[str, str](), dict[str, str]()
    for record in sorted(records, key=lambda run: study.shared is not None and run.study[0] == study.shared.name):
        platform = platform or platform_of(record)
        if not other_platform(record, platform):
            modules = {**_modules(record), **modules}
    return platform, modules


def _label(study: Study, record: Record) -> str | None:
    """The network of a record: the one with its options, else any of its variant, for a reason to be given."""
    labels = study.labels_of.get(record.variant, ())
    return next((label for label in labels if not _other_options(study, label, record)), labels[0] if labels else None)


def _other_options(study: Study, label: str, record: Record) -> str:
    wanted = study.described_options[label] | {"num_classes": study.facts.classes or record.options["num_classes"]}
    found = dict(record.options)
    attention = study.variant_of(label).attention
    if attention and "attention" in found:  # records of before may have options at their defaults
        found["attention"] = modules("after_norm")[attention].changed(found["attention"])
    return "" if found == wanted else difference(found, wanted)


def _reasons(study: Study, label: str, record: Record, backbones: Mapping[tuple[str, int], str]) -> Iterator[str]:
    """Why a training on the study's dataset does not count, the first reason first."""
    settings = record.settings
    assert isinstance(settings, Training)
    if other := _other_options(study, label, record):
        name, _ = record.study
        yield f"made for study {name}" if name and name not in study.designs else f"options: {other}"
    wanted = study.recipe_identity
    if settings.recipe.json_object != wanted:
        yield f"recipe: {difference(settings.recipe.json_object, wanted)}"
    if settings.protocol != PROTOCOLS[study.kind]:
        yield f"protocol {settings.protocol} of the training code, now {PROTOCOLS[study.kind]}"
    evaluation = settings.json_object.get("evaluation")
    if study.task == "classification" and evaluation != wanted["evaluation"]:
        yield f"evaluation: {difference(evaluation or {}, wanted['evaluation'])}"
    if study.engine and settings.json_object.get("engine") != study.engine:
        yield f"engine {settings.json_object.get('engine')}, the study has {study.engine}"
    for name in sorted(settings.json_object.keys() - _SETTINGS):
        yield f"settings: {name} is not known to this version"
    yield from _data_reasons(study, record)
    yield from _weights_reasons(study, label, record, backbones)
    yield from impossible(record, study.metric)
    yield from _design_reasons(study, label, record)
    yield from unknown_platform(record)
    for module in study.variant_of(label).modules:
        if module.is_external and f"{INPUT}{module.name}_sha256" not in record.inputs:
            yield f"the code of module {module.name} is unknown"


def trained_weights(record: Record) -> str:
    """sha256 of the weights that a training left; "" where its record does not say."""
    return str(record.environment.get("weights_sha256") or "")


def unknown_platform(record: Record) -> Iterator[str]:
    """What is not known of a training that must be the same in all that are compared."""
    for name, value in platform_of(record).items():
        if value == _UNKNOWN:
            yield f"{PLATFORM[name]} is unknown"
    if not trained_weights(record):
        yield "what weights it left is unknown"


def _data_reasons(study: Study, record: Record) -> Iterator[str]:
    facts, images = study.facts, record.values.get("images")
    if images is None or images.value != facts.val_images:
        count = shown_count(images.value if images else None)
        yield f"evaluated on {count} of {facts.val_images:,} images"
    train_images = record.environment.get("train_images")
    if facts.train_sha256:
        if record.inputs.get("train_sha256") != facts.train_sha256:
            yield "trained on other images"
    elif train_images != facts.train_images:
        count = shown_count(train_images)
        yield f"trained on {count} of {facts.train_images:,} images"
    if facts.val_sha256 and record.inputs.get("val_sha256") != facts.val_sha256:
        yield "evaluated on other images"
    yield from trained_on_validation_images(record)
    yield from _steps_reasons(study, record)
    if left_out := images_left_out(record):
        yield f"{left_out} images could not be decoded and were left out"
    if isinstance(record.settings, DetectorTraining) and not record.settings.complete and not facts.proxy:
        yield "not the complete dataset"


def trained_on_validation_images(record: Record) -> Iterator[str]:
    if record.inputs.get("train_sha256", _UNKNOWN) == record.inputs.get("val_sha256") != _UNKNOWN:
        yield "evaluated on the images that it was trained on"


def _steps_reasons(study: Study, record: Record) -> Iterator[str]:
    recipe, name = study.resolved_recipe, "steps" if study.task == "classification" else "iterations"
    wanted = (
        recipe.epochs * (study.facts.train_images // recipe.batch_size)
        if isinstance(recipe, Recipe)
        else recipe.iterations
    )
    found = record.values.get(name)
    if found is None or found.value != wanted:
        yield f"trained for {shown_count(found.value if found else None)} of {wanted:,} {name}"


def shown_count(count: Any) -> str:
    """E.g. "1,000", for a sentence about images; what a record says of them may be anything."""
    return f"{count:,}" if type(count) in (int, float) else "an unknown number"


def images_left_out(record: Record) -> int:
    """How many images could not be decoded, of those that it was trained or evaluated on."""
    noted = sum(note.startswith("left out: ") for note in record.notes)
    counted = record.values.get("images_left_out")
    return max(noted, math.ceil(abs(counted.value)) if counted else 0)


def _weights_reasons(
    study: Study, label: str, record: Record, backbones: Mapping[tuple[str, int], str]
) -> Iterator[str]:
    assert isinstance(record.settings, Training)
    name = "backbone_weights_sha256" if study.task == "detection" else "initial_weights_sha256"
    initial = record.inputs.get(name, _UNKNOWN)
    if initial == _UNKNOWN:
        yield "what weights it began from is unknown"
    if study.init_weights:
        if initial != study.init_weights:
            yield f"began from weights {initial[:12]}, the study's are {study.init_weights[:12]}"
        return
    if study.backbones in ("", GIVEN):
        if (initial == "random") == (study.backbones == GIVEN):
            yield "began from random weights" if initial == "random" else "began from given weights"
        return
    wanted = backbones.get((study.backbone_of(label), record.settings.seed))
    if wanted is None:
        yield f"study {study.backbones} has no run of its backbone with seed {record.settings.seed} that counts"
    elif initial != wanted:
        yield f"its backbone is not the run with seed {record.settings.seed} of study {study.backbones}"


def _design_reasons(study: Study, label: str, record: Record) -> Iterator[str]:
    assert isinstance(record.settings, Training)
    name, found = record.study
    wanted = study.designs.get(name)
    if wanted is None:
        yield f"not made by the study (awbench study run {study.argument})"
    elif found != wanted:
        whose = "the study" if name == study.name else f"study {name}"
        yield f"{whose}'s design was changed since ({found[:12]}, now {wanted[:12]})"
    if study.purpose == "confirmatory" and name != study.name and label in study.treated:
        yield f"made for study {name}; what a confirmatory study asks about, it runs itself"
    if not 0 <= record.settings.seed < study.runs_of(label):
        if study.shared and name == study.shared.name:
            yield f"a further seed of study {name}"
        yield f"seed {record.settings.seed} is not one of the study's {study.runs_of(label)}"


def _backbones(study: Study, records: Records) -> dict[tuple[str, int], str]:
    """(network of the study of backbones, seed) -> sha256 of the weights that it trained, where that is known."""
    if study.backbone_study is None:
        return {}
    return {
        (label, seed): str(run.environment["weights_sha256"])
        for label, runs in gather_evidence(study.backbone_study, records).runs.items()
        for seed, run in enumerate(runs)
        if "weights_sha256" in run.environment
    }


def platform_of(record: Record) -> dict[str, str]:
    """What a training must have in common with those that it is compared with, by its name in `PLATFORM`."""
    stated = {**record.environment, **record.inputs, "num_classes": record.options["num_classes"]}
    trained_on = stated.get("training_device")
    if trained_on != "cuda":  # "cpu" is any model: how it rounds is part of the run-to-run deviation
        stated["device"] = trained_on if trained_on == "cpu" else _UNKNOWN
    values = {name: str(stated.get(name) or _UNKNOWN) for name in PLATFORM if name != "engine"}
    if isinstance(record.settings, DetectorTraining):
        version = record.inputs.get("engine_version")
        values["engine"] = f"{record.settings.engine} {version}" if version else _UNKNOWN
    return values


def other_platform(record: Record, platform: Mapping[str, str], first: str = "the study's first run") -> str:
    """In what a training's platform is not that of the first run, which `first` names, in words; "" where it is."""
    own = platform_of(record)
    other = [name for name in own if own[name] != platform[name]]
    shown = [f"{PLATFORM[name]} {own[name][:40]}, {first} has {platform[name][:40]}" for name in other]
    return "; ".join(shown)


def _modules(record: Record) -> dict[str, str]:
    """Code and version of the modules from outside that it has."""
    return {name: value for name, value in record.inputs.items() if name.startswith(INPUT)}


def _other_module(record: Record, modules: Mapping[str, str]) -> str:
    """Why a run does not count whose module from outside is not the one of the study's first run with it."""
    for name, value in _modules(record).items():
        if modules.get(name, value) != value:
            module, _, what = name.removeprefix(INPUT).rpartition("_")
            what = {"sha256": "code"}.get(what, what)
            return f"{what} of module {module} is {value[:40]}, the study's first run has {modules[name][:40]}"
    return ""


def difference(found: Any, wanted: Any, section: str = "") -> str:
    """In what two JSON objects differ, in words: "epochs is 1, not 90; reduction is 4 and should not be set"."""
    shown = []
    for name in dict.fromkeys([*wanted, *found]):
        own, other = found.get(name), wanted.get(name)
        if own == other:
            continue
        if name not in wanted:
            shown.append(f"{section}{name} is {own} and should not be set")
        elif name not in found:
            shown.append(f"{section}{name} is not set and should be {other}")
        elif isinstance(own, dict) and isinstance(other, dict):
            shown.append(difference(own, other, f"{section}{name}."))
        else:
            shown.append(f"{section}{name} is {own}, not {other}")
    return "; ".join(shown)
