"""The counts of networks, from records: what each costs under a stride placement and a convention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from awbench.records import Record
from awbench.records.environment import complexity_source_digest
from awbench.records.settings import Counting
from awbench.reference.conventions import Layer
from awbench.variants import ModelOptions, Variant, list_variants
from awbench.verdicts.protocol import default_options

_COCO_CATEGORIES = 80  # for which detectors are counted


@dataclass(frozen=True)
class CountedNetwork:
    """The counts of one network by name, and the key of the record that holds them."""

    values: Mapping[str, int]
    record: str = ""

    def operations(self, layers: Mapping[Layer, int], operation: str) -> int:
        """Operations of one forward pass under a convention; see `ComplexityConvention`."""
        total = layers["convolution"] * self.values["macs"] * (2 if operation == "flop" else 1)
        for layer, weight in layers.items():
            if layer not in ("convolution", "linear"):
                total += weight * self.values[f"elements.{layer}"]
        return total


@dataclass(frozen=True)
class Setting:
    """What a network is counted at: pixels a side, or (height, width) and more for a detector."""

    stride_placement: str
    image_size: int | tuple[int, int]
    engine: str = ""
    proposals: int = 0


class ComplexityIndex:
    """Complexity records of the grid with default options: those of the present source before others, the newest first.

    Records of networks that this version does not know (another branch's, say) stand for nothing here.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        present = complexity_source_digest()
        known = {variant.name: variant for variant in list_variants()}
        self._by_setting: dict[tuple[str, Setting], CountedNetwork] = {}
        self._detectors: dict[tuple[str, str], CountedNetwork] = {}
        for record in sorted(records, key=lambda r: (r.inputs.get("source_sha256") == present, r.finished)):
            variant = known.get(record.variant)
            if variant is None or not isinstance(record.settings, Counting) or not _is_default(record, variant):
                continue
            setting = _setting(record.settings, record.options["stride_placement"])
            counts = CountedNetwork({name: int(quantity.value) for name, quantity in record.values.items()}, record.key)
            self._by_setting[variant.name, setting] = counts
            if setting.engine:
                self._detectors[variant.name, setting.engine] = counts

    def get(self, variant: str, stride_placement: str, image_size: int) -> CountedNetwork | None:
        """A classifier's counts."""
        return self._by_setting.get((variant, Setting(stride_placement, image_size)))

    def get_detector(self, variant: str, setting: Setting) -> CountedNetwork | None:
        return self._by_setting.get((variant, setting))

    def parameters_of(self, variant: str, engine: str) -> CountedNetwork | None:
        """A detector's counts at any image size: its parameters do not depend on it."""
        return self._detectors.get((variant, engine))


def _is_default(record: Record, variant: Variant) -> bool:
    """Whether the network has default options but for its stride placement."""
    classes = _COCO_CATEGORIES if variant.task == "detection" else None
    options = ModelOptions(stride_placement=record.options["stride_placement"], num_classes=classes)
    return record.options == default_options(variant.name, options)


def _setting(settings: Counting, stride_placement: str) -> Setting:
    size = settings.image_size
    return Setting(
        stride_placement=stride_placement,
        image_size=(size[0], size[1]) if isinstance(size, list) else size,
        engine=settings.engine or "",
        proposals=settings.proposals or 0,
    )
