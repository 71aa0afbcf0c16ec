"""A mask with holes and many parts -> one closed outline, exact where it is drawn in and out in turn.

The rings of a mask are joined by lines that go there and back: they are crossed twice wherever they are crossed, and so
change no pixel. Formats that hold one polygon an object, without holes, hold any mask this way.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from panet.ops.polygons import Polygon

__all__ = ["join_polygons", "join_rings"]

_MAX_PAIRS = 1 << 22  # distances looked at at once

Points = NDArray[np.int64]


def join_polygons(polygons: Sequence[Polygon]) -> Points:
    """Give one outline (P, 2) of all parts and holes: draw([outline]) is their mask, by COCO's rule."""
    return join_rings([ring for polygon in polygons for ring in (polygon.exterior, *polygon.holes)])


def join_rings(rings: Sequence[Points]) -> Points:
    """Join closed rings of corners (x, y) into one, each to the nearest corner of those before it.

    Args:
        rings: at least one, (P_i, 2) each.
    Returns: (sum P_i + 2 * number of lines, 2).
    """
    outline = rings[0]
    # Of each ring that is not joined yet: squared distance to the outline, nearest corner there, nearest of its own.
    nearest = {number: _nearest(outline, ring) for number, ring in enumerate(rings[1:], start=1)}
    while nearest:
        number = min(nearest, key=lambda other: nearest[other][0])
        _, here, there = nearest.pop(number)
        ring = np.roll(rings[number], -there, axis=0)
        outline = np.concatenate([outline[: here + 1], ring, ring[:1], outline[here:]])
        for other, (distance, place, own) in nearest.items():
            moved = (distance, place if place <= here else place + len(ring) + 2, own)
            found = _nearest(ring, rings[other])
            nearest[other] = min(moved, (found[0], here + 1 + found[1], found[2]))
    return outline


def _nearest(outline: Points, ring: Points) -> tuple[int, int, int]:
    """Give the squared distance of the nearest corners, and the places of both."""
    best = (np.iinfo(np.int64).max, 0, 0)
    step = max(1, _MAX_PAIRS // len(ring))
    for first in range(0, len(outline), step):
        distances = ((outline[first : first + step, None] - ring[None]) ** 2).sum(axis=2)
        place = int(distances.argmin())
        here, there = divmod(place, len(ring))
        best = min(best, (int(distances[here, there]), first + here, there))
    return best
