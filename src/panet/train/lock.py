"""One process at a time trains in a run's folder."""

import contextlib
import os
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from panet.errors import ConfigError

if sys.platform != "win32":
    import fcntl

__all__ = ["LOCK_NAME", "RunLock"]

LOCK_NAME = ".lock"
"""Of the file that is locked, in the run's folder."""


class RunLock:
    """A lock on a folder, from `take` until the process ends in whatever way, or the block that enters it does.

    The system releases it, so that a lock of a dead process does not block; loader workers do not inherit it. Where
    files cannot be locked (Windows, some network drives) there is none.

    Args:
        folder: of the run; made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / LOCK_NAME
        self._file: int | None = None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.holds():
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._close()

    def take(self) -> None:
        """Lock the folder.

        Raises:
            ConfigError: another process has it, and is named; or nothing can be written there.
        """
        self._close()
        while not self.holds():  # the one who had it may have removed the file in between
            self._close()
            self._file = self._open()
            if not _lock(self._file):
                owner = os.read(self._file, 200).decode(errors="replace").strip()
                self._close()
                raise ConfigError(
                    f"{self.folder}: is in use{f' by {owner}' if owner else ''}: "
                    "wait for its end, stop it, or start a run of another --name"
                )
        assert self._file is not None
        os.truncate(self._file, 0)
        os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def holds(self) -> bool:
        """Tell whether the lock is in place: false after the folder was removed."""
        if self._file is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _open(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be written: {error.strerror}") from error

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


def _lock(file: int) -> bool:
    """Lock an open file; false if another process has it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True
