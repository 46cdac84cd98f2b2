"""pytest-benchmark suites: `make bench`. Compare variants within one run; machines are shared and noisy.

What suites share is a fixture here. Everything runs on the GPU where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from awbench.data.views import Batch
from awbench.system import keep_freed_memory
from awbench.training.distributed import choose_device


@pytest.fixture(scope="session", autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="session", autouse=True)
def _memory_is_kept():
    """As in `awbench latency`."""
    keep_freed_memory()


@pytest.fixture(scope="session", autouse=True)
def _fastest_algorithms():
    """cuDNN tries its algorithms, as in `awbench latency`."""
    torch.backends.cudnn.benchmark = True


@pytest.fixture(autouse=True)
def _same_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def device() -> torch.device:
    return choose_device("auto")


@pytest.fixture(scope="session")
def place(device) -> Callable[[Any], Any]:
    """Brings a module or images to the device as they usually run there: on a GPU in bfloat16 and channels_last."""
    if device.type == "cuda":
        return lambda thing: thing.to(device, torch.bfloat16, memory_format=torch.channels_last)
    return lambda thing: thing.to(device)


@pytest.fixture(scope="session")
def until_done(device) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function wait for its work: on a GPU, calls return before it is done."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        if device.type != "cuda":
            return function

        def call(*args: Any) -> Any:
            result = function(*args)
            torch.cuda.synchronize()
            return result

        return call

    return wrap


@pytest.fixture(scope="session")
def noise(device) -> Callable[[int, int], Batch]:
    """(images, pixels a side) -> a batch of random images and labels of ImageNet's classes."""

    def make(count: int, size: int) -> Batch:
        return Batch(torch.randn(count, 3, size, size, device=device), torch.randint(0, 1000, (count,), device=device))

    return make


@pytest.fixture(scope="session")
def sgd_steps() -> Callable[[torch.nn.Module, Batch, int], Callable[[], None]]:
    """(model, batch, number) -> a function that does so many steps of training, and nothing else."""

    def make(model: torch.nn.Module, batch: Batch, steps: int) -> Callable[[], None]:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4)

        def run() -> None:
            with torch.enable_grad():
                for _ in range(steps):
                    optimizer.zero_grad(set_to_none=True)
                    F.cross_entropy(model(batch.images), batch.labels).backward()
                    optimizer.step()

        return run

    return make
