"""Windows that overlap and cover a large picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tile", "inner_boxes", "lay_tiles"]


class Tile(NamedTuple):
    """A window of a picture, image px."""

    top: int
    left: int
    height: int
    width: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Give it as (x1, y1, x2, y2)."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def lay_tiles(size: tuple[int, int], side: int, overlap: int) -> list[Tile]:
    """Cover a picture with tiles of one size, evenly spaced, row by row.

    Args:
        size: the picture's (height, width).
        side: of a tile, px; along a side of the picture that is shorter, that.
        overlap: px that neighbours share at least, 1 to half of a side.
    """
    assert 1 <= overlap <= side // 2, (side, overlap)
    height, width = (min(length, side) for length in size)
    tops, lefts = (_lay_line(length, side, overlap) for length in size)
    return [Tile(top, left, height, width) for top in tops for left in lefts]


def _lay_line(length: int, side: int, overlap: int) -> list[int]:
    if length <= side:
        return [0]
    num_steps = -((length - side) // -(side - overlap))  # rounded up
    return [index * (length - side) // num_steps for index in range(num_steps + 1)]


def inner_boxes(tiles: Sequence[Tile], size: tuple[int, int], margin: int) -> NDArray[np.int64]:
    """Give the part of each tile in which an object is not cut: all but a margin along edges inside the picture.

    Args:
        tiles: T windows of the picture.
        size: the picture's (height, width).
        margin: px.
    Returns:
        (T, 4) xyxy, image px.
    """
    boxes = np.array([tile.box for tile in tiles], dtype=np.int64).reshape(-1, 4)
    inside = boxes != np.array([0, 0, size[1], size[0]])
    return np.asarray(boxes + inside * np.array([margin, margin, -margin, -margin]), dtype=np.int64)
