"""What is chosen where nobody chooses: recipes by dataset, and which protocol the training code follows.

And what both halves must know of datasets and engines, though only one of them opens these.
"""

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
# Images of each split, where the dataset is complete.
SPLIT_IMAGES = {
    "imagenet": {"train": 1_281_167, "val": 50_000},
    "cifar10": {"train": 50_000, "val": 10_000},
    "cifar100": {"train": 50_000, "val": 10_000},
    "coco": {"train": 118_287, "val": 5_000},
}
# sha256 of the annotation file for evaluation of the procedural shapes: what runs of that proxy have in common.
SHAPES_VAL_SHA256 = "fd271e6f7599bb2f27cfb5dcb293f3a30875d47038d7fee8af58b34fb2ad54eb"


def default_dataset(task: Task) -> str:
    """What needs no download: digits for classifiers, procedural shapes for detectors."""
    return "shapes" if task == "detection" else "digits"


def default_recipe(task: Task, dataset: str) -> str:
    """Whose sizes and schedule fit a dataset: for detectors Detectron2's 3x on COCO, else the quick one."""
    if task == "detection":
        return "detectron2-3x" if dataset == "coco" else "shapes-quick"
    return "digits-quick"
