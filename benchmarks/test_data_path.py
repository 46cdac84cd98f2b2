"""Images a second a core of the data path, beside torchvision's reference transforms and timm's loader, in one run.

Photograph-sized JPEG files, the random crops of ImageNet trainings, one process, one thread, batches of 32; all
interleaved. "normalised while loading" is what the path was before batches went to the device as uint8.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from awbench.data.datasets import ImageFiles
from awbench.data.encoded import EncodedFiles, collate_encoded, keep_seed
from awbench.data.loader import Loader
from awbench.data.opening import find_dataset
from awbench.data.views import TrainingOrder, View
from awbench.recipes.classification import load_recipe
from awbench.tasks.transforms import training_transform

IMAGES, BATCH, ROUNDS = 64, 32, 9
IMAGENET = find_dataset("imagenet")
MEAN, STD = list(IMAGENET.mean), list(IMAGENET.std)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """DIR/class/0.jpg ... of 500 x 375 pixels, smooth with grain, about 65 KB each, as ImageNet's are on average."""
    (tmp_path / "class").mkdir()
    for index in range(IMAGES):
        rng = np.random.default_rng(index)
        shapes = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
        pixels = np.asarray(shapes).astype(int) + rng.integers(-12, 13, (375, 500, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "class" / f"{index}.jpg", quality=90)
    return tmp_path


def ours(folder: Path, decoder: str = "pillow", normalised: bool = False) -> Callable[[], Any]:
    """An epoch through our view and loader."""
    transform: Callable[[Any], torch.Tensor] = training_transform(load_recipe("cbam").augmentation)
    if normalised:
        transform = v2.Compose([transform, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    files = ImageFiles([(str(path), 0) for path in sorted((folder / "class").iterdir())], decoder)
    order = TrainingOrder(IMAGES, BATCH, BATCH, 0, 0, IMAGES // BATCH)
    return lambda: list(Loader(View(files, transform, 0), order, 0, pin_memory=False))


def read_alone(folder: Path) -> Callable[[], Any]:
    """What is left to a core where a GPU decodes, crops and resizes."""
    files = EncodedFiles([(str(path), 0) for path in sorted((folder / "class").iterdir())])
    order = TrainingOrder(IMAGES, BATCH, BATCH, 0, 0, IMAGES // BATCH)
    return lambda: list(Loader(View(files, keep_seed, 0), order, 0, pin_memory=False, collate=collate_encoded))


def torchvisions(folder: Path) -> Callable[[], Any]:
    """As references/classification of torchvision composes it."""
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.PILToTensor(),
             transforms.ConvertImageDtype(torch.float32), transforms.Normalize(MEAN, STD)]  # fmt: skip
    data = ImageFolder(str(folder), transforms.Compose(steps))
    return lambda: list(torch.utils.data.DataLoader(data, BATCH, shuffle=True))


def timms(folder: Path) -> Callable[[], Any] | None:
    """Its training loader without prefetching to a GPU, its plain random crop and flip; None where timm is absent."""
    try:
        from timm.data import create_dataset, create_loader
    except ImportError:
        return None
    data = create_dataset("", root=str(folder))
    loader = create_loader(
        data, (3, 224, 224), BATCH, is_training=True, use_prefetcher=False, num_workers=0, color_jitter=None,
        interpolation="bilinear", mean=tuple(MEAN), std=tuple(STD), persistent_workers=False,
    )  # fmt: skip
    return lambda: list(loader)


@pytest.mark.benchmark(group="data path")
def test_images_a_second_a_core(benchmark, folder, capsys):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    candidates = {
        "ours, normalised while loading": ours(folder, normalised=True),
        "ours": ours(folder),
        "ours, decoder torchvision": ours(folder, "torchvision"),
        "ours, decoder nvjpeg, without the GPU": read_alone(folder),
        "torchvision's reference transforms": torchvisions(folder),
        "timm's loader": timms(folder),
    }
    seconds: dict[str, list[float]] = {name: [] for name, run in candidates.items() if run}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, times in seconds.items():
            started = time.process_time()  # of this process: what else the machine does is not in it
            candidates[name]()  # type: ignore[misc]
            times.append(time.process_time() - started)
    torch.set_num_threads(threads)
    speeds = {name: IMAGES / statistics.median(times[1:]) for name, times in seconds.items()}
    benchmark.extra_info.update(speeds)
    benchmark.pedantic(candidates["ours"], rounds=1)
    with capsys.disabled():
        print()
        for name in candidates:
            found = f"{speeds[name]:6.0f} images/s a core" if name in speeds else "not installed: pip install timm"
            print(f"{name:38} {found}")
