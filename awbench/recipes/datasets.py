"""Facts of datasets: how many images a complete one has, and how fine its metric is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from awbench.variants import Task


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset in full.

    Attributes:
        title: its name in the literature.
        train_images, val_images: of its two splits.
        classes: that it tells apart; 0 where nothing says how many.
        train_sha256, val_sha256: digests of the splits as records hold them, "" where the files may differ.
        proxy: whether results on it say nothing about a benchmark of the field.
    """

    title: str
    task: Task
    train_images: int
    val_images: int
    classes: int = 0
    train_sha256: str = ""
    val_sha256: str = ""
    proxy: bool = False

    @property
    def resolution(self) -> float:
        """The smallest step of an accuracy or an AP, in its unit: one image, or a hundredth of an AP point (chosen)."""
        return 100 / self.val_images if self.task == "classification" else 0.01


# Variable that names the folder of a dataset, for `reproduce` and `study run`.
DATA_VARIABLES = {"imagenet": "AWBENCH_IMAGENET", "coco": "AWBENCH_COCO"}

DATASET_FACTS: dict[str, DatasetFacts] = {
    "imagenet": DatasetFacts("ImageNet-1k", "classification", 1_281_167, 50_000, 1000),
    "cifar10": DatasetFacts("CIFAR-10", "classification", 50_000, 10_000, 10),
    "cifar100": DatasetFacts("CIFAR-100", "classification", 50_000, 10_000, 100),
    "digits": DatasetFacts(
        "scikit-learn digits", "classification", 1_438, 359, 10,
        "33ce7a1489f84633544cadb9e7a9f26d9274ac0103a043238ded5d57ef64dae0",
        "d076fafbd34cae90366d930893d0aef0ddbbe139355eef3f9199719030c028db", proxy=True,
    ),
    "fashion-mnist": DatasetFacts(
        "Fashion-MNIST", "classification", 60_000, 10_000, 10,
        "2d786dc29b9604e0092691f7b5a8f475fe5715348b1759e1989db38593dfc9d0",
        "7c8b4839a9b8f082c370a5deb6d069131647c71f7bea26150ab3776a1f4dc358",
    ),
    "coco": DatasetFacts("COCO 2017", "detection", 118_287, 5_000, 80),
    "digits-detection": DatasetFacts(
        "digits to detect", "detection", 480, 160, 10,
        "0245d4b8277b51da3b71126e3e0bbdeb2df55af23576d3890181d9d0864c1b91",
        "ba0cb5345a74deff076c6f06caf86870c837c930f985466313abbd1a0131813c", proxy=True,
    ),
}  # fmt: skip

# Datasets of one's own: a folder of images by class (`awbench.data.opening`), or a function that opens them.
FOLDER = "folder:"
_OWN = re.compile(rf"{FOLDER}[A-Za-z0-9][\w.-]*|[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)


def is_own(name: str) -> bool:
    """Whether a name is `folder:NAME` or `module:function`."""
    return _OWN.fullmatch(name) is not None


def title_of(name: str) -> str:
    """A dataset's name in the literature; of one's own what it is called."""
    return DATASET_FACTS[name].title if name in DATASET_FACTS else name.removeprefix(FOLDER)
