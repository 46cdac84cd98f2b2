"""What is chosen where nobody chooses: recipes by dataset, and which protocol the training code follows."""

from __future__ import annotations

from awbench.variants import Task

# Raised when the loop is changed so that the same settings give another result: old records then stand
# for the old protocol and runs are repeated. Hashing the source would repeat ImageNet runs for a comment.
PROTOCOLS: dict[str, int] = {"accuracy": 1, "detection": 1}

# How the project trains for claims on ImageNet and CIFAR: its runs are shared by all that use them.
IMAGENET_RECIPE, IMAGENET_CHANGES = "cbam", ("precision=bfloat16", "channels_last=true")
CIFAR_RECIPE = "cifar"
# Libraries that detectors are built with; the first one where it is installed.
ENGINES = ("detectron2", "torchvision")


def default_dataset(task: Task) -> str:
    """What needs no download: digits for classifiers, digits to detect for detectors."""
    return "digits-detection" if task == "detection" else "digits"


def default_recipe(task: Task, dataset: str) -> str:
    """Whose sizes and schedule fit a dataset: for detectors Detectron2's 3x on COCO, else the quick one."""
    if task == "detection":
        return "detectron2-3x" if dataset == "coco" else "digits-detection"
    return "digits-quick"
