"""What the ratios of latencies may be: measured within one run, never a time of another machine."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from awbench.errors import UserError
from awbench.gate.checks import FAIL, NOT_MEASURED, PASS, Check, Status, not_measured
from awbench.gate.locked import locked_folder
from awbench.records import Record, Records
from awbench.records.environment import cpu_name, latency_source_digest, package_version
from awbench.records.settings import NetworkTiming
from awbench.validation import Strict
from awbench.variants import parse_variant
from awbench.verdicts.protocol import has_default_options
from awbench.yaml_files import load_validated

_WIDEST = 0.3  # interval of a ratio, relative: a wider one says nothing


class LatencyBand(Strict):
    """What the ratio of a network's latency to the plain one's may be, within one run.

    Attributes:
        device: "cpu", or a GPU's name.
        at_least, at_most: of the ratio; a ratio fails when its whole interval lies beyond.
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
    name = cpu_name() if device == "cpu" else device
    now = {"source_sha256": latency_source_digest(), "torch": package_version("torch")}.items()
    checks = []
    for band in bands:
        if band.device != device:
            continue
        fitting = [
            record
            for record in records.of_network("latency", band.variant)
            if isinstance(record.settings, NetworkTiming)
            and record.settings.device_name == name
            and now <= record.inputs.items()
            and _is_setting_of(record, record.settings, band)
        ]
        if fitting:
            checks.append(_check_band(band, max(fitting, key=lambda record: record.finished)))
        else:
            options = f"--batch-size {band.batch_size} --dtype {band.dtype} --layout {band.layout}"
            requirement = f"needs 'awbench latency {band.variant} {options}', or check --measure"
            checks.append(not_measured("latency", band_name(band), requirement))
    return checks


def _check_band(band: LatencyBand, record: Record) -> Check:
    ratio, low, high = (float(record.value(f"ratio_to_plain{part}")) for part in ("", "_low", "_high"))
    words = f"{ratio:.3f} ({low:.3f} to {high:.3f}) of the plain latency, band {band.at_least} to {band.at_most}"
    inside = band.at_least <= ratio <= band.at_most
    if low > band.at_most or high < band.at_least:
        status: Status = FAIL
    elif inside and high - low <= _WIDEST * ratio:
        status = PASS
    else:
        status = NOT_MEASURED
        words += f"; {NOT_MEASURED} finely enough: needs 'awbench latency' again, without other load"
    return Check("latency", band_name(band), status, words)


def band_name(band: LatencyBand) -> str:
    return f"{band.variant}, batch {band.batch_size}, {band.dtype}, {band.layout}, {band.device}"


def _is_setting_of(record: Record, settings: NetworkTiming, band: LatencyBand) -> bool:
    """Whether a network was timed as the band is for: plainly, with default options, at its own image size."""
    variant = parse_variant(record.variant)
    return (
        (settings.device == "cpu") == (band.device == "cpu")
        and (settings.batch_size, settings.dtype, settings.layout) == (band.batch_size, band.dtype, band.layout)
        and (settings.compile, settings.cuda_graph, settings.aw_strategy) == (False, False, "auto")
        and settings.image_size == ("640x480" if variant.task == "detection" else variant.architecture.image_size)
        and has_default_options(record)
    )
