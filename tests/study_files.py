"""Study files for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

TINY: dict[str, Any] = {
    "schema_version": 1,
    "name": "tiny",
    "title": "Two networks, an epoch",
    "question": "Does it run?",
    "purpose": "smoke test",
    "dataset": "digits",
    "metric": "top1",
    "recipe": "digits-quick",
    "changes": ["epochs=1", "batch_size=256", "norm_batch_size=256"],
    "comparisons": [{"variant": "aw_resnet20", "over": "resnet20"}],
    "looks": [1],
}


def write_study(folder: Path, **changes: Any) -> str:
    """A tiny study with changes; returns its path."""
    design = {**TINY, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{design['name']}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in design.items() if value is not None}))
    return str(path)
