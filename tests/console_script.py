"""What the installed script does: unlike `python -m awbench` it does not put the current folder on sys.path."""

from __future__ import annotations

from awbench.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
