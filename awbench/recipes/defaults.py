"""What is chosen where nobody chooses: recipes by dataset, and which protocol the training code follows."""

from __future__ import annotations

from awbench.variants import Task

# Raised when the loop is changed so that the same settings give another result: old records then stand
# for the old protocol and runs are repeated. Hashing the source would repeat ImageNet runs for a comment.
PROTOCOLS: dict[str, int] = {"accuracy": 1, "detection": 1}

# Dataset -> the recipes whose sizes and schedule fit it, the default one first.
RECIPES_OF: dict[str, tuple[str, ...]] = {
    "imagenet": ("cbam", "torchvision-v1"),
    "cifar10": ("cifar",),
    "cifar100": ("cifar",),
    "fashion-mnist": ("fashion-mnist",),
    "fashion-mnist-dev": ("fashion-mnist",),
    "digits": ("digits-quick", "digits-backbone"),
    "fake": ("digits-quick",),
    "coco": ("detectron2-3x", "detectron2-1x"),
    "digits-detection": ("digits-detection",),
}
# Libraries that detectors are built with; the first one where it is installed.
ENGINES = ("detectron2", "torchvision")


def default_dataset(task: Task) -> str:
    """What needs no download: digits for classifiers, digits to detect for detectors."""
    return "digits-detection" if task == "detection" else "digits"


def default_recipe(task: Task, dataset: str) -> str:
    """Whose sizes and schedule fit a dataset: the first of its own, of an unknown one the default dataset's."""
    return RECIPES_OF.get(dataset, RECIPES_OF[default_dataset(task)])[0]
