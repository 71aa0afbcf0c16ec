"""Curves for TensorBoard, where it is installed; a disk that is full ends them, not the training."""

import contextlib
import threading
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Board"]


class Board:
    """The folder that TensorBoard reads.

    Args:
        folder: made if absent.
        first_step: what earlier sessions wrote from there on is hidden.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self._writer: Any = None
        self._hook = threading.excepthook
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            threading.excepthook = self._receive  # it writes in a thread, whose failure is told when more is added
            self._writer = SummaryWriter(folder, purge_step=first_step)

    def add(self, values: Iterable[tuple[str, float]], step: int) -> OSError | None:
        """Add a point to each curve; give why the curves end here, if they do."""
        if self._writer is None:
            return None
        try:
            for name, value in values:
                self._writer.add_scalar(name, value, step)
        except OSError as error:
            self.close()
            return error
        return None

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):  # it was told, or is told of checkpoints
                self._writer.close()
            threading.excepthook = self._hook
        self._writer = None

    def _receive(self, failure: Any) -> None:
        if not issubclass(failure.exc_type, OSError):
            self._hook(failure)
