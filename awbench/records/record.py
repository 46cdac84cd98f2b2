"""One measurement, as an immutable value with a checksum."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError, model_validator

from awbench.errors import UserError
from awbench.validation import Strict, first_error

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

# What a record of a kind always has, (settings, values): whoever reads it relies on them.
REQUIRED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "complexity": (("image_size",), ("params", "macs")),
    "accuracy": (("origin", "dataset"), ("images",)),
    "detection": (("origin", "dataset", "engine"), ()),
    "latency": (
        ("device", "device_name", "batch_size", "dtype", "layout", "image_size", "over"),
        ("latency_ms", "ratio_to_plain", "ratio_to_plain_low", "ratio_to_plain_high"),
    ),
}


class BrokenRecordError(UserError):
    """A record is truncated, edited, or not a record; the message names the file."""


class Quantity(Strict):
    """A number with its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    value: int | float
    unit: str


class Record(Strict):
    """One measurement of one variant.

    Attributes:
        kind: what was measured, e.g. "complexity".
        variant, options: the network, and every option that changes it.
        settings: how it was measured (image size, batch size, ...).
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
    settings: dict[str, Any]
    inputs: dict[str, str]
    values: dict[str, Quantity]
    notes: list[str] = []
    environment: dict[str, Any]
    started: str
    finished: str

    @model_validator(mode="after")
    def _check_required(self) -> Record:
        settings, values = REQUIRED.get(self.kind, ((), ()))
        missing = [name for name in settings if name not in self.settings]
        missing += [name for name in values if name not in self.values]
        if self.kind in REQUIRED:
            missing += [name for name in ("stride_placement", "num_classes") if name not in self.options]
        if missing:
            raise ValueError(f"a record of kind {self.kind} lacks {', '.join(missing)}")
        if self.kind in ("accuracy", "detection") and self.settings["origin"] == "trained":
            self._check_training()
        return self

    def _check_training(self) -> None:
        seed, recipe = self.settings.get("seed"), self.settings.get("recipe")
        if type(seed) is not int:
            raise ValueError(f"a training's seed is {seed!r}; it must be a whole number")
        batch = recipe.get("batch_size") if isinstance(recipe, dict) else None
        if (
            not isinstance(recipe, dict)
            or type(batch) is not int
            or batch < 1
            or not isinstance(recipe.get("name"), str)
        ):
            raise ValueError("a training's recipe must have a name and a batch_size of 1 or more")

    @model_validator(mode="after")
    def _check_units(self) -> Record:
        for name, quantity in self.values.items():
            if quantity.unit != UNITS.get(name, quantity.unit):
                raise ValueError(f"{name} is in {quantity.unit!r}; records hold it in {UNITS[name]!r}")
        return self

    @property
    def key(self) -> str:
        """Identifies what was measured: two records of one key measured the same thing with the same inputs."""
        return measurement_key(self.kind, self.variant, self.options, self.settings, self.inputs)

    def value(self, name: str) -> int | float:
        return self.values[name].value

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
