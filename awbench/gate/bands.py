"""What the ratios of latencies may be: measured within one run, never a time of another machine."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from awbench.errors import UserError
from awbench.gate.checks import HOLDS, NOT_MEASURED, OFF, Check, Status
from awbench.gate.locked import locked_folder
from awbench.records import Record, Records
from awbench.records.environment import cpu_name, latency_source_digest, package_version
from awbench.reference.load import load_validated
from awbench.validation import Strict
from awbench.variants import ModelOptions, parse_variant
from awbench.verdicts.evidence import has_default_options

_WIDEST = 0.3  # interval of a ratio, relative: a wider one says nothing


class LatencyBand(Strict):
    """What the ratio of a network's latency to the plain one's may be, within one run.

    Attributes:
        device: "cpu", or a GPU's name.
        at_least, at_most: of the ratio; a ratio is off when its whole interval lies beyond.
        why: where the band comes from.
    """

    variant: str
    device: str
    batch_size: int
    dtype: str
    layout: str
    at_least: Decimal
    at_most: Decimal
    why: str

    @model_validator(mode="after")
    def _check(self) -> LatencyBand:
        try:
            variant = parse_variant(self.variant)
        except UserError as error:
            raise ValueError(str(error)) from None
        if variant.name == variant.plain:
            raise ValueError(f"variant {self.variant} is the plain network, whose ratio is 1")
        if not 0 < self.at_least < self.at_most:
            raise ValueError(f"at_least {self.at_least} must be above 0 and below at_most {self.at_most}")
        return self


class _BandsFile(Strict):
    schema_version: Literal[1]
    bands: list[LatencyBand]


def load_bands(path: Path | None = None) -> list[LatencyBand]:
    """Raises: UserError: the file cannot be read or breaks its schema."""
    return load_validated(path or locked_folder() / "latency.yaml", _BandsFile).bands


def check_latency(records: Records, bands: Iterable[LatencyBand], device: str) -> list[Check]:
    """The newest ratio of each band's setting, measured within one run here and now, must lie in the band.

    Records of other source, another torch or another processor say nothing of this one.

    Args:
        device: "cpu" or the GPU's name; bands of others are left out.
    """
    of_here = [record for record in records.of_kind("latency") if _is_of_here(record)]
    checks = []
    for band in bands:
        if band.device != device:
            continue
        name = band_name(band)
        of_network = [record for record in of_here if record.variant == band.variant]
        found = [record for record in of_network if band_setting(band).items() <= _setting(record).items()]
        if not found:
            options = f"--batch-size {band.batch_size} --dtype {band.dtype} --layout {band.layout}"
            message = f"{NOT_MEASURED}: needs 'awbench latency {band.variant} {options}', or check --measure"
            checks.append(Check("latency", name, NOT_MEASURED, message))
            continue
        newest = max(found, key=lambda record: record.finished)
        ratio, low, high = (float(newest.value(f"ratio_to_plain{part}")) for part in ("", "_low", "_high"))
        inside = band.at_least <= ratio <= band.at_most
        if low > band.at_most or high < band.at_least:
            status: Status = OFF
        else:
            status = HOLDS if inside and high - low <= _WIDEST * ratio else NOT_MEASURED
        words = f"{ratio:.3f} ({low:.3f} to {high:.3f}) of the plain latency, band {band.at_least} to {band.at_most}"
        if status == NOT_MEASURED:
            words += f"; {NOT_MEASURED} finely enough: needs 'awbench latency' again, without other load"
        checks.append(Check("latency", name, status, words))
    return checks


def band_name(band: LatencyBand) -> str:
    return f"{band.variant}, batch {band.batch_size}, {band.dtype}, {band.layout}, {band.device}"


def _is_of_here(record: Record) -> bool:
    """Whether the present source was timed with the present torch on this machine's kind of processor or GPU."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    here = {"source_sha256": latency_source_digest(), "torch": package_version("torch")}
    return here.items() <= record.inputs.items() and record.settings["device_name"] in (cpu_name(), gpu)


def band_setting(band: LatencyBand) -> dict[str, Any]:
    """What a record says that was measured under the band's setting."""
    plainly = {"compile": False, "cuda_graph": False, "aw_strategy": "auto", "default_options": True}
    return {
        "variant": band.variant, "device": band.device, "batch_size": band.batch_size,
        "dtype": band.dtype, "layout": band.layout, **plainly,
    }  # fmt: skip


def _setting(record: Record) -> dict[str, Any]:
    settings = record.settings
    variant = parse_variant(record.variant)
    size = "640x480" if variant.task == "detection" else variant.architecture.image_size
    return {
        **settings.json_object,
        "variant": record.variant,
        "device": "cpu" if settings["device"] == "cpu" else settings["device_name"],
        "default_options": has_default_options(record, ModelOptions()) and settings["image_size"] == size,
    }
