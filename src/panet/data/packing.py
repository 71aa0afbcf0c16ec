"""Many texts in one buffer, in memory that worker processes share."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["PackedTexts"]

_ERRORS = "surrogatepass"  # JSON may hold half a pair, and a file's name too


class PackedTexts:
    """Texts by their place.

    Kept as two tensors, because torch moves a tensor into shared memory when a process is spawned, and because a
    forked process that reads them writes no reference count into their pages: neither makes a copy a worker.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        encoded = [text.encode("utf-8", _ERRORS) for text in texts]
        self._bytes = torch.from_numpy(np.array(bytearray(b"".join(encoded)), dtype=np.uint8))
        self._starts: Tensor = torch.tensor([0, *accumulate(map(len, encoded))], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def between(self, start: int, stop: int) -> list[str]:
        """List the texts start .. stop - 1."""
        cuts = self._starts.numpy()[start : stop + 1].tolist()
        packed = self._bytes.numpy()
        return [packed[a:b].tobytes().decode("utf-8", _ERRORS) for a, b in pairwise(cuts)]

    def buffers(self) -> list[NDArray[Any]]:
        """Give all it holds, flat: where the texts begin, and their bytes."""
        return [self._starts.numpy(), self._bytes.numpy()]
