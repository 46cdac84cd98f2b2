"""The packages of this folder, importable without being installed."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in sorted(Path(__file__).parent.iterdir()):
    if (folder / "pyproject.toml").is_file() and str(folder) not in sys.path:
        sys.path.append(str(folder))
