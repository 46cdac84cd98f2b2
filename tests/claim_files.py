"""Folders of references with made-up claims, for tests of what is done with claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from awbench.reference.load import References, default_directory, load_references

_HEAD = {
    "schema_version": 1, "id": "made_up", "title": "Made up", "url": "https://example.org", "read_from": "this test",
    "provenance": "primary",
}  # fmt: skip


def claim(id: str, variant: Any, over: Any, delta: float = 1.0, **changes: Any) -> dict[str, Any]:
    """A claim of a gain of ImageNet top-1 that is "equal", or with changes."""
    return {
        "id": id, "metric": "top1", "unit": "percentage points", "variant": variant, "over": over, "delta": delta,
        "relation": "equal", "dataset": "ImageNet-1k val", "text": "made up", **changes,
    }  # fmt: skip


def write_claims(folder: Path, *claims: dict[str, Any]) -> Path:
    """A folder with these claims, and with the project's own scatter of runs and the model zoo; returns it."""
    folder.mkdir(exist_ok=True)
    for name in ("run_to_run", "detectron2_model_zoo"):
        (folder / f"{name}.yaml").write_text((default_directory() / f"{name}.yaml").read_text())
    (folder / "made_up.yaml").write_text(yaml.safe_dump({**_HEAD, "claims": list(claims)}))
    return folder


def claims_only(folder: Path, *claims: dict[str, Any]) -> References:
    return load_references(write_claims(folder, *claims))
