"""The counts of networks, from records: what each costs under a stride placement and a convention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from awbench.records import Record
from awbench.records.environment import complexity_source_digest
from awbench.records.settings import Counting
from awbench.reference.conventions import ComplexityConvention, Layer
from awbench.variants import ModelOptions, Variant, list_variants
from awbench.verdicts.protocol import default_options

_COCO_CATEGORIES = 80  # for which detectors are counted
_FROZEN_STAGES = 1  # of detectors, beside the stem, as both model zoos train
EXPANSION = {"basic": 1, "bottleneck": 4}
REDUCTION = 16


@dataclass(frozen=True)
class CountedNetwork:
    """The counts of one network by name, and the key of the record that holds them."""

    values: Mapping[str, int]
    record: str = ""

    def operations(self, layers: Mapping[Layer, int], operation: str) -> int | None:
        """Operations of one pass under a convention, see `ComplexityConvention`; None where not all were counted."""
        if any(layer not in ("convolution", "linear") and f"elements.{layer}" not in self.values for layer in layers):
            return None
        total = layers["convolution"] * self.values["macs"] * (2 if operation == "flop" else 1)
        for layer, weight in layers.items():
            if layer not in ("convolution", "linear"):
                total += weight * self.values[f"elements.{layer}"]
        return total

    def elementwise(self, variant: Variant) -> int | None:
        """Multiplications that form AK, and by which attention modules scale activations; none are among the MACs.

        None where the record is of a version that did not count the latter.
        """
        scaling = self.values.get("attention_scaling", None if variant.attention else 0)
        return None if scaling is None else self.values["aw_kernel_forming"] + scaling

    def parameters(self, variant: Variant, metric: str, convention: ComplexityConvention) -> int | None:
        """Parameters or trainable parameters under a convention, from those of the network as it is built here."""
        counted = self.values.get(metric)
        if counted is None:
            return None
        first_stage = _FROZEN_STAGES if metric == "trainable_params" else 0
        if not convention.attention_biases:
            counted -= attention_biases(variant, first_stage)
        if convention.norms_trained and metric == "trainable_params":
            counted += norm_parameters(variant, first_stage)
        return counted


def attention_biases(variant: Variant, first_stage: int = 0) -> int:
    """Biases of both fully connected layers of every SE or CBAM, from a stage on."""
    if variant.attention not in ("se", "cbam"):
        return 0
    architecture = variant.architecture
    biases = []
    for blocks, width in zip(architecture.blocks_per_stage, architecture.widths, strict=True):
        c = width * EXPANSION[architecture.block]
        biases.append(blocks * (c + max(1, c // REDUCTION)))
    return sum(biases[first_stage:])


def norm_parameters(variant: Variant, first_stage: int = 0) -> int:
    """Scales and shifts of the norms of a network's bottlenecks and projection shortcuts, from a stage on."""
    architecture = variant.architecture
    channels = []
    for stage, blocks in enumerate(architecture.blocks_per_stage):
        inner, outer = architecture.inner_width(stage), architecture.widths[stage] * EXPANSION[architecture.block]
        of_block = 2 * inner + outer if architecture.block == "bottleneck" else 2 * outer
        channels.append(blocks * of_block + (outer if stage or architecture.block == "bottleneck" else 0))
    return 2 * sum(channels[first_stage:])


@dataclass(frozen=True)
class Setting:
    """What a network is counted at: pixels a side, or (height, width) and more for a detector.

    Attributes:
        modules: options of its attention modules that are not the default ones, see `describe_modules`.
    """

    stride_placement: str
    image_size: int | tuple[int, int]
    engine: str = ""
    proposals: int = 0
    modules: str = ""


class ComplexityIndex:
    """Complexity records of the grid: those of the present source before others, the newest first.

    Options are the default ones but for stride placement and those of an attention module on activations.
    Records of networks that this version does not know (another branch's, say) stand for nothing here.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        present = complexity_source_digest()
        known = {variant.name: variant for variant in list_variants()}
        self._by_setting: dict[tuple[str, Setting], CountedNetwork] = {}
        self._detectors: dict[tuple[str, str], CountedNetwork] = {}
        for record in sorted(records, key=lambda r: r.inputs.get("source_sha256") == present):  # else as recorded
            variant = known.get(record.variant)
            if variant is None or not isinstance(record.settings, Counting) or not _is_default(record, variant):
                continue
            setting, counts = _setting(record, variant), _counts(record)
            self._by_setting[variant.name, setting] = counts
            if setting.engine and not setting.modules:
                self._detectors[variant.name, setting.engine] = counts

    def get(self, variant: str, stride_placement: str, image_size: int, modules: str = "") -> CountedNetwork | None:
        """A classifier's counts."""
        return self._by_setting.get((variant, Setting(stride_placement, image_size, modules=modules)))

    def get_detector(self, variant: str, setting: Setting) -> CountedNetwork | None:
        """A detector's counts at a setting."""
        return self._by_setting.get((variant, setting))

    def parameters_of(self, variant: str, engine: str) -> CountedNetwork | None:
        """A detector's counts at any image size: its parameters do not depend on it."""
        return self._detectors.get((variant, engine))


def counts_with_options(
    records: Iterable[Record], variant: str, options: Mapping[str, Any], image_size: int
) -> CountedNetwork | None:
    """The newest counts of a classifier that was built with options, whatever its number of classes.

    Args:
        options: as `awbench.variants.describe_options` gives them.
    """
    wanted = {**options, "num_classes": None}
    found = [
        record
        for record in records
        if record.variant == variant
        and isinstance(record.settings, Counting)
        and record.settings.image_size == image_size
        and {**record.options, "num_classes": None} == wanted
    ]
    return _counts(found[-1]) if found else None


def _counts(record: Record) -> CountedNetwork:
    return CountedNetwork({name: int(quantity.value) for name, quantity in record.values.items()}, record.key)


def _is_default(record: Record, variant: Variant) -> bool:
    """Whether the network has default options but for its stride placement and its attention module's."""
    classes = _COCO_CATEGORIES if variant.task == "detection" else None
    options = ModelOptions(stride_placement=record.options["stride_placement"], num_classes=classes)
    default = default_options(variant.name, options)
    of_modules = {"attention": None, "convolution": None}
    return {**record.options, **of_modules} == {**default, **of_modules}


def describe_modules(attention: Mapping[str, Any], convolution: Mapping[str, Any]) -> str:
    """E.g. "released=resnet50", or "/kernels=4" of a module in place of convolutions; "" for default options."""
    shown = [",".join(f"{name}={value}" for name, value in sorted(of.items())) for of in (attention, convolution)]
    return "/".join(shown) if shown[1] else shown[0]


def _convolution_options(record: Record, variant: Variant) -> dict[str, Any]:
    """Options of a module from outside in place of convolutions that are not the default ones."""
    default = default_options(variant.name, ModelOptions()).get("convolution", {})
    options = record.options.get("convolution", {})
    return {name: value for name, value in options.items() if default.get(name) != value}


def _setting(record: Record, variant: Variant) -> Setting:
    settings = record.settings
    assert isinstance(settings, Counting), "it is of kind complexity"
    size = settings.image_size
    return Setting(
        stride_placement=record.options["stride_placement"],
        image_size=(size[0], size[1]) if isinstance(size, list) else size,
        engine=settings.engine or "",
        proposals=settings.proposals or 0,
        modules=describe_modules(record.options.get("attention", {}), _convolution_options(record, variant)),
    )
