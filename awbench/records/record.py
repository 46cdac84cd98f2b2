"""One measurement, as an immutable value with a checksum."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from awbench.errors import UserError
from awbench.records.settings import Recorded, Settings, settings_model
from awbench.validation import Strict, first_error
from awbench.variants import STRIDE_PLACEMENTS

SCHEMA = 1

# The unit of every measured quantity that is compared with published ones or between records.
UNITS = {
    "params": "parameters",
    "trainable_params": "parameters",
    "macs": "MAC",
    "top1": "percent",
    "top5": "percent",
    **dict.fromkeys(("box_ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"), "AP points"),
    "images": "images",
    "steps": "steps",
    "iterations": "iterations",
    "train_time": "s",
    "train_time_per_iteration": "s/iteration",
    "latency_ms": "ms",
}

# What a record of a kind always has besides its settings: whoever reads it relies on it.
_REQUIRED: dict[str, dict[str, tuple[str, ...]]] = {
    "complexity": {"values": ("params", "macs")},
    "accuracy": {"values": ("images",)},
    "latency": {
        "values": ("latency_ms", "ratio_to_plain", "ratio_to_plain_low", "ratio_to_plain_high"),
        "environment": ("run",),
    },
    "aw_speed": {"values": ("time_ms", "spread"), "environment": ("run", "executed_as")},
}


class BrokenRecordError(UserError):
    """A record is truncated, edited, or not a record; the message names the file."""


class RecordedEnvironment(Recorded):
    """What readers rely on. Attributes: run, of records made side by side; executed_as, strategies by direction."""

    run: str | None = None
    executed_as: dict[str, str] = {}


_LARGEST = 10**18  # of a recorded number: what is measured here is far below


class Quantity(Strict):
    """A number with its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    value: int | float = Field(ge=-_LARGEST, le=_LARGEST)
    unit: str


