"""The command that would measure a published number, or why none here can."""

from __future__ import annotations

from awbench.recipes.datasets import DATASET_FACTS
from awbench.reference.load import ReferenceNumber
from awbench.studies import load_study
from awbench.variants import parse_variant
from awbench.verdicts.measured import dataset_of, engine_of, recipe_of, stated_placement
from awbench.verdicts.protocol import recipe_identity

_EVALUATING = {"classification": "torchvision-v1", "detection": "detectron2-1x"}  # recipes; their evaluation counts
_SHOWN_BY_LATENCY = ("inference_time", "throughput")


def requirement(number: ReferenceNumber) -> str:
    """E.g. "needs 'awbench eval resnet50 --weights FILE ...'", or "for comparison only: ..."."""
    command = None if number.network else _command(number)
    return f"needs '{command}'" if command else f"for comparison only: {_why_not(number)}"


def _command(number: ReferenceNumber) -> str | None:
    dataset = dataset_of(number) if number.kind in ("accuracy", "detection") else ""
    if dataset not in DATASET_FACTS:
        return None
    if number.weights_sha256:
        return _evaluation(number, dataset)
    return _training(number, dataset) if recipe_of(number) else None


def _evaluation(number: ReferenceNumber, dataset: str) -> str | None:
    recipe, changes = _EVALUATING[DATASET_FACTS[dataset].task], []
    if number.kind == "accuracy":
        own = recipe_identity("classification", recipe)["evaluation"]
        published = {name: getattr(number.convention, name) for name in ("resize", "crop")}
        if "unknown" in published.values() or stated_placement(number) == "unknown":
            return None
        changes = [f" --set evaluation.{name}={size}" for name, size in published.items() if size != own[name]]
    weights = number.weights if number.weights.startswith("IMAGENET1K_") else "FILE"
    options = f"--weights {weights} --recipe {recipe}{''.join(changes)}"
    return f"awbench eval {number.variant} {options}{_where(number, dataset)}"


def _training(number: ReferenceNumber, dataset: str) -> str:
    recipe, study = recipe_of(number), load_study("imagenet")
    placed = stated_placement(number) in ("unknown", study.stride_placement)
    if (dataset, recipe) == (study.dataset, study.recipe) and number.variant in study.labels and placed:
        return f"awbench study run {study.argument} --data DIR"
    initial = ""
    if number.kind == "detection":  # MSRA's weights, as Detectron2 has them: R-50.pkl
        initial = f" --init-weights R-{parse_variant(number.variant).architecture_name.removeprefix('resnet')}.pkl"
    return f"awbench train {number.variant} --recipe {recipe}{initial}{_where(number, dataset)}"


def _where(number: ReferenceNumber, dataset: str) -> str:
    engine = f" --engine {engine_of(number)}" if engine_of(number) else ""
    placement = " --stride-placement v1" if stated_placement(number) == "v1" else ""
    return f"{engine}{placement} --dataset {dataset} --data DIR"


def _why_not(number: ReferenceNumber) -> str:
    if number.network:
        return number.network if " " in number.network else f"{number.network} is not built here"
    if number.kind == "latency":
        here = f"; 'awbench latency {number.variant}' times it here" if number.metric in _SHOWN_BY_LATENCY else ""
        return f"measured on {number.convention.device}{here}"
    if number.kind == "detection" and not engine_of(number):
        return f"published with no engine that is used here ({number.convention.detector})"
    if dataset_of(number) not in DATASET_FACTS:
        return f"{number.dataset} is not a dataset here"
    if number.weights_sha256:
        return "the source does not state how it evaluates"
    if number.weights:
        return "no digest of its weights is stated, and no recipe here trains as the source did"
    return "no recipe here trains as the source did"
