"""Curves and pictures for TensorBoard: `tensorboard --logdir runs`."""

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoardLog"]


class TensorBoardLog:
    """Event files in a folder.

    Args:
        folder: of the files.
        step: the last one that counts; TensorBoard hides what an earlier session logged after it.
    """

    name = "tensorboard"
    takes_pictures = True

    def __init__(self, folder: Path, step: int) -> None:
        self._hook = threading.excepthook
        threading.excepthook = self._receive  # it writes in a thread, whose failure is told when more is added
        self._writer = SummaryWriter(folder, purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, named: Mapping[str, NDArray[np.uint8]]) -> None:
        """Add each picture."""
        for name, picture in named.items():
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the file."""
        with contextlib.suppress(OSError):  # it was told, or is told of checkpoints
            self._writer.close()
        threading.excepthook = self._hook

    def _receive(self, failure: Any) -> None:
        if not issubclass(failure.exc_type, OSError):
            self._hook(failure)
