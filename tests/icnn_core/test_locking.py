"""One process at a time in a folder, however the one before ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from icnn_core.errors import CheckpointError
from icnn_core.locking import locked_folder

HOLDER = """
import os, sys, time
from pathlib import Path
from icnn_core.errors import CheckpointError
from icnn_core.locking import locked_folder
with locked_folder(Path(sys.argv[1]), CheckpointError):
    if sys.argv[2] == "fork" and os.fork() == 0:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path, how: str = "alone") -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, folder, how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_is_named_and_refused_until_it_ends(tmp_path: Path) -> None:
    process = hold(tmp_path / "run")
    with (
        pytest.raises(CheckpointError, match=f"process {process.pid} on .*end it"),
        locked_folder(tmp_path / "run", CheckpointError),
    ):
        pytest.fail("it is locked")
    end(process)
    assert list((tmp_path / "run").iterdir()), "what it left"
    with locked_folder(tmp_path / "run", CheckpointError):
        pass
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="processes fork on POSIX systems alone")
def test_workers_of_a_killed_process_do_not_hold_on(tmp_path: Path) -> None:
    process = hold(tmp_path, "fork")
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True
    )
    end(process)
    try:
        with locked_folder(tmp_path, CheckpointError):
            pass
    finally:
        for child in children.stdout.split():
            os.kill(int(child), signal.SIGKILL)


def test_a_thread_of_the_same_process_is_another_one(tmp_path: Path) -> None:
    found = []

    def second() -> None:
        try:
            with locked_folder(tmp_path / "." / "run", CheckpointError):
                found.append("locked twice")
        except CheckpointError as error:
            found.append(str(error))

    with locked_folder(tmp_path / "run", CheckpointError):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(found) == 1
    assert "this process" in found[0]


def test_a_disk_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("icnn_core.locking._lock", refuse)
    with locked_folder(tmp_path, CheckpointError):
        assert "without locks" in caplog.text


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import icnn_core.locking as module

    lock, calls = module._lock, []

    def removed_once(file) -> None:
        lock(file)
        calls.append(1)
        if len(calls) == 1:
            (tmp_path / ".lock").unlink()

    monkeypatch.setattr(module, "_lock", removed_once)
    with locked_folder(tmp_path, CheckpointError):
        assert len(calls) == 2
        assert (tmp_path / ".lock").exists()
