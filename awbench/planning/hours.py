"""What a run of a study costs, in hours of one device, and how well that is known."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from awbench.errors import UserError
from awbench.planning.throughput import Throughput, without_classes
from awbench.records import Record, Records
from awbench.studies import Study
from awbench.variants import classification_name, describe_options, make_options, parse_variant
from awbench.verdicts.latency import is_too_noisy
from awbench.verdicts.protocol import has_default_options

# Datasets on whose images a step costs the same.
_ALIKE = {"fake": "imagenet", "cifar100": "cifar10"}
# What of a recipe decides the cost of an image, beside the network: never another, and only for want of a better one.
_SAME, _SIMILAR = ("size", "input", "sampling", "norm", "freeze_at"), ("precision", "channels_last")
GIVEN = "your device"
_RATIO = "ratio_to_plain"


@dataclass(frozen=True)
class RunHours:
    """Of one training run.

    Attributes:
        hours: of one device; None where no number is known at all.
        known: "" for a number of this very network, "about" for one that was scaled, "at least" for the number of a
            network that costs less.
        device: that trained it.
        origin: of the number, in words; "" where it is a sum. Without a number, what would give one.
        apart: of a sum over several devices, whose hours do not add up, that of each; the sum itself has no number.
    """

    hours: float | None = None
    known: str = ""
    device: str = ""
    origin: str = ""
    apart: tuple[RunHours, ...] = ()


@dataclass(frozen=True)
class Hours:
    """Finds hours.

    Attributes:
        timed: trainings. records: for ratios of latency.
        asked: a part of the name of the device; "" for the one that fits best.
        images_per_s, gpu_hours: given, by network.
    """

    timed: Sequence[Throughput]
    records: Records
    asked: str = ""
    images_per_s: Mapping[str, float] = field(default_factory=dict)
    gpu_hours: Mapping[str, float] = field(default_factory=dict)

    def require_device(self) -> None:
        """Raises: UserError: nothing was timed on what is asked for."""
        if self.asked and not any(map(self._is_asked, self.timed)):
            have = ", ".join(dict.fromkeys(timed.device for timed in self.timed)) or "none"
            raise UserError(f"--device {self.asked}: no training was timed on it; those that have numbers: {have}")

    def of_study(self, study: Study) -> dict[str, RunHours]:
        """A run of each network: once one of them is given for a device, all are of that device, or unknown."""
        names = {name for label in study.labels for name, _ in _candidates(study, label)}
        if (self.gpu_hours.keys() | self.images_per_s.keys()) & {*names, *study.labels}:
            return {
                label: replace(found, origin=f"--images-per-second {label}=N") if found.hours is None else found
                for label in study.labels
                for found in [self._of(study, label, [])]
            }
        fitting = [timed for timed in self.timed if timed.variant in names and _fits(timed, study)]
        # The device asked for, else a GPU, of the same settings, the newest; then others, for want of a number.
        fitting.sort(key=lambda timed: timed.measured, reverse=True)
        fitting.sort(key=lambda timed: (not self._is_asked(timed), timed.on_cpu, bool(_differences(timed, study))))
        return {label: self._of(study, label, fitting) for label in study.labels}

    def _is_asked(self, timed: Throughput) -> bool:
        return bool(self.asked) and self.asked.lower() in timed.device.lower()

    def _of(self, study: Study, label: str, fitting: Sequence[Throughput]) -> RunHours:
        if given := self._given(label, study):
            return given
        own, *others = _candidates(study, label)
        for device in dict.fromkeys(timed.device for timed in fitting) or [""]:
            on_device = [timed for timed in fitting if timed.device == device]
            if found := _timed(study, *own, on_device):
                return found
            for name, options in others:
                if found := self._given(name, study) or _timed(study, name, options, on_device):
                    return self._scaled(found, own[0], name)
        return RunHours()

    def _given(self, name: str, study: Study) -> RunHours | None:
        if name in self.gpu_hours:
            return RunHours(self.gpu_hours[name], "", GIVEN, f"given with --gpu-hours {name}")
        if name in self.images_per_s:
            hours = images_of_run(study) / self.images_per_s[name] / 3600
            return RunHours(hours, "", GIVEN, f"given with --images-per-second {name}={self.images_per_s[name]:g}")
        return None

    def _scaled(self, found: RunHours, network: str, base: str) -> RunHours:
        """The hours of a network from those of one that it adds attention to, or of itself with other options."""
        if network == base:
            return replace(found, known="about", origin=f"with default options: {found.origin}")
        kind = "cpu" if found.device.startswith("cpu: ") else "cuda"
        latencies = [latency for latency in self._latencies if latency.settings.json_object["device"] == kind]
        of_base = {repr(latency.settings): latency.value(_RATIO) for latency in latencies if latency.variant == base}
        if parse_variant(base).plain == base:
            of_base = {repr(latency.settings): 1 for latency in latencies}
        fitting = [
            latency
            for latency in latencies
            if latency.variant == network and of_base.get(repr(latency.settings)) and not is_too_noisy(latency)
        ]
        if not fitting or found.hours is None:
            return replace(found, known="at least", origin=f"{base}'s: {found.origin}")
        best = max(fitting, key=lambda one: _batch_on(one, found.device))
        settings, factor = best.settings.json_object, best.value(_RATIO) / of_base[repr(best.settings)]
        origin = f"{base}'s x {factor:.2f} (latency on {settings['device_name']}, batch {settings['batch_size']})"
        return replace(found, hours=found.hours * factor, known="about", origin=f"{origin}: {found.origin}")

    @functools.cached_property
    def _latencies(self) -> list[Record]:
        return [record for record in self.records.of_kind("latency") if has_default_options(record)]


def _batch_on(record: Record, device: str) -> tuple[bool, int, str]:
    """To prefer a latency by: of that very device, then of large batches, then the newest."""
    settings = record.settings.json_object
    return settings["device_name"] == device.removeprefix("cpu: "), settings["batch_size"], record.finished


def _timed(study: Study, name: str, options: Mapping[str, Any], on_device: Sequence[Throughput]) -> RunHours | None:
    """Of the same settings before others, a record before a source, the dataset's own images, the newest."""
    fitting = [timed for timed in on_device if timed.variant == name and timed.options == options]
    if not fitting:
        return None
    best = max(fitting, key=lambda timed: (timed.measured != "", timed.dataset == study.dataset, timed.measured))
    best = min([best, *fitting], key=lambda timed: len(_differences(timed, study)))
    hours, others = best.seconds_per_image * images_of_run(study) / 3600, _differences(best, study)
    return RunHours(hours, "about" if others else "", best.device, "; but ".join([best.origin, *others]))


