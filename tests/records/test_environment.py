from __future__ import annotations

import json
import subprocess

from awbench.records import environment as module
from awbench.records.environment import environment, source_digest


def test_the_fingerprint_is_plain_json_and_complete():
    fingerprint = environment()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    wanted = {
        "awbench",
        "git_commit",
        "git_dirty",
        "python",
        "torch",
        "torchvision",
        "cuda",
        "device",
        "cpu",
        "threads",
    }
    assert wanted <= set(fingerprint)


def test_outside_a_checkout_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    assert module.git_state.__wrapped__() == ("unknown", "unknown")


def test_somebody_elses_checkout_is_not_ours(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    assert module.git_state.__wrapped__() == ("unknown", "unknown")


def test_the_digest_changes_with_the_source(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    source = tmp_path / "models" / "resnet.py"
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    digests = []
    for text in ("a = 1", "a = 2", "a = 1"):
        source.write_text(text)
        digests.append(source_digest.__wrapped__("models"))
    assert digests[0] == digests[2] != digests[1]
