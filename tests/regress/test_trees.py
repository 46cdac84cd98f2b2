from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from awbench.errors import UserError
from awbench.regress.trees import side_by_side


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_a_commit_beside_the_working_tree_as_it_was_at_the_start(repository, temporary_files):
    path = repository.path
    (path / "deleted.py").write_text("")
    (path / ".gitignore").write_text("ignored.py\n")
    (path / "link").symlink_to("/elsewhere")
    first = repository.commit()
    committed = files(path / ".git")
    (path / "deleted.py").unlink()
    (path / "ignored.py").write_text("")
    (path / "a folder").mkdir()
    (path / "a folder/näw.py").write_text("new")
    (path / "work.py").write_text("edited")
    with side_by_side("main", None) as (base, head):
        (path / "work.py").write_text("edited during the run")
        assert set(files(base.path)) == {"work.py", "deleted.py", ".gitignore", "link"}
        assert b"sleep(2 " in files(base.path)["work.py"]
        assert files(head.path) == {
            "work.py": b"edited",
            ".gitignore": b"ignored.py\n",
            "link": b"/elsewhere",
            "a folder/näw.py": b"new",
        }
        assert (str(base), str(head), base.commit) == (f"main ({first[:10]})", "working tree", first)
    assert list(temporary_files.iterdir()) == []
    assert files(path / ".git") == committed


def test_two_commits_from_a_repository_that_is_only_read(repository):
    repository.write(milliseconds=3)
    repository.commit()
    os.utime(repository.path / "work.py", (1, 1))  # git status would note that it is the same nevertheless
    before = files(repository.path / ".git")
    with side_by_side("HEAD~1", "HEAD", repository.path) as (base, head):
        assert (base.side, b"sleep(2 " in files(base.path)["work.py"]) == ("base", True)
        assert (head.side, b"sleep(3 " in files(head.path)["work.py"]) == ("head", True)
    assert files(repository.path / ".git") == before


def test_a_subfolder_of_the_repository_will_do(repository, monkeypatch):
    (repository.path / "deep").mkdir()
    monkeypatch.chdir(repository.path / "deep")
    with side_by_side("main", None) as (base, head):
        assert set(files(base.path)) == set(files(head.path)) == {"work.py"}


def test_submodules_are_left_out_of_both(repository, tmp_path):
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(repository.path), "inner")
    repository.commit()
    with side_by_side("main", None) as (base, head):
        assert set(files(base.path)) == set(files(head.path)) == {"work.py", ".gitmodules"}


@pytest.mark.parametrize(
    ("base", "head", "message"),
    [
        ("mian", None, "--base 'mian' is not a commit"),
        ("mian", None, "did you mean main?"),
        ("HEAD~7", None, "git fetch it first"),
        ("--all", None, "--base '--all' is not a commit"),
        ("", None, "--base '' is not a commit"),
        ("main", "v1", "--head 'v1' is not a commit"),
    ],
)
def test_commits_that_do_not_exist(base, head, message, repository):
    with pytest.raises(UserError) as error, side_by_side(base, head):
        pass
    assert message in str(error.value)


def test_uncommitted_changes_are_not_silently_left_out(repository):
    first = repository.commit()
    repository.commit()
    repository.write(milliseconds=3)
    for head in ("main", "HEAD", repository.git("rev-parse", "HEAD")):
        with pytest.raises(UserError, match="commit or stash them, or leave --head out"), side_by_side(first, head):
            pass
    with side_by_side("main", first):  # another commit: the working tree has nothing to do with it
        pass


def test_no_repository(tmp_path):
    with (
        pytest.raises(UserError, match="is not inside the working tree of a git repository"),
        side_by_side("main", None, tmp_path),
    ):
        pass


def test_no_git(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git was not found"), side_by_side("main", None):
        pass


def test_a_commit_that_cannot_be_read(repository, temporary_files):
    tree = repository.git("rev-parse", "HEAD:work.py")
    blob = repository.path / ".git/objects" / tree[:2] / tree[2:]
    blob.chmod(0o600)
    blob.unlink()
    with pytest.raises(UserError, match="cannot be read"), side_by_side("main", None):
        pass
    assert list(temporary_files.iterdir()) == []
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("archive", "main")


def test_copies_that_a_killed_process_left_are_removed_and_those_in_use_are_not(temporary_files, repository):
    repository.commit()
    killed, running, other = (temporary_files / f"awbench-regress-{name}" for name in ("k", "r", "o"))
    for folder in (killed, running, other):
        (folder / "base").mkdir(parents=True)
    (killed / "held").touch()
    with (running / "held").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with side_by_side("HEAD", None) as (base, _):
            assert base.path.is_dir()
            assert [folder.exists() for folder in (killed, running, other)] == [False, True, True]
        assert not base.path.exists()


def test_a_hook_of_another_repository_changes_nothing(repository, temporary_files, monkeypatch, tmp_path):
    commit = repository.commit()
    subprocess.run(["git", "init", "-q", str(tmp_path / "other")], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    with side_by_side("main", None) as (base, _):
        assert base.commit == commit


def test_an_owner_that_git_does_not_trust_is_said_with_the_remedy(repository, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match="belongs to somebody else.*safe.directory"), side_by_side("main", None):
        pass
