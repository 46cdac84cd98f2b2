"""pytest-benchmark suites: `make bench`. Compare variants within one run; machines are shared and noisy."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
