"""Reading `reference_results/`: every file validated, numbers resolved so that each stands on its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from awbench.errors import UserError
from awbench.reference.claim import Claim
from awbench.reference.metrics import METRICS
from awbench.reference.run_to_run import RunToRun
from awbench.reference.source import Source
from awbench.yaml_files import load_validated

_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class ReferenceNumber:
    """A published number with everything that belongs to it.

    Attributes:
        source: id of its source.
        value: as printed, trailing zeros kept.
        convention: of the metric's kind, see `awbench.reference.source`.
        other fields: as in `awbench.reference.source.Number`.
    """

    source: str
    variant: str
    metric: str
    value: Decimal
    unit: str
    provenance: str
    url: str
    convention: Any
    weights: str = ""
    schedule: str = ""
    weights_sha256: str = ""
    note: str = ""
    network: str = ""
    recipe_here: str = ""

    @property
    def kind(self) -> str:
        return METRICS[self.metric].kind

    @property
    def base_units(self) -> int:
        """How many base units one printed unit is: 10^9 for GMAC."""
        return METRICS[self.metric].units[self.unit]

    @property
    def dataset(self) -> str:
        """Of an accuracy or an AP, in the source's words; accuracies have a key of CLAIM_DATASETS."""
        return getattr(self.convention, "dataset", "")


@dataclass(frozen=True)
class References:
    """All sources of a folder.

    Attributes:
        numbers: every published number, in the order of files and lines.
        unknown: ids of sources of which something could not be read yet.
    """

    sources: tuple[Source, ...]
    numbers: tuple[ReferenceNumber, ...]
    unknown: tuple[str, ...]

    def of_kind(self, kind: str) -> list[ReferenceNumber]:
        return [number for number in self.numbers if number.kind == kind]

    @property
    def claims(self) -> list[tuple[Source, Claim]]:
        return [(source, claim) for source in self.sources for claim in source.claims]

    @property
    def run_to_run(self) -> list[RunToRun]:
        """How far runs of one recipe lie apart, in the order of files; error rates as accuracies."""
        return [entry.in_accuracy for source in self.sources for entry in source.run_to_run]


def default_directory() -> Path:
    """`reference_results/`: inside an installed package, or beside it in a checkout."""
    installed = _PACKAGE / "reference_results"
    return installed if installed.is_dir() else _PACKAGE.parent / "reference_results"


def load_references(directory: Path | None = None, *, added: Sequence[Path] = ()) -> References:
    """Read and validate every YAML file of the folder.

    Args:
        directory: None for the project's own.
        added: further folders, or files.

    Raises:
        UserError: a folder is missing or empty, or a file is not valid: its name, the places and the remedies.
    """
    paths = [path for place in (directory or default_directory(), *added) for path in _files(place)]
    sources = [load_source(path) for path in paths]
    seen: dict[str, Path] = {}
    for path, source in zip(paths, sources, strict=True):
        if source.id in seen:
            raise UserError(f"{path}: id {source.id!r} is already that of {seen[source.id]}; give each file its own")
        seen[source.id] = path
    claims = Counter(claim.id for source in sources for claim in source.claims)
    for path, source in zip(paths, sources, strict=True):
        for claim in source.claims:
            if claims[claim.id] > 1:
                raise UserError(f"{path}: claim {claim.id!r} is given twice; give each claim its own id")
    return References(
        sources=tuple(sources),
        numbers=tuple(number for source in sources for number in _resolve(source)),
        unknown=tuple(source.id for source in sources if source.unknown),
    )


def _files(place: Path) -> list[Path]:
    """The YAML files of a folder, or the file itself."""
    paths = [place] if place.is_file() else sorted([*place.glob("[!.]*.yaml"), *place.glob("[!.]*.yml")])
    if not paths:
        raise UserError(f"no reference files in {place}; expected YAML files such as those of reference_results/ there")
    return paths


def load_source(path: Path) -> Source:
    """Read and validate one file.

    Raises:
        UserError: it cannot be read, is not YAML, or breaks the schema.
    """
    return load_validated(path, Source)


def _resolve(source: Source) -> list[ReferenceNumber]:
    resolved = []
    for number in source.numbers:
        convention = getattr(source.conventions, number.kind)
        own = getattr(number.conventions, number.kind)
        if own is not None:
            changes = {name: getattr(own, name) for name in own.model_fields_set}
            convention = convention.model_copy(update=changes) if convention else own
        if number.dataset and number.kind == "accuracy":
            convention = convention.model_copy(update={"dataset": number.dataset})
        provenance = number.provenance or source.provenance
        assert provenance is not None  # Source._check
        resolved.append(
            ReferenceNumber(
                source=source.id,
                variant=number.variant,
                metric=number.metric,
                value=number.value,
                unit=number.unit,
                provenance=provenance,
                url=number.url or source.url,
                convention=convention,
                weights=number.weights,
                schedule=number.schedule,
                weights_sha256=number.weights_sha256,
                note=number.note,
                network=number.network,
                recipe_here=source.recipes_here.get(number.weights, ""),
            )
        )
    return resolved
