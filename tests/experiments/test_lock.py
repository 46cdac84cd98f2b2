"""One training to a folder, also where the system has no locks; who waits is told for whom."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from awbench.errors import UserError
from awbench.experiments.lock import BusyError, holder, only_one


@pytest.fixture(params=["flock", "without"])
def lock(request, monkeypatch):
    if request.param == "without":
        fail_with(errno.ENOLCK, monkeypatch)
    return request.param


def fail_with(number: int, monkeypatch) -> None:
    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_folder_has_one_holder_whom_the_others_name(lock, tmp_path):
    assert holder(tmp_path) is None
    with only_one(tmp_path):
        me = f"process {os.getpid()} on {socket.gethostname()} since 20"
        assert me in str(holder(tmp_path))
        with pytest.raises(BusyError, match=f"{me}.*run the same command again"), only_one(tmp_path):
            pass
    assert holder(tmp_path) is None
    with only_one(tmp_path):
        pass


HOLD = """
import errno, fcntl, os, sys, time
from pathlib import Path
def flock(file, operation):
    raise OSError(errno.ENOSYS, "Function not implemented")
if sys.argv[1] == "without":
    fcntl.flock = flock
from awbench.experiments.lock import only_one
with only_one(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_holder_on_this_host_holds_nothing(lock, tmp_path, root):
    process = subprocess.Popen([sys.executable, "-c", HOLD, lock, str(tmp_path)], stdout=subprocess.PIPE, cwd=root)
    assert process.stdout.readline() == b"held\n"
    assert f"process {process.pid} on" in str(holder(tmp_path))
    process.kill()
    process.communicate()
    assert holder(tmp_path) is None
    with only_one(tmp_path):
        assert f"process {os.getpid()} on" in str(holder(tmp_path))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EBADF])
def test_a_lock_that_fails_is_a_line_with_the_reason(number, tmp_path, monkeypatch):
    fail_with(number, monkeypatch)
    pattern = rf"\.lock cannot be locked \({errno.errorcode[number]}: .*--results"
    with pytest.raises(UserError, match=pattern), only_one(tmp_path):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/full")])
def test_a_lock_that_is_no_file_is_not_waited_for(make, tmp_path):
    make(tmp_path / ".lock")
    signal.alarm(60)  # ends the process: of a FIFO that is waited for nothing else would
    with pytest.raises(UserError, match=r"\.lock is not a regular file"), only_one(tmp_path):
        pass
    with pytest.raises(UserError, match=r"\.lock is not a regular file"):
        holder(tmp_path)
    signal.alarm(0)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, '{"pid": "x", "host": 1, "since": 2}'], ids=lambda text: text[:5]
)
def test_a_holder_that_has_not_said_who_it_is_is_another_process(text, tmp_path):
    with only_one(tmp_path):
        (tmp_path / ".lock").write_text(text)
        assert holder(tmp_path) == "another process"