def _candidates(study: Study, label: str) -> list[tuple[str, dict[str, Any]]]:
    """(variant, options) whose hours are a network's: its own, then of networks that cost less, the dearest first."""
    variant = study.variant_of(label)
    defaults = make_options(stride_placement=study.stride_placement)
    without_aw = classification_name(variant.architecture_name, variant.attention, None)
    names = [variant.name, variant.name.replace(variant.backbone, without_aw), variant.plain]
    own = (variant.name, without_classes(describe_options(variant, study.options_of(label))))
    below = [(name, without_classes(describe_options(parse_variant(name), defaults))) for name in names]
    return [own, *(candidate for candidate in below if candidate != own)]


def images_of_run(study: Study) -> int:
    """Training images that a run computes, each as often as it does."""
    recipe = study.resolved_recipe.identity()
    if study.task == "detection":
        return int(recipe["iterations"] * recipe["batch_size"])
    return int(recipe["epochs"]) * study.facts.train_images


def _fits(timed: Throughput, study: Study) -> bool:
    datasets = [_ALIKE.get(name, name) for name in (timed.dataset, study.dataset)]
    engines = {timed.engine, study.engine} - {""}
    return datasets[0] == datasets[1] and len(engines) < 2 and not _differences(timed, study, _SAME)


def _differences(timed: Throughput, study: Study, names: Iterable[str] = _SIMILAR) -> list[str]:
    """In what it was trained otherwise, e.g. "precision float32, not bfloat16"; of what a source says."""
    own, wanted = (
        {**recipe, **recipe.get("augmentation", {})} for recipe in (timed.recipe, study.resolved_recipe.identity())
    )
    return [f"{name} {own[name]}, not {wanted[name]}" for name in names if name in own and own[name] != wanted[name]]
