"""Two versions of a git repository side by side, in folders of their own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from awbench.errors import UserError, suggestion
from awbench.system import git_environment, is_held

WORKING_TREE = "working tree"
_PREFIX, _HELD = "awbench-regress-", "held"


@dataclass(frozen=True)
class Tree:
    """One version of the code.

    Attributes:
        side: "base" or "head".
        path: the folder that holds it.
        ref: as the user named it; None for the working tree.
        commit: its full hash; "working tree" for what is not committed.
    """

    side: str
    path: Path
    ref: str | None
    commit: str

    def __str__(self) -> str:
        short = self.commit[:10]
        if self.ref is None:
            return self.commit
        return short if self.commit.startswith(self.ref) else f"{self.ref} ({short})"


@contextmanager
def side_by_side(base: str, head: str | None, repository: Path | None = None) -> Iterator[tuple[Tree, Tree]]:
    """Copies of base and head under the system's folder of temporary files, removed at the end.

    The repository itself is read only, so whatever ends this process leaves nothing behind in it; and an edit
    of the working tree after the copy changes nothing.

    Args:
        base: a commit, as git names it.
        head: another; None for the working tree: its tracked files and those that are neither tracked nor ignored.
        repository: a folder inside it; None for the current one.

    Raises:
        UserError: there is no git or no repository; a commit does not exist; head is the commit that is checked
            out while there are uncommitted changes, which would not be measured.
    """
    top = _top(repository or Path.cwd())
    base_commit = _commit(top, "--base", base)
    head_commit = WORKING_TREE if head is None else _commit(top, "--head", head)
    if head_commit == _git(top, "rev-parse", "HEAD") and _git(top, "status", "--porcelain", "--untracked-files=no"):
        raise UserError(
            f"--head {head} is the commit that is checked out, and there are uncommitted changes, which would not be "
            "measured; commit or stash them, or leave --head out to measure them"
        )
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, Path(folder, _HELD).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        trees = (
            Tree("base", Path(folder, "base"), base, base_commit),
            Tree("head", Path(folder, "head"), head, head_commit),
        )
        for tree in trees:
            tree.path.mkdir()
            if tree.ref is None:
                _copy_working_tree(top, tree.path)
            else:
                _extract(top, tree.commit, tree.path)
        yield trees


def _remove_abandoned() -> None:
    """Remove the copies that killed processes have left: nobody holds them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if is_held(folder / _HELD) is False:
            shutil.rmtree(folder, ignore_errors=True)


def _top(folder: Path) -> Path:
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel"))
    except subprocess.CalledProcessError as error:
        if b"dubious ownership" in error.stderr:
            raise UserError(
                f"the repository around {folder} belongs to somebody else, so git does not read it; "
                "git config --global --add safe.directory DIR of the checkout allows it"
            ) from None
        raise UserError(
            f"{folder} is not inside the working tree of a git repository ({_last_line(error.stderr)}); "
            "run awbench regress in a checkout"
        ) from None


def _commit(top: Path, option: str, ref: str) -> str:
    """The full hash of a commit that somebody named."""
    try:
        return _git(top, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except subprocess.CalledProcessError:
        known = _git(top, "for-each-ref", "--format=%(refname:short)").split()
        raise UserError(
            f"{option} {ref!r} is not a commit of {top}{suggestion(ref, known)} Use e.g. main, HEAD~1 or a hash; "
            "in a shallow clone, git fetch it first"
        ) from None


def _extract(top: Path, commit: str, folder: Path) -> None:
    archive = folder.with_suffix(".tar")
    try:
        _git(top, "archive", "--format=tar", f"--output={archive}", commit)
    except subprocess.CalledProcessError as error:  # e.g. a partial clone without network
        raise UserError(f"commit {commit[:10]} cannot be read: {_last_line(error.stderr)}") from None
    with tarfile.open(archive) as tar:
        # not "data", which refuses a link that leads out of the tree: the working tree's copy has such links too
        tar.extraction_filter = getattr(tarfile, "tar_filter", None)  # before Python 3.11.4 there is none
        tar.extractall(folder)
    archive.unlink()


def _copy_working_tree(top: Path, folder: Path) -> None:
    names = _git(top, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in filter(None, dict.fromkeys(names)):
        source, copy = top / name, folder / name
        if source.is_dir() and not source.is_symlink():  # a submodule, which git archive leaves out too
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy2(source, copy, follow_symlinks=False)
        except FileNotFoundError:  # deleted, and the deletion not committed
            continue


def _git(folder: Path, *arguments: str) -> str:
    """What git prints, without the newline at the end.

    Raises:
        UserError: git is not installed.
        subprocess.CalledProcessError: it fails.
    """
    try:
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True, env=git_environment())
    except FileNotFoundError:
        raise UserError("git was not found on this machine; awbench regress needs it to read the versions") from None
    return os.fsdecode(run.stdout).rstrip("\n")


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "git says nothing"
