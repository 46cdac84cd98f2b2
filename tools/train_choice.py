"""Trained the networks of study fashion-mnist-choices by the code of commit 5bfac85, which has no file of that study.

    git worktree add ../5bfac85 5bfac85
    PYTHONPATH=../5bfac85 python tools/train_choice.py train aw_resnet20 --aw-option gate=tanh --seed 2 \
        --dataset fashion-mnist --recipe fashion-mnist --workers 0 --results FOLDER --study NAME@DIGEST

NAME@DIGEST: the study and the digest of its design, as `awbench study show --json fashion-mnist-choices` of newest main
prints them; they are written into the record, nothing else changes. Everything else is `awbench train` of that commit.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import SimpleNamespace
from unittest.mock import patch

from awbench.cli.main import main


def of_reference(reference: str) -> SimpleNamespace:
    """All that a training of 5bfac85 asks of its study."""
    name, _, digest = reference.partition("@")
    return SimpleNamespace(name=name, digest=digest, reference=reference)


if __name__ == "__main__":
    if find_spec("awbench.cli.training_options") is None:
        print("train_choice: PYTHONPATH must name a working tree of 5bfac85; this is another awbench", file=sys.stderr)
        sys.exit(2)
    with patch("awbench.cli.training_options.find_study", of_reference):
        sys.exit(main(sys.argv[1:]))
