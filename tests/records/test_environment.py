from __future__ import annotations

import json
import os
import subprocess

import pytest

from awbench.records import environment as module
from awbench.records.environment import environment, source_digest
from awbench.system import available_cores, git_environment


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
    for hidden in ("._resnet.py", ".ipynb_checkpoints/resnet-checkpoint.py"):  # of a file system, of an editor
        (tmp_path / "models" / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / "models" / hidden).write_text("a = 3")
    assert source_digest.__wrapped__("models") == digests[0]


def make_checkout(folder):
    """A checkout of one commit that looks like the package's own; returns the commit."""
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text("")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", folder.name]):
        subprocess.run([*git, *words], check=True, env=git_environment())
    found = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def test_in_a_hook_of_another_repository_the_commit_is_still_ours(tmp_path, monkeypatch):
    ours, other = make_checkout(tmp_path / "ours"), make_checkout(tmp_path / "other")
    assert ours != other
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "ours")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    assert module.git_state.__wrapped__() == (ours, False)


def test_a_changed_file_whose_name_is_no_utf8_is_a_change(tmp_path, monkeypatch):
    (tmp_path / "ours").mkdir()
    odd = tmp_path / "ours" / os.fsdecode(b"odd-\xff.txt")
    odd.touch()
    ours = make_checkout(tmp_path / "ours")
    odd.write_text("changed")
    for name, value in (("COUNT", "1"), ("KEY_0", "core.quotePath"), ("VALUE_0", "false")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "ours")
    assert module.git_state.__wrapped__() == (ours, True)


def test_an_owner_that_git_does_not_trust_is_said_with_the_remedy(tmp_path, monkeypatch, caplog):
    make_checkout(tmp_path / "ours")
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "ours")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert module.git_state.__wrapped__() == ("unknown", "unknown")
    assert "ours belongs to somebody else" in caplog.text and "git config --global --add safe.directory" in caplog.text


ARM = """processor\t: {number}
BogoMIPS\t: 50.00
Features\t: fp asimd {feature}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: {part}
CPU revision\t: 1

"""


def name_by(monkeypatch, path, cpuinfo, tool=""):
    """(name, identity, features) by this /proc/cpuinfo, where lscpu knows so much."""
    path.write_text(cpuinfo)
    monkeypatch.setattr(module, "_CPUINFO", path)
    monkeypatch.setattr(module, "_model_by_tool", lambda: tool)
    for function in (module.cpu_name, module.cpu_identity, module.cpu_features):
        function.cache_clear()
    return module.cpu_name(), module.cpu_identity(), module.cpu_features()


@pytest.fixture
def own_processor_after():
    yield
    for function in (module.cpu_name, module.cpu_identity, module.cpu_features):
        function.cache_clear()


@pytest.mark.usefixtures("own_processor_after")
def test_processors_of_arm_have_names_that_tell_them_apart(monkeypatch, tmp_path):
    n1, v1 = (ARM.format(number=0, part=part, feature="sve") for part in ("0xd0c", "0xd40"))
    small = ARM.format(number=1, part="0xd05", feature="sve")
    path = tmp_path / "cpuinfo"
    assert name_by(monkeypatch, path, n1)[:2] == ("ARM (0x41 0xd0c r3p1)",) * 2
    assert name_by(monkeypatch, path, n1, "Neoverse-N1")[0] == "Neoverse-N1 (0x41 0xd0c r3p1)"
    assert name_by(monkeypatch, path, n1 * 2)[0] == "ARM (0x41 0xd0c r3p1)"
    assert name_by(monkeypatch, path, v1 + small)[0] == "ARM (0x41 0xd40/0xd05 r3p1)"
    assert name_by(monkeypatch, path, "model name\t: A: B\nmodel\t: 2\nflags\t: x\n")[0] == "A: B"


@pytest.mark.usefixtures("own_processor_after")
def test_processors_without_a_name_share_nothing_with_those_of_other_machines(monkeypatch, tmp_path):
    found = set()
    for machine in ("one", "two"):
        monkeypatch.setattr("platform.node", lambda machine=machine: machine)
        name, *keys = name_by(monkeypatch, tmp_path / "cpuinfo", "processor: 0\n")
        assert name == "unknown"
        found.add(tuple(keys))
    assert len(found) == 2 and all("unknown, of " in key for keys in found for key in keys)


def test_a_record_has_the_cores_that_were_there_and_those_that_could_be_used():
    fingerprint = environment()
    assert 1 <= fingerprint["usable_cores"] == available_cores() <= fingerprint["cpu_count"] == os.cpu_count()
