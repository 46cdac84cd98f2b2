"""What a release has: one version, a change log that says what compares."""

from __future__ import annotations

import re

import awbench


def test_the_version_stands_in_one_place_and_in_the_change_log(root):
    assert 'dynamic = ["version"]' in (root / "pyproject.toml").read_text()
    versions = re.findall(r"^## (\S+?),? ", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == awbench.__version__
