"""Which pictures cost most to train on: those of the largest, the most crowded and an empty batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panet.structures import Size

__all__ = ["Extremes", "find_extremes"]


@dataclass(frozen=True)
class Extremes:
    """Indices of the pictures of three batches.

    Args:
        largest: that make the largest batch, padded to the highest and the widest of them.
        crowded: with the most objects.
        empty: one without any, the smallest; no index if every picture has one.
        size: (h, w) in input px that the largest batch is padded to, or more.
    """

    largest: tuple[int, ...]
    crowded: tuple[int, ...]
    empty: tuple[int, ...]
    size: Size


def find_extremes(
    sizes: NDArray[np.int64],
    counts: NDArray[np.int64],
    shown: Callable[[Size], Size],
    batch_size: int,
    group: bool,
) -> Extremes:
    """Find the pictures of the costliest batches that a plan can make.

    Args:
        sizes: (N, 2) heights and widths, image px.
        counts: (N,) objects of each picture.
        shown: size -> the largest size in input px that a picture of it is shown at.
        batch_size: B.
        group: whether pictures that are wider than high and others come in batches of their own, what is left over of
            both apart.
    """
    kinds, kind = np.unique(sizes, axis=0, return_inverse=True)
    seen = np.array([shown((height, width)) for height, width in kinds.tolist()], dtype=np.int64)[kind.reshape(-1)]
    batches = [_largest(part, seen, batch_size) for part in _parts(sizes, batch_size, group)]
    largest = max(batches, key=lambda batch: math.prod(_padded(seen, batch)) * len(batch))
    crowded = np.argsort(-counts, kind="stable")[:batch_size]
    without = np.flatnonzero(counts == 0)
    empty = [int(without[np.argmin(seen[without].prod(axis=1))])] if len(without) else []
    return Extremes(tuple(largest), tuple(crowded.tolist()), tuple(empty), _padded(seen, largest))


def _parts(sizes: NDArray[np.int64], batch_size: int, group: bool) -> list[NDArray[np.int64]]:
    """Give the sets of indices of which pictures may share a batch."""
    every = np.arange(len(sizes))
    wide = sizes[:, 1] > sizes[:, 0]
    parts = [part for part in (every[wide], every[~wide]) if len(part)]
    mixed = len(parts) == 2 and all(len(part) % batch_size for part in parts)  # what is left over of both
    return parts if group and not mixed else [every]


def _largest(part: NDArray[np.int64], seen: NDArray[np.int64], batch_size: int) -> list[int]:
    """Choose pictures of a part: the highest and the widest, to whose sides all are padded, then those of most area."""
    by_area: list[int] = part[np.argsort(-seen[part].prod(axis=1), kind="stable")].tolist()
    if batch_size == 1:
        return by_area[:1]
    first = dict.fromkeys([int(part[np.argmax(seen[part, side])]) for side in (0, 1)])
    return [*first, *(index for index in by_area if index not in first)][:batch_size]


def _padded(seen: NDArray[np.int64], batch: list[int]) -> Size:
    height, width = seen[batch].max(axis=0).tolist()
    return height, width
