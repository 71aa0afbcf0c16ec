"""Decoded and resized pictures on disk, so that a later epoch need not make them again.

An entry is a header and the pixels: nothing in it is trusted, and nothing but pixels can come out of it. It is named
after all that decides the pixels: the file (path, time of change, length), the size its annotations state, the size
that is made, and the versions of the libraries that make it.
"""

import contextlib
import hashlib
import os
import secrets
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from torch import Tensor
from torch.utils.data import get_worker_info

from panet.data.images import printable
from panet.data.records import ImageRecord
from panet.errors import ConfigError
from panet.structures import Size

__all__ = ["PictureCache"]

_FORMAT = b"panet px"
_HEADER = struct.Struct("<8sIII")  # format, height, width, CRC-32 of the pixels
_MAKERS = f"{_FORMAT!r} {PIL.__version__} {torch.__version__} {torchvision.__version__}"


class PictureCache:
    """Pictures of one size each, (3, h, w) uint8 channels last, in a folder that several processes may use at once.

    When the folder has reached its limit, what is there is read and nothing is added: every picture is wanted once an
    epoch, so that to replace some would only trade one miss for another.
    """

    def __init__(self, folder: Path, max_bytes: int, num_workers: int) -> None:
        """Make the folder, and measure what is in it.

        Args:
            max_bytes: of the files in the folder; each process may go over it by what it is just writing.
            num_workers: processes that will write; 0: this one.
        Raises:
            ConfigError: the folder cannot be made.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        # One number for what was there, then one a process: a sum that all write to would need a lock.
        self._num_bytes = torch.zeros(1 + max(1, num_workers), dtype=torch.int64)
        self._num_bytes.share_memory_()  # type: ignore[no-untyped-call]  # torch has no types there
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"data.cache_dir: {printable(folder)} cannot be made ({error.strerror})") from error
        for path in folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):  # another process has just renamed it
                self._num_bytes[0] += path.stat().st_size

    def load(self, record: ImageRecord, size: Size, make: Callable[[], Tensor]) -> Tensor:
        """Give the picture of that size: as it was kept, else as `make` makes it, bit for bit the same.

        A damaged entry is made and written again, with a warning. If nothing can be written, a warning says so, and
        this process writes no more.
        """
        path = self._path(record, size)
        kept = None if path is None else _read(path, size)
        if kept is not None:
            return kept
        pixels = make()
        if path is not None:
            self._keep(path, pixels)
        return pixels

    def _path(self, record: ImageRecord, size: Size) -> Path | None:
        """Name the entry; None without a file, which `make` will say."""
        try:
            status = record.path.stat()
        except OSError:
            return None
        stated = (record.height, record.width)
        key = f"{_MAKERS}\0{record.path.absolute()}\0{status.st_mtime_ns} {status.st_size} {stated} {size}"
        name = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._folder / name[:2] / name

    def _keep(self, path: Path, pixels: Tensor) -> None:
        rows = pixels.permute(1, 2, 0).contiguous().numpy()  # (h, w, 3)
        if int(self._num_bytes.sum()) + _HEADER.size + rows.nbytes > self._max_bytes:
            return
        header = _HEADER.pack(_FORMAT, *rows.shape[:2], zlib.crc32(rows.data))
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replaced = path.stat().st_size if path.exists() else 0
            with open(part, "xb") as stream:
                stream.write(header)
                stream.write(rows.data)
            os.replace(part, path)  # whole or not at all, also for those who read it now
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            self._max_bytes = 0
            warnings.warn(
                f"{printable(self._folder)}: cannot be written ({error.strerror}); no more pictures are kept there",
                stacklevel=2,
            )
            return
        worker = get_worker_info()
        self._num_bytes[1 + (0 if worker is None else worker.id)] += len(header) + rows.nbytes - replaced


def _read(path: Path, size: Size) -> Tensor | None:
    """Read an entry; None if there is none, or a damaged one."""
    pixels = np.empty((*size, 3), dtype=np.uint8)
    try:
        with open(path, "rb") as stream:
            header = stream.read(_HEADER.size)
            num_read = stream.readinto(pixels.reshape(-1).data)
            longer = stream.read(1)
    except FileNotFoundError:
        return None
    except OSError as error:
        warnings.warn(f"{printable(path)}: cannot be read ({error.strerror}); made again", stacklevel=2)
        return None
    if longer or num_read < pixels.nbytes or header != _HEADER.pack(_FORMAT, *size, zlib.crc32(pixels.data)):
        warnings.warn(f"{printable(path)}: is damaged; made and written again", stacklevel=2)
        return None
    return torch.from_numpy(pixels).permute(2, 0, 1)  # lies channels last, as it did when it was made
