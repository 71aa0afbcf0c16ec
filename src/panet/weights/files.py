"""Files that are whole at any moment: the old one or the new one, whatever ends the process or the power."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

from panet.errors import CheckpointError

__all__ = ["clear_parts", "write_whole"]


def write_whole(path: Path, content: bytes) -> str:
    """Write beside the file, flush to the disk, then rename over it; a failure leaves nothing behind.

    Returns: the content's sha256, in hex.
    Raises:
        CheckpointError: it cannot be written; the old file is as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        _flush_folder(path.parent)
    except OSError as error:
        room = _tell_room(path.parent, error)
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror}: it needs {len(content):,} bytes{room}"
        ) from error
    return hashlib.sha256(content).hexdigest()


def clear_parts(folder: Path) -> None:
    """Remove what a killed process left half written; no other may be writing into the folder."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _tell_room(folder: Path, error: OSError) -> str:
    if error.errno == errno.EFBIG:
        return "; the largest that a file may have here is less (ulimit -f)"
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    return f", {shutil.disk_usage(folder).free:,} are free"
