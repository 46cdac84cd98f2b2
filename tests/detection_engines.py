"""The engines, as parameters of tests: Detectron2's are skipped, with the command that enables them."""

from __future__ import annotations

import pytest

from awbench.detection.engine import has_detectron2

needs_detectron2 = pytest.mark.skipif(not has_detectron2(), reason="Detectron2 is not installed: make detectron2")
ENGINES = ["torchvision", pytest.param("detectron2", marks=needs_detectron2)]
