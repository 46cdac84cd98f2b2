"""The settings of each kind of record, typed: a reader names a field, and a wrong type is an error that names it too.

What a record's file holds is kept as it stands: fields that are not declared here are carried along, and a record
that is read and written again gives the same bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_serializer,
    model_validator,
)

Count = Annotated[int, Field(ge=1, le=10**12)]
IMPORTED = "imported"  # kind of the records of runs that were trained elsewhere


class Recorded(BaseModel):
    """One JSON object of a record: declared fields are checked, the object itself is what is written."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    _json: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, data: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        model = handler(data)
        if isinstance(data, dict):
            model._json = data
        return model

    @model_serializer(mode="plain")
    def _write(self) -> dict[str, Any]:
        return self._json

    @property
    def json_object(self) -> dict[str, Any]:
        """The object as the file has it; not to be changed."""
        return self._json


class Settings(Recorded):
    """How something was measured. Kinds that are not known here have no fields of their own."""


class Counting(Settings):
    """Attributes: engine, proposals, of detectors; image_size, pixels a side, or [height, width] of a detector."""

    engine: str | None = None
    image_size: Count | Annotated[list[Count], Field(min_length=2, max_length=2)]
    proposals: int | None = None
    cross_check: bool = False


class RecordedEvaluation(Recorded):
    """Of a classifier: the shorter side is resized to `resize` pixels, then the centre is cropped."""

    resize: int
    crop: int
    interpolation: str | None = None


class RecordedInput(Recorded):
    """Pixels of the shorter and the longer side at which a detector is evaluated."""

    test: int
    test_max: int


class RecordedRecipe(Recorded):
    """The values of a recipe that can change a result; those that readers use are declared."""

    name: str
    batch_size: Count
    epochs: Count | None = None
    iterations: Count | None = None


class Training(Settings):
    """Of a network trained here."""

    origin: Literal["trained"]
    dataset: str
    recipe: RecordedRecipe
    seed: int
    skip_bad_images: bool = False
    protocol: int | None = None


class ClassifierTraining(Training):
    """Of a classifier trained here."""

    evaluation: RecordedEvaluation | None = None


class DetectorTraining(Training):
    """Of a detector trained here. Attributes: complete, whether both splits are the whole dataset."""

    engine: str
    complete: bool = False


class GivenWeights(Settings):
    """Of weights that were given. Attributes: weights, the file's name or torchvision's."""

    origin: Literal["weights"]
    dataset: str
    weights: str
    precision: str | None = None
    skip_bad_images: bool = False


class ClassifierWeights(GivenWeights):
    """Of a classifier's weights that were given."""

    layout: str | None = None
    evaluation: RecordedEvaluation


class DetectorWeights(GivenWeights):
    """Of a detector's weights that were given."""

    engine: str
    complete: bool = False
    input: RecordedInput
    norm: str | None = None
    protocol: int | None = None


class TimedSettings(Settings):
    """Where something was timed, and with which numbers. Attributes: threads, of a CPU; tf32, of a GPU."""

    device: str
    device_name: str
    batch_size: Count
    dtype: str
    layout: str
    threads: int | None = None
    tf32: bool | None = None


class NetworkTiming(TimedSettings):
    """Of a network's latency. Attributes: over, the plain network of its ratio; image_size, "640x480" of a detector."""

    image_size: int | str
    over: str
    compile: bool = False
    cuda_graph: bool = False
    aw_strategy: str = "auto"
    engine: str | None = None


class ConvolutionTiming(TimedSettings):
    """Of one way to execute one convolution.

    Attributes:
        channels: in and out.
        size: of its input, in pixels a side.
        expansion: e, input channels that share a value of the map; None for all.
    """

    direction: str
    channels: Count
    size: Count
    stride: Count
    expansion: Count | None = None


class ImportedRun(Settings):
    """Of a run that was trained elsewhere. Attributes: is_variant, whether its network is one of those built here."""

    is_variant: bool
    dataset: str
    recipe: str
    seed: int
    metric: str
    source: str


_BY_KIND: dict[str, type[Settings]] = {
    IMPORTED: ImportedRun,
    "complexity": Counting,
    "latency": NetworkTiming,
    "aw_speed": ConvolutionTiming,
}
_BY_ORIGIN: dict[tuple[str, str], type[Settings]] = {
    ("accuracy", "trained"): ClassifierTraining,
    ("accuracy", "weights"): ClassifierWeights,
    ("detection", "trained"): DetectorTraining,
    ("detection", "weights"): DetectorWeights,
}


def settings_model(kind: str, settings: Any) -> type[Settings]:
    """The model of a record's settings.

    Raises:
        ValueError: the origin of an accuracy or AP is not known.
    """
    if kind not in ("accuracy", "detection"):
        return _BY_KIND.get(kind, Settings)
    origin = settings.get("origin") if isinstance(settings, dict) else None
    if not isinstance(origin, str) or (kind, origin) not in _BY_ORIGIN:
        raise ValueError(f"settings.origin is {origin!r}; it must be 'trained' or 'weights'")
    return _BY_ORIGIN[kind, origin]
