"""All pictures of a data set in a few flat arrays, as `annotations` has the objects."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from panet.data.packing import PackedTexts
from panet.data.records import ImageRecord

__all__ = ["ImageTable"]


class ImageTable(Sequence[ImageRecord]):
    """The pictures of a data set; `table[i]` makes the record of one, equal to the one that was put in.

    Args:
        records: in the file's order; each lies in `folder`, under its file name.
        folder: of the pictures.
    """

    def __init__(self, records: Sequence[ImageRecord], folder: Path) -> None:
        self.folder = folder
        self._names = PackedTexts([record.file_name for record in records])
        self._ids = PackedTexts([str(record.id) for record in records])
        self._is_number = torch.tensor([type(record.id) is int for record in records], dtype=torch.bool)
        sizes = [(record.height, record.width) for record in records]
        self._sizes = torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ImageRecord, ...]: ...
    def __getitem__(self, index: int | slice) -> ImageRecord | tuple[ImageRecord, ...]:
        if isinstance(index, slice):
            return tuple(self._record(i) for i in range(*index.indices(len(self))))
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._record(index)

    def __iter__(self) -> Iterator[ImageRecord]:
        return map(self._record, range(len(self)))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Give every (height, width), as (N, 2)."""
        sizes: NDArray[np.int64] = self._sizes.numpy()
        return sizes

    def buffers(self) -> list[NDArray[Any]]:
        """Give all it holds but the folder, flat."""
        return [*self._ids.buffers(), *self._names.buffers(), self._is_number.numpy(), self._sizes.numpy()]

    def _record(self, index: int) -> ImageRecord:
        [text], [name] = (texts.between(index, index + 1) for texts in (self._ids, self._names))
        number = int(text) if self._is_number[index] else text
        height, width = self.sizes[index].tolist()
        return ImageRecord(number, name, Path(os.path.normpath(self.folder / name)), height, width)