class Record(Strict):
    """One measurement of one variant.

    Attributes:
        kind: what was measured, e.g. "complexity".
        variant, options: the network, and every option that changes it.
        settings: how it was measured (image size, batch size, ...), see `awbench.records.settings`.
        inputs: hashes and versions of everything else that can change the result.
        values: the result, each number with its unit.
        notes: what a reader must know that no number says, e.g. images that could not be decoded.
        environment: where it was measured, see `awbench.records.environment`.
        started, finished: UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    kind: str
    variant: str
    options: dict[str, Any]
    settings: SerializeAsAny[Settings]
    inputs: dict[str, str]
    values: dict[str, Quantity]
    notes: list[str] = []
    environment: dict[str, Any]
    started: str
    finished: str

    @model_validator(mode="before")
    @classmethod
    def _type_settings(cls, data: Any) -> Any:
        """Settings as the model of the record's kind."""
        if (
            not isinstance(data, dict)
            or not isinstance(data.get("settings"), dict)
            or type(data.get("kind")) is not str
        ):
            return data
        model = settings_model(data["kind"], data["settings"])
        try:
            return {**data, "settings": model.model_validate(data["settings"])}
        except ValidationError as error:
            raise ValueError(f"settings.{first_error(error)}") from None

    @model_validator(mode="after")
    def _check_required(self) -> Record:
        for where, names in _REQUIRED.get(self.kind, {}).items():
            for name in names:
                if name not in getattr(self, where):
                    raise ValueError(f"a record of kind {self.kind} lacks {name} in its {where}")
        for name in self.values:  # of an estimate, both ends of its interval or none
            start, end = name.removesuffix("_low"), name.removesuffix("_high")
            for other in (f"{start}_high",) * (start != name) + (f"{end}_low",) * (end != name):
                if other not in self.values:
                    raise ValueError(f"a record with {name} lacks {other} in its values")
        try:
            RecordedEnvironment.model_validate(self.environment)
        except ValidationError as error:
            raise ValueError(f"environment.{first_error(error)}") from None
        if self.kind in ("complexity", "accuracy", "detection", "latency"):
            self._check_options()
        return self

    def _check_options(self) -> None:
        """Every network was built with these."""
        placement, classes = self.options.get("stride_placement"), self.options.get("num_classes")
        if placement not in STRIDE_PLACEMENTS:
            raise ValueError(f"options.stride_placement is {placement!r}; it must be v1 or v1.5")
        if type(classes) is not int or not 1 <= classes <= 10**7:
            raise ValueError(f"options.num_classes is {classes!r:.50}; it must be a whole number of 1 to 10^7")
        for name in ("aw", "attention", "convolution"):
            if not isinstance(self.options.get(name, {}), dict):
                raise ValueError(f"options.{name} is {self.options[name]!r}; it must be an object")

    @model_validator(mode="after")
    def _check_times(self) -> Record:
        for name in ("started", "finished"):
            try:
                datetime.fromisoformat(getattr(self, name))
            except ValueError:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a time of ISO 8601") from None
        return self

    @model_validator(mode="after")
    def _check_units(self) -> Record:
        for name, quantity in self.values.items():
            if quantity.unit != UNITS.get(name, quantity.unit):
                raise ValueError(f"{name} is in {quantity.unit!r}; records hold it in {UNITS[name]!r}")
        return self

    @property
    def key(self) -> str:
        """Identifies what was measured: two records of one key measured the same thing with the same inputs."""
        return measurement_key(self.kind, self.variant, self.options, self.settings.json_object, self.inputs)

    @property
    def finished_at(self) -> datetime:
        """When it was finished; a time without a zone is one of UTC."""
        found = datetime.fromisoformat(self.finished)
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    @property
    def study(self) -> tuple[str, str]:
        """Name and digest of the study that it was made for, "" where it was made for none."""
        made_for = self.environment.get("study")
        return (str(made_for.get("name")), str(made_for.get("sha256"))) if isinstance(made_for, dict) else ("", "")

    def value(self, name: str) -> int | float:
        """Of a quantity that was measured, in its unit. Raises: KeyError: it was not."""
        return self.values[name].value

    @property
    def process_seconds(self) -> float | None:
        """What a training took in all its processes together; None where its record does not say."""
        processes = self.environment.get("world_size", 1)
        if "train_time" not in self.values or type(processes) is not int or not 1 <= processes <= 10**6:
            return None
        return self.value("train_time") * processes

    def to_json(self) -> str:
        """The file's content: the fields, and a sha256 of them."""
        body = self.model_dump(mode="json")
        return json.dumps({**body, "sha256": _sha256(body)}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Record:
        """Read a record back.

        Args:
            text: what `to_json` wrote.
            where: the file's name, for the error.

        Raises:
            BrokenRecordError: not JSON (truncated), checksum wrong (edited), or not this schema.
        """
        remedy = "restore the file or delete it and measure again"
        try:
            body = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise BrokenRecordError(f"{where} is truncated or not JSON ({error}); {remedy}") from None
        if not isinstance(body, dict) or "sha256" not in body:
            raise BrokenRecordError(f"{where} is not a record: it has no sha256; {remedy}")
        checksum = body.pop("sha256")
        if checksum != _sha256(body):
            raise BrokenRecordError(f"{where} was changed after it was written: its checksum does not match; {remedy}")
        if body.get("schema_version") != SCHEMA:
            raise BrokenRecordError(
                f"{where} has schema version {body.get('schema_version')!r}; this awbench reads version {SCHEMA}"
            )
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise BrokenRecordError(f"{where} is not a valid record: {first_error(error)}; {remedy}") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is too large for a number")
    return value


def measurement_key(
    kind: str, variant: str, options: dict[str, Any], settings: dict[str, Any], inputs: dict[str, str]
) -> str:
    """sha256 over everything that can change a result."""
    return _sha256(
        {"kind": kind, "variant": variant, "options": options, "settings": settings, "inputs": inputs, "schema": SCHEMA}
    )


def _sha256(body: Any) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
