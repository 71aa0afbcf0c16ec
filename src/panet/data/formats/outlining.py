"""Masks -> polygons that draw exactly them, and a proof of it object by object."""

from collections.abc import Sequence

import numpy as np

from panet.ops.polygons import Polygon, draw, trace
from panet.ops.rle import Rle, decode_window, read_positions
from panet.structures import Size

__all__ = ["count_differing", "outline_parts"]


def outline_parts(rle: Rle, box: Sequence[float]) -> list[Polygon]:
    """Give the outlines along the pixels' edges of a mask with that box (x1, y1, x2, y2), image px, a part each."""
    left, top, right, bottom = (int(side) for side in box)
    corner = np.array([left, top])
    return [
        Polygon(part.exterior + corner, tuple(hole + corner for hole in part.holes))
        for part in trace(decode_window(rle, left, top, (bottom - top, right - left)))
    ]


def count_differing(rle: Rle, polygons: Sequence[Sequence[float]], size: Size) -> int:
    """Count the pixels in which a mask and drawn polygons differ, in a picture of that (height, width)."""
    stated, drawn = read_positions(rle, size)[0], draw(polygons, *size)
    # Where either changes, the difference does; where both do, it does not.
    places, times = np.unique(np.concatenate([stated, drawn]), return_counts=True)
    changes = places[times % 2 == 1].reshape(-1, 2)
    return int((changes[:, 1] - changes[:, 0]).sum())
