"""One process at a time in a run's folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from panet.errors import ConfigError
from panet.train.lock import RunLock

HOLD = """
import sys
from pathlib import Path
from panet.train.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_that_another_process_has_is_refused_and_the_process_named(holder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"is in use by process {holder.pid} on "), RunLock(tmp_path / "run"):
        pass


def test_the_lock_of_a_dead_process_does_not_block(holder, tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists()
    with RunLock(tmp_path / "run") as lock:
        assert lock.holds()
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_lock_is_lost_with_its_folder_and_can_be_taken_again(tmp_path: Path) -> None:
    with RunLock(tmp_path / "run") as lock:
        shutil.rmtree(tmp_path / "run")
        assert not lock.holds()
        lock.take()
        assert lock.holds()
        assert (tmp_path / "run" / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_that_another_has_put_in_the_place_is_not_removed(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        (tmp_path / ".lock").unlink()
        (tmp_path / ".lock").write_text("another")
        assert not lock.holds()
    assert (tmp_path / ".lock").read_text() == "another"


def test_a_folder_that_cannot_be_made_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        RunLock(tmp_path / "file" / "run").take()
